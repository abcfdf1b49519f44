"""`ekskit twin serve`, started and stopped."""

import base64
import os
from pathlib import Path

import yaml
from harness.place import free_port
from harness.process import Process

from .server import Server


class Twin:
    def __init__(self, work: Path):
        self._work = work

    def __enter__(self) -> "Twin":
        port, file = free_port(), self._work / "twin.kubeconfig"
        command = [os.environ["EKSKIT_BIN"], "twin", "serve", "--nodes", "0", "--port", port, "--kubeconfig", file]
        home = {"HOME": str(self._work), "XDG_STATE_HOME": str(self._work / "state")}
        self._process = Process("twin", command, self._work / "twin.log", home)
        try:
            self._process.wait_until(lambda: self._connect(file), "ready")
        except BaseException:
            self._process.stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._process.stop()

    def _connect(self, file: Path) -> bool:
        config = yaml.safe_load(file.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        ca = self._work / "twin-ca.crt"
        ca.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
        self.server = Server("twin", cluster["server"], str(ca), token=user["token"])
        return self.server.ask("GET", "/readyz").code == 200
