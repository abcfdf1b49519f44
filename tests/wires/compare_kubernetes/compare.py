"""Tells every story to both servers and holds the differences against the list of known ones."""

import re
import ssl
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from . import difference
from .server import Server
from .story import Story, Teller

KNOWN = Path(__file__).parent / "known.yaml"
CAUSES_MAX = 15


@dataclass
class Outcome:
    compared: int = 0
    equal: int = 0
    known: int = 0
    causes: Counter = field(default_factory=Counter)
    unknown: list = field(default_factory=list)
    told: list = field(default_factory=list)  # differences that are known
    stale: list = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return self.compared > 0 and not self.unknown and not self.stale and len(self.causes) <= CAUSES_MAX

    def __str__(self) -> str:
        lines = [f"{one}" for one in self.unknown]
        lines += [f"differs no more, so it is not known any more: {where}" for where in self.stale]
        lines += [f"  {count:4} {cause}" for cause, count in self.causes.most_common()]
        refused = len({one.step for one in self.unknown})
        lines.append(
            f"{self.compared} requests compared: {self.equal} equal, {self.known} differ as known "
            f"({len(self.causes)} causes), {refused} differ"
        )
        return "\n".join(lines)


def compare(real: Server, twin: Server, stories: list[Story], all_of_them: bool) -> Outcome:
    """`all_of_them`: a known difference that no story shows is told then."""
    known = yaml.safe_load(KNOWN.read_text())
    rows = [(cause["cause"], where) for cause in known for where in cause["where"]]
    outcome, met = Outcome(), set()
    run = uuid.uuid4().hex[:6]
    for number, story in enumerate(stories):
        namespace = f"c{run}-{number}"
        answers = told(real, twin, story, namespace)
        for step, ours, theirs in zip(story.steps, *answers, strict=True):
            where = f"{story.name}/{step['name']}"
            found = difference.between(where, ours, theirs)
            outcome.compared += 1
            causes = {one: _cause(one, rows) for one in map(_Row, found)}
            if not found:
                outcome.equal += 1
            elif all(causes.values()):
                outcome.known += 1
                outcome.told += [one.difference for one in causes]
                outcome.causes.update({row[0] for row in causes.values()})
                met.update(causes.values())
            else:
                outcome.unknown += [one.difference for one, row in causes.items() if not row]
    if all_of_them:
        outcome.stale = [f"{cause}: {where}" for cause, where in rows if (cause, where) not in met]
    return outcome


class _Row:
    """A difference by its place: what differs may not be hashable."""

    def __init__(self, difference):
        self.difference = difference


def _cause(row: _Row, rows: list[tuple[str, str]]):
    """`story/step path`, with `*` for anything."""
    at = f"{row.difference.step} {row.difference.path}"
    return next((one for one in rows if re.fullmatch(re.escape(one[1]).replace(r"\*", ".*"), at)), None)


def told(real: Server, twin: Server, story: Story, namespace: str, own: str | None = None) -> list[list]:
    """The answers of both, which are asked at the same time; `own` is what they may name otherwise in every run."""

    def answers(server: Server):
        return mapped(Teller(server).tell(story, namespace), own or namespace)

    with ThreadPoolExecutor() as both:
        return list(both.map(answers, (real, twin)))


def mapped(answers, namespace):
    """The namespace is another one in every run."""
    for answer in answers:
        answer.body = _renamed(answer.body, namespace)
    return answers


def _renamed(value, namespace):
    if isinstance(value, dict):
        return {_renamed(key, namespace): _renamed(inner, namespace) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner, namespace) for inner in value]
    return value.replace(namespace, "NS") if isinstance(value, str) else value


def real(url: str, authority) -> Server:
    """The real API server, as an admin whom it knows by a certificate."""
    tls = ssl.create_default_context(cafile=str(authority.path))
    tls.load_cert_chain(*map(str, authority.client("compare", "system:masters")))
    return Server("real", url, tls)
