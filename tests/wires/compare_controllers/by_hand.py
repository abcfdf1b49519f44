"""`tests/wires/compare --controllers`: the stories of the controllers against servers of their own, by hand."""

import sys
import tempfile
from pathlib import Path

from compare_kubernetes import compare
from compare_kubernetes.twin import Twin
from harness.control_plane import ControlPlane

from . import tell


def main() -> int:
    work = Path(tempfile.mkdtemp(prefix="ekskit-controllers-"))
    # Everybody is known by a certificate: nobody listens for tokens.
    plane = ControlPlane(work, "http://127.0.0.1:1/")
    try:
        plane.start()
        with Twin(work) as twin:
            make_real = lambda: compare.real(plane.url, plane.authority)
            outcome = tell.run(make_real, twin.another, tell.load(sys.argv[1:]))
        print(outcome)
        return 0 if outcome.holds else 1
    finally:
        plane.stop()


if __name__ == "__main__":
    sys.exit(main())
