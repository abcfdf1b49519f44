"""The product: the binary that EKSKIT_BIN names, run as its user would, against the wires."""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .place import WIRES

PROJECT = WIRES.parent.parent


@dataclass
class Run:
    """What a run left: exit code, its JSON document (none where it printed none), both outputs, wall time."""

    exit: int
    document: dict | list | None
    stdout: str
    stderr: str
    seconds: float

    def expect(self, exit_code: int) -> "Run":
        if self.exit != exit_code:
            raise AssertionError(
                f"ekskit ended with {self.exit}, not {exit_code}\n{self.stdout[-4000:]}\n{self.stderr[-4000:]}"
            )
        return self

    @property
    def error(self) -> dict:
        return self.document["error"]


class Ekskit:
    def __init__(self, world, winterbaume: bool = False, user: dict | None = None, project: Path = PROJECT):
        self.world, self.project = world, project
        self.environment = world.environment(user or world.operator, winterbaume)
        self.environment["XDG_STATE_HOME"] = str(world.work / "state")
        self.key = (user or world.operator)["AWS_ACCESS_KEY_ID"]
        self._count = 0

    @staticmethod
    def binary() -> Path:
        named = os.environ.get("EKSKIT_BIN")
        if not named:
            raise FileNotFoundError("EKSKIT_BIN names no binary: build ekskit and pass its path")
        path = Path(named).absolute()
        if not path.exists():
            raise FileNotFoundError(f"EKSKIT_BIN names {path}, which does not exist")
        return path

    def run(self, runbook: str, *flags, inputs: dict | None = None, timeout: float = 900) -> Run:
        """`ekskit run RUNBOOK --yes --output json`, with `inputs` as `--set`."""
        sets = [part for name, value in (inputs or {}).items() for part in ("--set", f"{name}={value}")]
        return self.call("run", runbook, "--yes", "--output", "json", *sets, *flags, timeout=timeout)

    def eval(self, expression: str, *flags, timeout: float = 120) -> Run:
        return self.call("eval", expression, "--yes", "--output", "json", *flags, timeout=timeout)

    def call(self, *arguments, timeout: float = 120) -> Run:
        child = self.start(*arguments)
        started = time.monotonic()
        try:
            stdout, stderr = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            stdout, stderr = child.communicate()
            raise AssertionError(f"ekskit is not done after {timeout:.0f} s\n{stderr[-4000:]}") from None
        return self._finished(child, stdout, stderr, time.monotonic() - started)

    def start(self, *arguments) -> subprocess.Popen:
        """Starts it and returns at once; end it with `interrupted`."""
        return subprocess.Popen(
            [str(self.binary()), *map(str, arguments)],
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def interrupted(self, child: subprocess.Popen, times: int = 1, timeout: float = 60) -> Run:
        """Ctrl-C, once or more, and what comes of it; its seconds are those after the last one."""
        for _ in range(times - 1):
            child.send_signal(signal.SIGINT)
            time.sleep(0.5)
            assert child.poll() is None, f"it ended with {child.returncode} before it was asked for the last time"
        started = time.monotonic()
        child.send_signal(signal.SIGINT)
        stdout, stderr = child.communicate(timeout=timeout)
        return self._finished(child, stdout, stderr, time.monotonic() - started)

    def _finished(self, child, stdout: str, stderr: str, seconds: float) -> Run:
        self._count += 1
        (self.world.work / f"ekskit-{self._count}.out").write_text(stdout)
        (self.world.work / f"ekskit-{self._count}.err").write_text(stderr)
        try:
            document = json.loads(stdout)
        except ValueError:
            document = None
        return Run(child.returncode, document, stdout, stderr, seconds)

    def mutations(self, position: int) -> list[str]:
        """Its mutating AWS requests after a position of the recorder."""
        seen = self.world.front.recorder.since(position, access_key=self.key, mutating=True)
        return [f"{entry['service']}:{entry['action']}" for entry in seen]
