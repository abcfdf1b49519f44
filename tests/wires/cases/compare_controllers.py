"""The twin's controllers bring every object to where the real ones bring it, state by state."""

from compare_controllers import tell
from compare_kubernetes import compare
from compare_kubernetes.twin import Twin


def run(world) -> None:
    plane = world.control_plane
    with Twin(world.work) as twin:
        outcome = tell.run(lambda: compare.real(plane.url, plane.authority), twin.another, tell.load())
        print(f"        {outcome}")
        assert outcome.holds, "the twin's controllers and the real ones differ"
