"""A twin's API server as one of the two that are compared."""

from pathlib import Path

from harness.served import Served

from .server import Server


class Twin:
    def __init__(self, work: Path):
        self._work = work

    def __enter__(self) -> "Twin":
        # Nobody but the API server and its controllers: no nodes, and time as the wall has it.
        self._served = Served(self._work, "--nodes", 0)
        self.server = Server("twin", self._served.told["server"], tls=self._served.tls, token=self._served.token)
        return self

    @property
    def pid(self) -> int:
        return self._served.pid

    def __exit__(self, *_) -> None:
        self._served.stop()
