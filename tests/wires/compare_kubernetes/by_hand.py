"""`tests/wires/compare`: the comparison and the fuzzer against servers of their own, by hand."""

import argparse
import sys
import tempfile
from pathlib import Path

from harness.control_plane import ControlPlane

from . import compare, connections, fuzz, story
from .twin import Twin


def main() -> int:
    line = argparse.ArgumentParser(description="Compares the twin's Kubernetes API with a real API server.")
    line.add_argument("stories", nargs="*", help="parts of names of stories; default: all")
    line.add_argument("--fuzz", type=float, metavar="SECONDS", help="runs the fuzzer instead")
    line.add_argument("--seed", type=int, default=1)
    line.add_argument("--connections", action="store_true", help="compares connections that break instead")
    line.add_argument("--known", action="store_true", help="tells known differences too")
    asked = line.parse_args()
    work = Path(tempfile.mkdtemp(prefix="ekskit-compare-"))
    # Everybody is known by a certificate: nobody listens for tokens.
    plane = ControlPlane(work, "http://127.0.0.1:1/")
    try:
        plane.start()
        real = compare.real(plane.url, plane.authority)
        with Twin(work) as twin:
            if asked.fuzz:
                compare.compare(real, twin.server, story.load(["definition"]), all_of_them=False)
                totals = fuzz.run(real, twin.server, asked.seed, asked.fuzz)
                print(totals)
                return 1 if totals.found else 0
            if asked.connections:
                broken = connections.compare(real, twin.server, twin.pid)
                print("\n".join([*broken, f"{len(connections.CASES)} connections that break: {len(broken)} differ"]))
                return 1 if broken else 0
            outcome = compare.compare(real, twin.server, story.load(asked.stories), all_of_them=not asked.stories)
            print("\n".join([*map(str, outcome.told if asked.known else []), str(outcome)]))
            return 0 if outcome.holds else 1
    finally:
        plane.stop()


if __name__ == "__main__":
    sys.exit(main())
