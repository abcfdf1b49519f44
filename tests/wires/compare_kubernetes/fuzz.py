"""Random sequences of requests told to both servers; one that differs is cut down to the shortest that still does."""

import copy
import json
import random
import time
import uuid
from dataclasses import dataclass, field

import yaml

from . import difference
from .compare import told
from .server import Server
from .story import Story

MANAGERS = ["one", "two", "three"]
PORTS = {"web": 80, "side": 90, "log": 100}
NAMESPACE = "fuzz"
STEPS_MAX = 12
SHRINK_ROUNDS = 60

WIDGET = {
    "tags": lambda r: r.sample(["a", "b", "c", "d"], r.randint(0, 3)),
    "rules": lambda r: [_rule(r, name) for name in r.sample(["x", "y", "z"], r.randint(0, 3))],
    "steps": lambda r: [{"run": r.choice("pq")} for _ in range(r.randint(0, 2))],
    "plain": lambda r: [r.choice("uv") for _ in range(r.randint(0, 2))],
    "ref": lambda r: _some(r, {"name": r.choice("mn"), "kind": r.choice("KL")}),
    # These are never empty: what becomes of an empty map that had entries is a known difference.
    "map": lambda r: {key: r.choice("12") for key in r.sample("abc", r.randint(0, 3))} or {"a": "1"},
    "any": lambda r: _anything(r, 2) or {"v": 0},
    "nested": lambda r: _some(r, {"a": r.randint(1, 3), "b": r.randint(1, 3)}),
    "color": lambda r: r.choice(["red", "blue"]),
    "replicas": lambda r: r.randint(0, 3),
}
POD = {
    "nodeSelector": lambda r: {key: r.choice("12") for key in r.sample("abc", r.randint(0, 2))},
    "tolerations": lambda r: [{"key": r.choice("ab"), "operator": "Exists"} for _ in range(r.randint(0, 2))],
    "hostNetwork": lambda r: r.choice([True, False]),
    "imagePullSecrets": lambda r: [{"name": name} for name in r.sample("st", r.randint(0, 2))],
    "terminationGracePeriodSeconds": lambda r: r.randint(0, 60),
}


def _some(r: random.Random, fields: dict) -> dict:
    return {key: value for key, value in fields.items() if r.random() < 0.6}


def _anything(r: random.Random, depth: int):
    if depth == 0 or r.random() < 0.4:
        return {"v": r.randint(0, 2)} if depth == 2 else r.choice([1, "t", True])
    return {key: _anything(r, depth - 1) for key in r.sample("ijk", r.randint(0, 2))}


def _rule(r: random.Random, name: str) -> dict:
    return {"name": name, **_some(r, {"port": r.choice([80, 81]), "weight": r.randint(1, 3), "hosts": ["h"]})}


def _container(r: random.Random, name: str) -> dict:
    return {
        "name": name,
        "image": r.choice(["i:1", "i:2"]),
        **_some(
            r,
            {
                "env": [{"name": one, "value": r.choice("12")} for one in r.sample("ABC", r.randint(0, 3))],
                # The server advises against a port that two containers have.
                "ports": [{"containerPort": PORTS[name] + port} for port in r.sample([0, 1, 2], r.randint(0, 2))],
                "args": [r.choice("xy")],
                "resources": {"limits": {"cpu": r.choice(["1", "500m", "0.5"])}},
            },
        ),
    }


def _metadata(r: random.Random) -> dict:
    return _some(
        r,
        {
            "labels": {key: r.choice("12") for key in r.sample(["l", "m", "n"], r.randint(0, 3))},
            "annotations": {key: r.choice("12") for key in r.sample(["o", "p"], r.randint(0, 2))},
            "finalizers": [f"ekskit.dev/{one}" for one in r.sample("fgh", r.randint(0, 2))],
        },
    )


def _body(r: random.Random, plural: str) -> dict:
    """What is wanted of an object, without its name."""
    body = {"metadata": _metadata(r)}
    if plural == "configmaps":
        if r.random() < 0.9:
            body["data"] = {key: r.choice("12") for key in r.sample("abc", r.randint(0, 3))}
    elif plural == "widgets":
        body["spec"] = {key: WIDGET[key](r) for key in r.sample(sorted(WIDGET), r.randint(0, 5))}
    else:
        containers = [_container(r, name) for name in r.sample(["web", "side", "log"], r.randint(1, 3))]
        spec = {key: POD[key](r) for key in r.sample(sorted(POD), r.randint(0, 3))}
        body["template"] = {"metadata": _metadata(r), "spec": {**spec, "containers": containers}}
        body["template"]["metadata"].pop("finalizers", None)
    return body


def _step(r: random.Random, number: int) -> dict:
    plural = r.choice(["configmaps", "widgets", "podtemplates"])
    name, manager = r.choice(["a-TAG", "b-TAG"]), r.choice(MANAGERS)
    body = _body(r, plural)
    named = {**body, "metadata": {**body["metadata"], "name": name}}
    version = {"configmaps": "v1", "podtemplates": "v1", "widgets": "compare.ekskit.dev/v1"}[plural]
    kind = {"configmaps": "ConfigMap", "podtemplates": "PodTemplate", "widgets": "Widget"}[plural]
    named = {"apiVersion": version, "kind": kind, **named}
    what = r.choices(
        ["apply", "force", "merge", "strategic", "put", "create", "delete", "get", "list"], [9, 3, 3, 3, 3, 2, 1, 1, 1]
    )[0]
    path, query = f"{plural}/{name}", f"?fieldManager={manager}"
    step = {
        "apply": {"do": f"PATCH {path}{query}", "type": "apply", "body": named},
        "force": {"do": f"PATCH {path}{query}&force=true", "type": "apply", "body": named},
        "merge": {"do": f"PATCH {path}{query}", "type": "merge", "body": _holes(r, body)},
        "strategic": {"do": f"PATCH {path}{query}", "type": "strategic", "body": body},
        "put": {"do": f"PUT {path}{query}", "body": named},
        "create": {"do": f"POST {plural}{query}", "body": named},
        "delete": {"do": f"DELETE {path}"},
        "get": {"do": f"GET {path}"},
        "list": {"do": f"GET {plural}?fieldSelector=metadata.name%3D{name}"},
    }[what]
    return {"name": str(number), **step}


def _holes(r: random.Random, value):
    """Some fields removed by null."""
    if not isinstance(value, dict):
        return value
    return {key: None if r.random() < 0.15 else _holes(r, inner) for key, inner in value.items()}


@dataclass
class Totals:
    seed: int
    sequences: int = 0
    requests: int = 0
    seconds: float = 0
    found: list = field(default_factory=list)

    def __str__(self) -> str:
        told = [
            f"seed {seed}:\n{yaml.safe_dump([{'story': f'found by seed {seed}', 'steps': steps}], sort_keys=False)}"
            + "\n".join(map(str, differences))
            for seed, steps, differences in self.found
        ]
        told.append(
            f"fuzzer: {self.sequences} sequences, {self.requests} requests from seed {self.seed} on in "
            f"{self.seconds:.0f} s, {len(self.found)} differ"
        )
        return "\n".join(told)


def run(real: Server, twin: Server, seed: int, seconds: float, found_max: int = 5) -> Totals:
    """Sequences from this seed on, one seed after the other; ends early when enough was found."""
    totals, started = Totals(seed), time.monotonic()
    while time.monotonic() - started < seconds and len(totals.found) < found_max:
        own = seed + totals.sequences
        r = random.Random(own)
        steps = [_step(r, number) for number in range(r.randint(2, STEPS_MAX))]
        totals.sequences += 1
        totals.requests += len(steps)
        if _differ(real, twin, steps):
            shortest = _shrunk(real, twin, steps)
            totals.found.append((own, shortest, _differ(real, twin, shortest)))
    totals.seconds = time.monotonic() - started
    return totals


def _differ(real: Server, twin: Server, steps: list[dict]) -> list:
    """Where the first step that differs does so. Every telling has objects of its own."""
    tag = uuid.uuid4().hex[:8]
    own = json.loads(json.dumps(steps).replace("TAG", tag))
    answers = told(real, twin, Story("fuzz", own), NAMESPACE, tag)
    for step, ours, theirs in zip(steps, *answers, strict=True):
        if found := difference.between(f"fuzz/{step['name']}", ours, theirs):
            return found
    return []


def _shrunk(real: Server, twin: Server, steps: list[dict]) -> list[dict]:
    """Without steps, and then without fields, that the difference does not need."""
    rounds = SHRINK_ROUNDS
    for cut in (_without_steps, _without_fields):
        again = True
        while again and rounds > 0:
            again = False
            for fewer in cut(steps):
                rounds -= 1
                if rounds < 0:
                    break
                if _differ(real, twin, fewer):
                    steps, again = fewer, True
                    break
    return steps


def _without_steps(steps: list[dict]):
    for index in reversed(range(len(steps))):
        if len(steps) > 1:
            yield steps[:index] + steps[index + 1 :]


def _without_fields(steps: list[dict]):
    for index, step in enumerate(steps):
        for path in _paths(step.get("body"), ()):
            if path[-1] in ("apiVersion", "kind", "name"):
                continue
            fewer = copy.deepcopy(steps)
            parent = fewer[index]["body"]
            for key in path[:-1]:
                parent = parent[key]
            del parent[path[-1]]
            yield fewer


def _paths(value, before: tuple):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*before, key)
            yield from _paths(inner, (*before, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _paths(inner, (*before, index))
