"""Runs the cases, each in a world of its own, and closes with the line that CI reads."""

import importlib
import sys
import tempfile
import time
import traceback
from pathlib import Path

from .world import World

# Every case, in the order in which it runs; after a colon the variant of its story. What is not named does not run.
HARNESS_CASES = [
    "by_hand_self_managed",
    "by_hand_managed",
    "by_hand_winterbaume",
    "broken_set_ups_by_hand",
    "tokens",
    "faults_and_proxy",
]
# Those that run the product: the binary that EKSKIT_BIN names.
EKSKIT_CASES = [
    "prod_managed",
    "prod_self_managed",
    "prod_without_kubeconfig",
    "prod_defaults",
    "broken_set_ups:role",
    "broken_set_ups:route",
    "broken_set_ups:addresses",
    "broken_set_ups:instance",
    "broken_set_ups:image",
    "interrupts",
    "refusals",
    "aws_auth_kill",
    "compare_aws",
    "kubectl_side_by_side",
    "compare_kubernetes",
    "compare_controllers",
]


class HarnessTrouble(Exception):
    """A part of the harness broke down: the case says nothing about the product then."""


def main(names: list[str]) -> int:
    results = [passes(name) for name in names or HARNESS_CASES + EKSKIT_CASES]
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if results and all(results) else 1


def passes(name: str) -> bool:
    """Whether the case passes. It is told again, said aloud, when the harness broke down: moto does over a race now and
    then, and that is not what is tested. Nor is it in the cases of the harness itself, which test no product."""
    for again in ("again  ", "FAILED "):
        try:
            perform(name)
            return True
        except HarnessTrouble as trouble:
            print(f"{again} {name}: the harness itself had trouble:\n{trouble}")
        except Exception:
            traceback.print_exc(file=sys.stdout)
            if name not in HARNESS_CASES:
                return False
            print(f"{again} {name}")
    return False


def perform(name: str) -> None:
    """One case in a world of its own; raises when it fails."""
    story, _, variant = name.partition(":")
    case = importlib.import_module(f"cases.{story}")
    work = Path(tempfile.mkdtemp(prefix=f"ekskit-wires-{name.replace(':', '-')}-"))
    started = time.monotonic()
    try:
        with World(work) as world:
            case.run(world, variant) if variant else case.run(world)
            troubles = _notes(world)
    except Exception:
        print(f"FAILED  {name} ({time.monotonic() - started:.0f} s), logs in {work}")
        raise
    if troubles:
        raise HarnessTrouble(troubles)
    world.forget()
    print(f"ok      {name} ({time.monotonic() - started:.0f} s)")


def _notes(world) -> str:
    log = world.work / "front.log"
    return log.read_text() if log.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
