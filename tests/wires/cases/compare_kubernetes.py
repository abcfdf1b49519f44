"""The twin's Kubernetes API answers what the real one answers, request by request; then connections that break, and a
short run of the fuzzer."""

from compare_kubernetes import compare, connections, fuzz, story
from compare_kubernetes.twin import Twin

SEED, SECONDS = 4, 30


def run(world) -> None:
    plane = world.control_plane
    real = compare.real(plane.url, plane.authority)
    with Twin(world.work) as twin:
        outcome = compare.compare(real, twin.server, story.load(), all_of_them=True)
        print(f"        {outcome}")
        assert outcome.holds, "the twin and the real API server differ"
        broken = connections.compare(real, twin.server, twin.pid)
        print("\n".join([*broken, f"        {len(connections.CASES)} connections that break: {len(broken)} differ"]))
        assert not broken, "the twin and the real API server do different things with connections that break"
        totals = fuzz.run(real, twin.server, SEED, SECONDS)
        print(f"        {totals}")
        assert not totals.found, "the fuzzer found a difference"
