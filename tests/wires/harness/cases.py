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
]


def main(names: list[str]) -> int:
    passed, failed = 0, 0
    for name in names or HARNESS_CASES + EKSKIT_CASES:
        story, _, variant = name.partition(":")
        case = importlib.import_module(f"cases.{story}")
        work = Path(tempfile.mkdtemp(prefix=f"ekskit-wires-{name.replace(':', '-')}-"))
        started = time.monotonic()
        try:
            with World(work) as world:
                case.run(world, variant) if variant else case.run(world)
                troubles = _notes(world)
            if troubles:
                raise AssertionError(f"the harness itself had trouble:\n{troubles}")
            world.forget()
            passed += 1
            print(f"ok      {name} ({time.monotonic() - started:.0f} s)")
        except Exception:
            failed += 1
            print(f"FAILED  {name} ({time.monotonic() - started:.0f} s), logs in {work}\n{traceback.format_exc()}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def _notes(world) -> str:
    log = world.work / "front.log"
    return log.read_text() if log.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
