"""What differs between two answers, once what each server makes up itself is masked."""

import re
from dataclasses import dataclass

from .server import Answer

# The whole of what is not compared. Everything else is.
IGNORED = {
    "uids": "each server makes them up",
    "times": "each server has its clock",
    "resourceVersion, continue": "each server counts for itself; compared is whether there is one",
    "addresses and ports given to Services": "allocated at random by the real server",
    "five letters after generateName, and of the volume of a pod's token": "random",
    "PEM and certificates": "each cluster has its own authority",
    "the order of managedFields and of conflicts": "by time to the second there, by chance here",
    "the address of the server": "each listens on its own",
    "bytes of a message to etcd": "it holds protobuf, and its own frame",
    "what kube-controller-manager writes": "its managedFields, the status of Deployments, the revision annotation",
}
UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
PEM = re.compile(r"-----BEGIN.*", re.S)
ADDRESS = re.compile(r"\b172\.20\.\d+\.\d+\b")
TOKEN_VOLUME = re.compile(r"kube-api-access-[a-z0-9]{5}\b")
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
    found: list[Difference] = []
    sides = [
        {"code": answer.code, "type": answer.media, "warnings": answer.warnings, "body": mask(answer.body)}
        for answer in (real, twin)
    ]
    _compare(step, "", *sides, found)
    return found


def _compare(step: str, path: str, real, twin, found: list[Difference]) -> None:
    if isinstance(real, dict) and isinstance(twin, dict):
        for key in sorted({*real, *twin}):
            inner = f"{path}.{key}" if path else key
            _compare(step, inner, real.get(key, ABSENT), twin.get(key, ABSENT), found)
    elif isinstance(real, list) and isinstance(twin, list) and len(real) == len(twin):
        for index, (one, other) in enumerate(zip(real, twin, strict=True)):
            _compare(step, f"{path}[{index}]", one, other, found)
    elif real != twin or type(real) is not type(twin):
        found.append(Difference(step, path, real, twin))


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
        return {UID.sub("<uid>", name): mask(inner, name, named) for name, inner in value.items()}
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
        value = TOKEN_VOLUME.sub("kube-api-access-<random>", VERSION.sub(r"\1<number>", value))
        value = SENT.sub(r"\1(<bytes> vs", ADDRESS.sub("<given>", value))
        return PEM.sub("<pem>", TIME.sub("<time>", UID.sub("<uid>", value)))
    if key in GIVEN and isinstance(value, int):
        return "<given>"
    return value
