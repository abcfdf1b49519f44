"""Tells stories of controllers to both clusters at once, and compares what has become of each."""

import json
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from compare_kubernetes import difference
from compare_kubernetes.server import Server
from compare_kubernetes.story import WORDS as WORDS_OF_REQUESTS
from compare_kubernetes.story import Story, Teller, full_path, read

from . import snapshot
from .kubelet import Clock, Kubelet, make_node
from .metrics import Metrics

FOLDER = Path(__file__).parent / "stories"
WORDS = WORDS_OF_REQUESTS | set("play nodes evict code pause same within".split())
POLL_SECONDS = 0.25
WAIT_SECONDS = 60
# What a loaded machine may take until both are at rest.
SETTLE_SECONDS = 25
# As long as nothing differs, both are at rest: controllers answer within a part of a second.
CALM_POLLS = 3
NOT_READY = "node.kubernetes.io/not-ready"


@dataclass
class Outcome:
    stories: int = 0
    compared: int = 0
    objects: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return self.compared > 0 and not self.differences

    def __str__(self) -> str:
        end = f"{self.stories} stories: {self.compared} states compared, {self.objects} objects"
        return "\n".join([*self.differences, f"{end}, {len(self.differences)} differences"])


def load(names: list[str] | None = None) -> list[Story]:
    """All stories, or those whose file or name is asked for."""
    stories = read(FOLDER, WORDS)
    return [story for story in stories if not names or any(name in story.name for name in names)]


def run(real: Callable[[], Server], twin: Callable[[], Server], stories: list[Story]) -> Outcome:
    """`real` and `twin` make a client each time: every thread has one of its own."""
    prefix = f"k{uuid.uuid4().hex[:5]}"
    outcome = Outcome(stories=len(stories))
    with (
        Kubelet(real(), prefix, Metrics(real(), prefix)) as one,
        Kubelet(twin(), prefix) as other,
        ThreadPoolExecutor(len(stories) or 1) as pool,
    ):
        kubelets = (one, other)
        for make, kubelet in zip((real, twin), kubelets, strict=True):
            for number in range(2):
                make_node(make(), kubelet.clock, f"{prefix}-any-{number}")
            # Before any story begins: how many there are stands in the words of the scheduler.
            for number, story in enumerate(stories):
                _make_nodes(make(), kubelet.clock, story, f"{prefix}-{number}z")
        _settle_schedulers((real(), twin()), f"{prefix}-settle")
        tellings = [
            Telling(story, f"{prefix}-{number}z", (real(), twin()), kubelets) for number, story in enumerate(stories)
        ]
        for telling in pool.map(Telling.told, tellings):
            outcome.compared += telling.compared
            outcome.objects += telling.objects
            outcome.differences += telling.differences
    # One refused turn is no trouble: a pod may be gone between list and patch. Many are.
    for kubelet in kubelets:
        if len(kubelet.trouble) > 5:
            outcome.differences.append(f"the kubelet had trouble {len(kubelet.trouble)} times: {kubelet.trouble[0]}")
    return outcome


def _make_nodes(server: Server, clock: Clock, story: Story, namespace: str) -> None:
    for step in story.steps:
        for name, more in step.get("nodes", {}).items():
            taints = [{"key": "story", "value": namespace, "effect": "PreferNoSchedule"}, *more.get("taints", [])]
            make_node(server, clock, f"{namespace}-{name}", {"story": namespace}, taints)


def _settle_schedulers(servers: tuple[Server, Server], namespace: str) -> None:
    """Until both schedulers see the same nodes: new ones are tainted until they are found ready, and what a scheduler
    says of a pod while it still sees such a taint stays among the events of a story."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "large"},
        "spec": {"containers": [{"name": "a", "image": "a:1", "resources": {"requests": {"cpu": "1000"}}}]},
    }
    for server in servers:
        Teller(server).tell(Story("settle", []), namespace)
        server.make(f"/api/v1/namespaces/{namespace}/pods", pod)
    give_up = time.monotonic() + WAIT_SECONDS
    while not (_are_untainted(servers) and _agree_why_pending(servers, namespace)):
        if time.monotonic() > give_up:
            raise RuntimeError(
                f"the schedulers see different nodes: {[_why_pending(one, namespace) for one in servers]}"
            )
        time.sleep(POLL_SECONDS)


def _are_untainted(servers: tuple[Server, Server]) -> bool:
    nodes = [node for server in servers for node in server.ask("GET", "/api/v1/nodes").body["items"]]
    return not any(taint["key"] == NOT_READY for node in nodes for taint in node["spec"].get("taints", []))


def _agree_why_pending(servers: tuple[Server, Server], namespace: str) -> bool:
    one, other = (_why_pending(server, namespace) for server in servers)
    return one == other != ""


def _why_pending(server: Server, namespace: str) -> str:
    status = server.ask("GET", f"/api/v1/namespaces/{namespace}/pods/large").body["status"]
    return next((one["message"] for one in status.get("conditions", []) if one["type"] == "PodScheduled"), "")


def shown(row: difference.Difference) -> str:
    """Of two lists that are not of one length, what only one of them has."""
    if isinstance(row.real, list) and isinstance(row.twin, list):
        one, other = (
            [one for one in here if one not in there] for here, there in ((row.real, row.twin), (row.twin, row.real))
        )
        lengths = f"{len(row.real)} there, {len(row.twin)} here"
        return f"{row.step}\n    {row.path}: {lengths}\n      only real {one}\n      only twin {other}"
    return str(row)


class Telling:
    """One story, on both sides."""

    def __init__(self, story: Story, namespace: str, servers, kubelets):
        self.story, self.namespace, self.servers, self.kubelets = story, namespace, servers, kubelets
        self.said: list[dict] = [{}, {}]
        self.tellers = [Teller(server) for server in servers]
        self.compared, self.objects = 0, 0
        self.differences: list[str] = []

    def told(self) -> "Telling":
        try:
            for teller in self.tellers:
                teller.tell(Story(self.story.name, []), self.namespace)  # makes the namespace
            for step in self.story.steps:
                self._step(step)
        except Exception as trouble:
            self.differences.append(f"{self.story.name}: {trouble!r}")
        return self

    def _step(self, step: dict) -> None:
        for kubelet in self.kubelets:
            kubelet.play(self.namespace, step.get("play", {}))
        if "pause" in step:
            time.sleep(step["pause"])
        if "do" in step:
            named = {"name": step["do"], **step}
            answers = [
                teller._step(named, self.namespace, said) for teller, said in zip(self.tellers, self.said, strict=True)
            ]
            for one, said in zip(answers, self.said, strict=True):
                said[named["name"]] = one.body
            self._agree(step, [[one.code, one.body.get("reason", "")] for one in answers], step.get("code", 200))
        if "evict" in step:
            self._agree(step, [self._evict(server, step["evict"]) for server in self.servers], step.get("code", 201))
        if "same" in step:
            self._compare(step)

    def _agree(self, step: dict, answers: list, code: int) -> None:
        """Both answered alike, and what the story expects: 200 stands for every success."""
        name = f"{self.story.name}/{step.get('do') or step.get('evict')}"
        is_wanted = answers[0][0] // 100 == 2 if code == 200 else answers[0][0] == code
        if answers[0] != answers[1] or not is_wanted:
            self.differences.append(f"{name}: wanted {code}, real {answers[0]}, twin {answers[1]}")

    def _evict(self, server: Server, app: str) -> list:
        """Evicts the first pod of an app that is not on its way already."""
        pods = server.ask("GET", f"/api/v1/namespaces/{self.namespace}/pods?labelSelector=app%3D{app}").body["items"]
        name = next(pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"])
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": self.namespace},
        }
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/eviction"
        answer = server.ask("POST", path, json.dumps(eviction).encode(), {"Content-Type": "application/json"})
        return [answer.code, answer.body.get("reason", ""), answer.body.get("details", {}).get("causes", [])]

    def _compare(self, step: dict) -> None:
        """First each side comes to where the story wants it, then both have to be the same."""
        name = f"{self.story.name}/{step['name']}"
        give_up = time.monotonic() + step.get("within", WAIT_SECONDS)
        for server in self.servers:
            while missing := [wish for wish in step["until"].items() if not self._is(server, *wish)]:
                if time.monotonic() > give_up:
                    self.differences.append(
                        f"{name}: {server.name} never came to {dict(missing)}: {self._seen(server, missing)}"
                    )
                    return
                time.sleep(POLL_SECONDS)
        # Also the slow side has a moment for the rest.
        give_up = time.monotonic() + SETTLE_SECONDS
        calm = 0
        while True:
            shots = [snapshot.take(server, self.namespace, step["same"]) for server in self.servers]
            calm = calm + 1 if shots[0] == shots[1] else 0
            if calm == CALM_POLLS:
                break
            if not calm and time.monotonic() > give_up:
                self.differences += [shown(row) for row in difference.within(name, *shots)]
                break
            time.sleep(POLL_SECONDS)
        self.compared += 1
        self.objects += sum(map(len, shots[0].values()))

    def _is(self, server: Server, where: str, wanted) -> bool:
        return self._value(server, where) == wanted

    def _seen(self, server: Server, missing) -> dict:
        return {where: self._value(server, where) for where, _ in missing}

    def _value(self, server: Server, where: str):
        """`pods` is how many there are, `pods app=web` those of a label, `jobs/a status.active` a field, with
        `status.conditions[Complete]` for the status of a condition. None: not there."""
        place, _, field_path = where.partition(" ")
        path, _ = full_path(place.replace("{ns}", self.namespace), self.namespace)
        if "/" not in place:
            query = "?labelSelector=" + field_path.replace("=", "%3D") if field_path else ""
            return len(server.ask("GET", path + query).body["items"])
        answer = server.ask("GET", path)
        value = answer.body if answer.code == 200 else None
        if not field_path:
            return value is not None
        for part in field_path.split("."):
            part, _, condition = part.rstrip("]").partition("[")
            value = value.get(part) if isinstance(value, dict) else None
            if condition:
                value = next((one["status"] for one in value or [] if one["type"] == condition), None)
        return value
