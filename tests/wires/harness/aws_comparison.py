"""The table of AWS calls, its answers on both sides, and what of their differences is known and why.

python -m harness.aws_comparison [sequence…]        compare the table, or parts of it, and print what differs
"""

import fnmatch
import itertools
import json
import re
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from .aws_calls import Difference, Servers, compare, perform_on
from .place import WIRES

TABLES = WIRES / "compare_aws"
CAUSES_MAX = 15


@dataclass
class Sequence:
    name: str
    eks: str  # who plays EKS
    steps: list[dict]


@dataclass
class Counts:
    """What came of it. A call is known when each of its differences has a cause."""

    calls: int = 0
    errors: int = 0
    equal: int = 0
    known: int = 0
    fields: Counter = field(default_factory=Counter)  # cause → differences
    new: list[Difference] = field(default_factory=list)

    def __str__(self) -> str:
        causes = "".join(f"\n  {cause}: {count}" for cause, count in sorted(self.fields.items()))
        return (
            f"{self.calls} calls compared, {self.errors} of them errors: {self.equal} equal, {self.known} with known "
            f"differences, {self.calls - self.equal - self.known} with others; differences by cause:{causes}"
        )


class Known:
    """The list of known differences: causes, under each groups of rows with the reason of the group. A row is
    `operation path twin other`. Operation and path are exact, `{a,b}` in them stands for several, each of which has to
    show; in the two values `*` is anything."""

    def __init__(self, path: Path = TABLES / "known.yaml"):
        self.causes = yaml.safe_load(path.read_text())
        assert len(self.causes) <= CAUSES_MAX, f"{len(self.causes)} causes, and {CAUSES_MAX} is the most"
        self._rows: dict[tuple[str, str], list[Row]] = {}
        for cause, groups in self.causes.items():
            for group in groups:
                assert group["why"].strip(), f"`{cause}` has rows without a reason"
                for written in group["where"]:
                    for row in _rows(cause, written):
                        self._rows.setdefault((row.call, row.path), []).append(row)
        self._used: set[Row] = set()

    def cause(self, difference: Difference) -> str | None:
        shown = [_shown(difference.twin), _shown(difference.other)]
        for row in self._rows.get((difference.call, difference.path), []):
            if all(fnmatch.fnmatchcase(one, form) for one, form in zip(shown, (row.twin, row.other), strict=True)):
                self._used.add(row)
                return row.cause
        return None

    def unused(self) -> list[str]:
        return [str(row) for rows in self._rows.values() for row in rows if row not in self._used]


@dataclass(frozen=True)
class Row:
    cause: str
    call: str
    path: str
    twin: str
    other: str

    def __str__(self) -> str:
        return f"{self.call} {self.path} {self.twin} {self.other}"


def _rows(cause: str, written: str) -> list[Row]:
    call, path, twin, other = written.split(" ")
    assert "*" not in call, f"`{written}`: an operation is named"
    assert {twin, other} != {"*"}, f"`{written}`: at least one of the values is told"
    return [Row(cause, *names, twin, other) for names in itertools.product(_several(call), _several(path))]


def _several(text: str) -> list[str]:
    """`ec2::{create_vpc,describe_vpcs}` as two."""
    parts = [part.split(",") if number % 2 else [part] for number, part in enumerate(re.split(r"[{}]", text))]
    return ["".join(chosen) for chosen in itertools.product(*parts)]


def _shown(value) -> str:
    """A value as the list writes it: without spaces, `-` where there is none."""
    if value in (None, ""):
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text.translate(str.maketrans(" []", "_()"))


def table() -> list[Sequence]:
    """All sequences of all files of the table."""
    found = []
    for path in sorted(TABLES.glob("*.yaml")):
        if path.name == "known.yaml":
            continue
        for name, content in yaml.safe_load(path.read_text()).items():
            content = content if isinstance(content, dict) else {"steps": content}
            steps = [_step(step) for step in content["steps"]]
            found.append(Sequence(name, content.get("eks", "moto"), steps))
    assert len({one.name for one in found}) == len(found), "two sequences of the same name"
    return found


def _step(written: dict) -> dict:
    call = next(key for key in written if "::" in key)
    return {"call": call, "with": written[call], **{key: value for key, value in written.items() if key != call}}


def answers(servers: Servers, sequences: list[Sequence]) -> dict[str, tuple[list, list]]:
    """What both sides answered, by sequence. One process a side; one more for winterbaume."""
    both = {}
    # Each sequence begins with an account with nothing in it, on the twin too: quotas would be used up otherwise.
    for eks in sorted({one.eks for one in sequences}):
        asked = [(one.name, one.steps) for one in sequences if one.eks == eks]
        twin = perform_on("twin", asked)
        other = perform_on(eks, asked, servers.environment(eks))
        both |= {name: (twin[name], other[name]) for name, _ in asked}
    return both


def judge(sequences: list[Sequence], both: dict, known: Known) -> Counts:
    counts = Counts()
    for one in sequences:
        twin, other = both[one.name]
        for place, found in enumerate(compare(one.name, one.steps, twin, other)):
            counts.calls += 1
            counts.errors += "error" in twin[place]
            causes = [known.cause(difference) for difference in found]
            counts.fields.update(cause for cause in causes if cause)
            counts.new += [difference for difference, cause in zip(found, causes, strict=True) if not cause]
            counts.equal += not found
            counts.known += bool(found) and all(causes)
    return counts


def main(names: list[str]) -> int:
    sequences = [one for one in table() if not names or one.name in names]
    known = Known()
    with tempfile.TemporaryDirectory(prefix="ekskit-compare-") as folder, Servers(Path(folder)) as servers:
        counts = judge(sequences, answers(servers, sequences), known)
    for difference in counts.new:
        print(difference)
    print(counts)
    unused = known.unused() if not names else []
    for place in unused:
        print(f"known, but does not show: {place}")
    return 1 if counts.new or unused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
