"""The twin answers AWS calls as moto does, and winterbaume where moto lacks the operation, but for the differences that
are known; so it does for a short run of sequences that the fuzzer makes up."""

from harness.aws_calls import Servers
from harness.aws_comparison import Known, answers, judge, table
from harness.aws_fuzz import fuzz, shown

SEED = 1
SEQUENCES = 60


def run(world) -> None:
    known, sequences = Known(), table()
    with Servers(world.work) as servers:
        counts = judge(sequences, answers(servers, sequences), known)
        print(counts)
        assert counts.calls >= 200 and counts.errors >= 80, counts
        assert not counts.new, "\n".join(map(str, counts.new))
        assert not known.unused(), f"known, but does not show: {known.unused()}"
        totals = fuzz(servers, SEED, seconds=50, most=SEQUENCES)
    print(f"{totals['sequences']} sequences made up, {totals['calls']} of their calls compared")
    assert not totals["found"], "\n".join(f"{difference}\n{shown(least)}" for difference, least in totals["found"])
