"""Where things are: the cache of installed programs, the work folder of a run, free ports."""

import os
import socket
from pathlib import Path

WIRES = Path(__file__).resolve().parent.parent
REGION = "us-west-2"
ACCOUNT = "123456789012"  # moto's and winterbaume's default


def cache() -> Path:
    """The folder that `tests/wires/install` fills."""
    if chosen := os.environ.get("EKSKIT_CACHE"):
        return Path(chosen) / "ekskit-wires"
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "ekskit-wires"


def program(name: str) -> Path:
    """An installed program; raises when `tests/wires/install` has not run."""
    for folder in (cache() / "bin", cache() / "venv" / "bin"):
        if (path := folder / name).exists():
            return path
    raise FileNotFoundError(f"`{name}` is not installed below {cache()}: run tests/wires/install")


_given: set[int] = set()


def free_port() -> int:
    """A port that was free a moment ago and that this process has not handed out before."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port
