"""One server program: started with its log in a file, awaited, stopped by its pid."""

import os
import signal
import subprocess
import time
from pathlib import Path


class Process:
    def __init__(self, name: str, command: list, log: Path, env: dict | None = None):
        self.name, self.log = name, log
        with open(log, "ab") as out:
            self._child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,  # a Ctrl-C on the terminal is for the harness, which stops them in order
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    def wait_until(self, ready, what: str, timeout: float = 60) -> None:
        """Calls `ready` until it answers true; fails at once when the program has ended."""
        give_up = time.monotonic() + timeout
        last = None
        while time.monotonic() < give_up:
            if self._child.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self._child.returncode}\n{self.tail()}")
            try:
                if ready():
                    return
            except Exception as error:  # not listening yet, or not ready
                last = error
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} is not {what} after {timeout:.0f} s: {last}\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join([f"the end of {self.log}:", *text])

    def stop(self, grace: float = 10) -> None:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if self._child.poll() is not None:
                return
            self._child.send_signal(sign)
            try:
                self._child.wait(grace)
            except subprocess.TimeoutExpired:
                continue
