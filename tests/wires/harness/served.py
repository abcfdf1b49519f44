"""A twin's API server: `ekskit twin serve` and a client of it."""

import json
import os
import ssl
import subprocess
from pathlib import Path

from .kube import Kube


class Served(Kube):
    """Answers like the client of a real control plane."""

    def __init__(self, work: Path, *arguments):
        self._log = open(work / "twin-serve.log", "ab")
        command = [os.environ["EKSKIT_BIN"], "twin", "serve", "--output", "json", *map(str, arguments)]
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log, text=True)
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"`ekskit twin serve` did not start: see {self._log.name}")
        self.told = json.loads(line)
        self.token = self.told["users"][0]["token"]
        self.tls = ssl.create_default_context(cadata=self.told["certificate_authority"])
        self.port = int(self.told["server"].rsplit(":", 1)[1])
        super().__init__(self.port, self.tls, {"Authorization": f"Bearer {self.token}"})

    @property
    def pid(self) -> int:
        return self._child.pid

    def stop(self) -> None:
        self._child.terminate()
        self._child.wait(60)
        self._log.close()
