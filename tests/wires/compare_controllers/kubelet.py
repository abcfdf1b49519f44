"""The kubelet of both clusters, played by the same requests: nodes that are Ready, pods that run, end, or fail as a
story says. So what differs afterwards is of the controllers alone."""

import json
import threading
import time
from datetime import UTC, datetime

from compare_kubernetes.server import Server

from .metrics import Metrics, is_ready

STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
JSON = {"Content-Type": "application/json"}
TURN_SECONDS = 0.15
INDEX = "batch.kubernetes.io/job-completion-index"


class Clock:
    """The time of a server, by which a kubelet writes: a twin has its own."""

    def __init__(self, server: Server):
        review = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "clock-"}}
        body = json.dumps(review).encode()
        made = server.ask("POST", "/api/v1/namespaces?dryRun=All", body, JSON).body["metadata"]["creationTimestamp"]
        self._ahead = datetime.fromisoformat(made) - datetime.now(UTC).replace(microsecond=0)

    def now(self) -> str:
        return (datetime.now(UTC) + self._ahead).strftime("%Y-%m-%dT%H:%M:%SZ")


def make_node(server: Server, clock: Clock, name: str, labels: dict | None = None, taints: list | None = None) -> None:
    """A node that is Ready, with room for many pods."""
    now = clock.now
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, **(labels or {})},
            # The twin plays no kubelet on it, nor does kwok.
            "annotations": {"ekskit.dev/kubelet": "elsewhere"},
        },
        "spec": {"taints": taints} if taints else {},
    }
    server.make("/api/v1/nodes", node)
    room = {"cpu": "64", "memory": "256Gi", "pods": "500"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
    status = {
        "capacity": room,
        "allocatable": room,
        "addresses": [{"type": "InternalIP", "address": "10.1.0.1"}],
        "conditions": [{**ready, "lastHeartbeatTime": now(), "lastTransitionTime": now()}],
    }
    _patch(server, f"/api/v1/nodes/{name}/status", {"status": status})


def _patch(server: Server, path: str, body: dict) -> int:
    return server.ask("PATCH", path, json.dumps(body).encode(), STRATEGIC).code


class Kubelet:
    """Runs the pods of the namespaces of one run on one server, in a thread of its own.

    What becomes of a pod says its label `app` (see `play`): `ready` (so it is where nothing is said), `unready`,
    `pending`, `done`, `fail CODE`, or `disrupt CODE`: it fails with the condition DisruptionTarget. `by index` before
    a list tells pods of Indexed Jobs apart: `by index 0 done, 1 fail 3, * ready`. A pod that is deleted ends, unless
    it `lingers` (`ready lingers`)."""

    def __init__(self, server: Server, prefix: str, metrics: Metrics | None = None):
        """`metrics` also learn of the pods."""
        self._server, self._prefix, self._metrics, self.clock = server, prefix, metrics, Clock(server)
        self._rules: dict[tuple[str, str], str] = {}
        self._end = threading.Event()
        self._addresses = 0
        self.trouble: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Kubelet":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._end.set()
        self._thread.join(30)

    def play(self, namespace: str, rules: dict[str, str]) -> None:
        for app, rule in rules.items():
            self._rules[(namespace, app)] = rule

    def _run(self) -> None:
        beaten = 0.0
        while not self._end.wait(TURN_SECONDS):
            try:
                if time.monotonic() - beaten > 10:
                    self._beat()
                    beaten = time.monotonic()
                pods = self._server.ask("GET", "/api/v1/pods").body["items"]
                if self._metrics:
                    self._metrics.tell(pods, self.clock.now())
                for pod in pods:
                    if pod["metadata"]["namespace"].startswith(self._prefix):
                        self._tend(pod)
            except Exception as trouble:  # told at the end of the run; the next turn may succeed
                self.trouble.append(f"{self._server.name}: {trouble!r}")

    def _beat(self) -> None:
        """Nodes that are silent for 40 seconds count as lost."""
        for node in self._server.ask("GET", "/api/v1/nodes").body["items"]:
            if node["metadata"].get("annotations", {}).get("ekskit.dev/kubelet") != "elsewhere":
                continue
            beat = {"type": "Ready", "status": "True", "lastHeartbeatTime": self.clock.now()}
            _patch(self._server, f"/api/v1/nodes/{node['metadata']['name']}/status", {"status": {"conditions": [beat]}})

    def _rule(self, pod: dict) -> str:
        metadata = pod["metadata"]
        rule = self._rules.get((metadata["namespace"], metadata.get("labels", {}).get("app", "")), "ready")
        if not rule.startswith("by index "):
            return rule
        index = metadata.get("annotations", {}).get(INDEX, "")
        parts = [part.strip().partition(" ") for part in rule.removeprefix("by index ").split(",")]
        return next((what for which, _, what in parts if which in (index, "*")), "ready")

    def _tend(self, pod: dict) -> None:
        metadata, phase = pod["metadata"], pod["status"].get("phase")
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        rule = self._rule(pod)
        what, _, code = rule.partition(" ")
        if "deletionTimestamp" in metadata:
            if "lingers" in rule:
                return
            if phase == "Running" and pod["spec"]["restartPolicy"] == "Never":
                self._end_of(pod, path, "Failed", 143)
            uid = {"uid": metadata["uid"]}
            body = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": uid}
            self._server.ask("DELETE", path, json.dumps(body).encode(), JSON)
        elif not pod["spec"].get("nodeName") or phase in ("Succeeded", "Failed") or what == "pending":
            return
        elif phase == "Pending":
            self._start(pod, path, what != "unready")
        elif what in ("ready", "unready") and is_ready(pod) != (what == "ready"):
            status = "True" if what == "ready" else "False"
            _patch(self._server, f"{path}/status", {"status": {"conditions": [self._condition("Ready", status)]}})
        elif what == "done":
            self._end_of(pod, path, "Succeeded", 0)
        elif what in ("fail", "disrupt"):
            target = self._condition("DisruptionTarget", "True", reason="TerminationByKubelet")
            self._end_of(pod, path, "Failed", int(code.split()[0]), [target] if what == "disrupt" else [])

    def _condition(self, kind: str, status: str, **more) -> dict:
        return {"type": kind, "status": status, "lastTransitionTime": self.clock.now(), **more}

    def _start(self, pod: dict, path: str, ready: bool) -> None:
        self._addresses += 1
        address = f"10.9.{self._addresses // 250}.{self._addresses % 250 + 1}"
        status = {
            "phase": "Running",
            "startTime": self.clock.now(),
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [
                self._condition("Initialized", "True"),
                self._condition("Ready", "True" if ready else "False"),
            ],
            "containerStatuses": _containers(pod, {"running": {"startedAt": self.clock.now()}}, ready),
        }
        _patch(self._server, f"{path}/status", {"status": status})

    def _end_of(self, pod: dict, path: str, phase: str, code: int, conditions=()) -> None:
        now, reason = self.clock.now(), "Completed" if code == 0 else "Error"
        ended = {"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now}
        status = {
            "phase": phase,
            "conditions": [self._condition("Ready", "False"), *conditions],
            "containerStatuses": _containers(pod, {"terminated": ended, "running": None}, ready=False),
        }
        _patch(self._server, f"{path}/status", {"status": status})


def _containers(pod: dict, state: dict, ready: bool) -> list[dict]:
    one = {"imageID": "", "restartCount": 0, "ready": ready, "state": state}
    return [{**one, "name": each["name"], "image": each["image"]} for each in pod["spec"]["containers"]]
