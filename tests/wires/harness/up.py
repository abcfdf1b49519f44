"""`tests/wires/up`: everything up until Ctrl-C, with its facts in `facts.json` and an `env` file to source."""

import json
import shlex
import signal
import sys
import threading
from pathlib import Path

from .place import cache
from .world import World


def main() -> None:
    stop = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stop.set())
    with World(Path(sys.argv[1])) as world:
        facts = world.facts()
        (world.work / "facts.json").write_text(json.dumps(facts, indent=2) + "\n")
        env = world.work / "env"
        env.write_text(_env(facts))
        print(f"wires: up; `source {env}`\n{env.read_text()}wires: Ctrl-C stops it", flush=True)
        stop.wait()


def _env(facts: dict) -> str:
    values = {name: value for name, value in facts["environment"].items() if name.startswith("AWS_")}
    values["KUBECONFIG"] = facts["kubeconfig_admin"]
    values["WIRES_WINTERBAUME"] = facts["front_winterbaume"]
    values["WIRES_FOREIGN_AMI"] = facts["foreign_ami"]
    values["WIRES_WORK"] = facts["work"]
    lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    lines.append(f"export PATH={shlex.quote(str(cache() / 'venv' / 'bin'))}:$PATH")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
