"""A twin and a real API server with the same thousands of objects: seconds for lists, watches and applies."""

import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .control_plane import ControlPlane
from .kube import Kube, KubeError
from .served import Served

WRITERS = 4
ROUNDS = 5
APPLIED = 300
PODS = "/api/v1/namespaces/default/pods"


def node(index: int) -> dict:
    size = {"cpu": "4", "memory": "16Gi", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": f"node-{index:05}",
            "labels": {"kubernetes.io/os": "linux", "zone": f"zone-{index % 3}"},
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "status": {"capacity": size, "allocatable": size},
    }


def pod(index: int, nodes: int) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{index:06}", "labels": {"app": f"app-{index % 100}", "tier": "web"}},
        "spec": {
            "nodeName": f"node-{index % nodes:05}",
            "containers": [
                {
                    "name": "main",
                    "image": "example.com/main:1",
                    "env": [{"name": f"NAME_{number}", "value": "value"} for number in range(5)],
                    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
                }
            ],
        },
    }


def fill(kube: Kube, nodes: int, pods: int) -> float:
    """Creates everything; seconds."""
    try:  # without a controller manager nobody makes the one that pods need
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        kube.call("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    except KubeError as error:
        if error.status != 409:
            raise
    start = time.perf_counter()
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda index: kube.call("POST", "/api/v1/nodes", node(index)), range(nodes)))
        list(pool.map(lambda index: kube.call("POST", PODS, pod(index, nodes)), range(pods)))
    return time.perf_counter() - start


def read_all(kube: Kube, path: str) -> float:
    start = time.perf_counter()
    answer = kube.open(path)
    while answer.read(1 << 20):
        pass
    return time.perf_counter() - start


def list_pages(kube: Kube) -> float:
    start, token, count = time.perf_counter(), "", 0
    while True:
        page = kube.get(PODS, limit=500, **({"continue": token} if token else {}))
        count += len(page["items"])
        token = page["metadata"].get("continue")
        if not token:
            return time.perf_counter() - start


def read_events(kube: Kube, path: str, count: int) -> float:
    """Until so many events have come."""
    start = time.perf_counter()
    answer = kube.open(path)
    for _ in range(count):
        if not answer.readline():
            raise AssertionError("the watch ended early")
    answer.close()
    return time.perf_counter() - start


def change_and_see(kube: Kube) -> float:
    """Seconds from a change to its event, for one who watches all pods: the median."""
    revision = kube.get(PODS, limit=1)["metadata"]["resourceVersion"]
    watch = kube.open(f"{PODS}?watch=1&resourceVersion={revision}")
    waited = []
    for index in range(50):
        start = time.perf_counter()
        kube.patch(f"{PODS}/pod-{index * 7:06}", {"metadata": {"labels": {"seen": f"{start}"}}})
        while f"{start}".encode() not in watch.readline():
            pass
        waited.append(time.perf_counter() - start)
    watch.close()
    return statistics.median(waited)


def apply_some(kube: Kube) -> float:
    start = time.perf_counter()
    for index in range(APPLIED):
        labels = {"applied": f"{start}"}
        thing = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pod-{index:06}", "labels": labels}}
        query = {"fieldManager": "scale", "force": "true"}
        kube.call("PATCH", f"{PODS}/pod-{index:06}", thing, "application/apply-patch+yaml", **query)
    return time.perf_counter() - start


def jobs(nodes: int, pods: int) -> list:
    repeated = lambda job: lambda kube: statistics.median(job(kube) for _ in range(ROUNDS))
    watched = f"{PODS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    return [
        (f"list {nodes} nodes", repeated(lambda kube: read_all(kube, "/api/v1/nodes"))),
        (f"list {pods} pods", repeated(lambda kube: read_all(kube, PODS))),
        (f"list {pods} pods by pages of 500", list_pages),
        (
            "list the pods of a label, 1 in 100",
            repeated(lambda kube: read_all(kube, f"{PODS}?labelSelector=app%3Dapp-7")),
        ),
        (f"watch {pods} pods from the beginning", lambda kube: read_events(kube, watched, pods + 1)),
        ("change a pod and see it in a watch", change_and_see),
        (f"apply to {APPLIED} pods", apply_some),
    ]


def main(nodes: int = 5_000, pods: int = 50_000) -> None:
    with tempfile.TemporaryDirectory(prefix="ekskit-scale-") as work:
        plane = ControlPlane(Path(work), "http://127.0.0.1:1/nobody")
        plane.start_bare()
        twin = Served(Path(work), "--nodes", 0, "--speed", 0)
        try:
            sides = {"twin": twin, "real": plane.kube}
            filled = {name: fill(kube, nodes, pods) for name, kube in sides.items()}
            tell(f"create {nodes} nodes and {pods} pods", filled)
            for name, job in jobs(nodes, pods):
                tell(name, {side: job(kube) for side, kube in sides.items()})
        finally:
            twin.stop()
            plane.stop()


def tell(job: str, seconds: dict[str, float]) -> None:
    twin, real = seconds["twin"], seconds["real"]
    print(
        f"{job:45} twin {twin * 1000:9.1f} ms   real {real * 1000:9.1f} ms   twin takes {twin / real:.2f} of the time"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
