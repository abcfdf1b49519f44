"""What differs between two answers, once what each server makes up itself is masked."""

import re
from dataclasses import dataclass

from . import made_up
from .server import Answer

# The whole of what is not compared. Everything else is.
IGNORED = made_up.IGNORED | {
    "resourceVersion, continue": "each server counts for itself; compared is whether there is one",
    "addresses and ports given to Services": "allocated at random by the real server",
    "the order of managedFields and of conflicts": "by time to the second there, by chance here",
    "the address of the server": "each listens on its own",
    "bytes of a message to etcd": "it holds protobuf, and its own frame",
    "what kube-controller-manager writes": "its managedFields, the status of Deployments, the revision annotation",
}
ADDRESS = re.compile(r"\b172\.20\.\d+\.\d+\b")
VERSION = re.compile(r'(resourceVersion\\?":\\?"|in record \(|in the precondition \(|current: )\d+(?![-0-9a-f])')
SENT = re.compile(r"(larger than max )\(\d+ vs")
CONTROLLERS = {"kube-controller-manager"}
NUMBERED = {"resourceVersion", "continue"}
SHOWN_MAX = 3000
GIVEN = {"clusterIP", "nodePort", "healthCheckNodePort"}


@dataclass(frozen=True)
class Difference:
    step: str  # story/step
    path: str
    real: object
    twin: object

    def __str__(self) -> str:
        return f"{self.step}\n    {self.path}\n      real {_short(self.real)}\n      twin {_short(self.twin)}"


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}… ({len(text)} letters)"


def between(step: str, real: Answer, twin: Answer) -> list[Difference]:
    sides = [
        {"code": answer.code, "type": answer.media, "warnings": answer.warnings, "body": mask(answer.body)}
        for answer in (real, twin)
    ]
    return within(step, *sides)


def within(step: str, real, twin, path: str = "") -> list[Difference]:
    """Between two values, each by the path to the smallest thing that differs."""
    if isinstance(real, dict) and isinstance(twin, dict):
        pairs = [
            (f"{path}.{key}" if path else key, real.get(key, ABSENT), twin.get(key, ABSENT))
            for key in sorted({*real, *twin})
        ]
    elif isinstance(real, list) and isinstance(twin, list) and len(real) == len(twin):
        pairs = [(f"{path}[{index}]", *both) for index, both in enumerate(zip(real, twin, strict=True))]
    else:
        return [Difference(step, path, real, twin)] if real != twin or type(real) is not type(twin) else []
    return [found for place, one, other in pairs for found in within(step, one, other, place)]


class Absent:
    def __repr__(self) -> str:
        return "absent"

    def __eq__(self, other) -> bool:
        return isinstance(other, Absent)

    __hash__ = None


ABSENT = Absent()


def _entry(entry: dict) -> tuple:
    return tuple(str(entry.get(key)) for key in ("operation", "manager", "apiVersion", "subresource"))


def mask(value, key: str = "", generated: bool = False):
    if isinstance(value, dict):
        named = bool(value.get("generateName"))
        if value.get("kind") == "Deployment":
            value = {**value, "status": "<of the controllers>"}
        value = {name: inner for name, inner in value.items() if name != "deployment.kubernetes.io/revision"}
        return {made_up.UID.sub("<uid>", name): mask(inner, name, named) for name, inner in value.items()}
    if isinstance(value, list):
        if key == "managedFields":
            value = sorted((one for one in value if one.get("manager") not in CONTROLLERS), key=_entry)
        elif key == "causes" and all(one.get("reason") == "FieldManagerConflict" for one in value):
            value = sorted(value, key=lambda one: (one["message"], one["field"]))
        if key == "clusterIPs":
            return ["<given>" if one != "None" else one for one in value]
        return [mask(inner, key) for inner in value]
    if isinstance(value, str):
        if key in NUMBERED and value:
            return "<number>"
        if key in GIVEN and value not in ("", "None"):
            return "<given>"
        if key == "serverAddress":
            return "<address>"
        if key == "name" and generated and len(value) > 5:
            return value[:-5] + "<random>"
        value = SENT.sub(r"\1(<bytes> vs", VERSION.sub(r"\1<number>", value))
        return made_up.masked(ADDRESS.sub("<given>", value))
    if key in GIVEN and isinstance(value, int):
        return "<given>"
    return value
