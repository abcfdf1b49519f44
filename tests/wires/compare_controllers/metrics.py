"""What pods use, told to the autoscalers of the real cluster as those of a twin are told it: by the annotation
`ekskit.dev/load` of the autoscaler, which all ready pods of its target share. Kubernetes asks `metrics.k8s.io` for it;
here the pods of that group are objects of a custom kind, which we write."""

import json
import time

from compare_kubernetes.server import Server
from compare_kubernetes.story import TYPES

LOAD = "ekskit.dev/load"
ROOT = "/apis/metrics.k8s.io/v1beta1"
NAMES = {"plural": "pods", "singular": "pod", "kind": "PodMetrics", "listKind": "PodMetricsList"}
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
KIND = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "pods.metrics.k8s.io",
        "annotations": {"api-approved.kubernetes.io": "unapproved, it plays the server of metrics"},
    },
    "spec": {
        "group": "metrics.k8s.io",
        "scope": "Namespaced",
        "names": NAMES,
        "versions": [{"name": "v1beta1", "served": True, "storage": True, "schema": {"openAPIV3Schema": OPEN}}],
    },
}
WORDS_OF_SIZE = {"m": 1, "": 1000, "Ki": 1024_000, "Mi": 1024**2 * 1000, "Gi": 1024**3 * 1000}


class Metrics:
    """The server of metrics of one cluster, for namespaces with this prefix."""

    def __init__(self, server: Server, prefix: str):
        self._server, self._prefix = server, prefix
        server.make("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", KIND)
        give_up = time.monotonic() + 30
        while server.ask("GET", f"{ROOT}/namespaces/default/pods").code != 200:
            if time.monotonic() > give_up:
                raise RuntimeError("nobody serves metrics.k8s.io")
            time.sleep(0.1)

    def tell(self, pods: list[dict], now: str) -> None:
        """`pods` are all there are."""
        scalers = self._server.ask("GET", "/apis/autoscaling/v2/horizontalpodautoscalers").body["items"]
        for scaler in scalers:
            namespace = scaler["metadata"]["namespace"]
            load = scaler["metadata"].get("annotations", {}).get(LOAD)
            if load and namespace.startswith(self._prefix):
                self._share(namespace, [pod for pod in pods if pod["metadata"]["namespace"] == namespace], load, now)

    def _share(self, namespace: str, pods: list[dict], load: str, now: str) -> None:
        """In a story with a load all pods are of the one target."""
        ready = [pod for pod in pods if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]
        usage = {}
        for part in load.split(","):
            name, _, amount = part.strip().partition("=")
            usage[name] = f"{_thousandths(amount) // max(len(ready), 1)}m"
        there = self._server.ask("GET", f"{ROOT}/namespaces/{namespace}/pods").body["items"]
        names = {pod["metadata"]["name"] for pod in ready}
        for gone in {one["metadata"]["name"] for one in there} - names:
            self._server.ask("DELETE", f"{ROOT}/namespaces/{namespace}/pods/{gone}")
        for pod in ready:
            name, labels = pod["metadata"]["name"], pod["metadata"].get("labels", {})
            told = {
                "apiVersion": "metrics.k8s.io/v1beta1",
                "kind": "PodMetrics",
                "metadata": {"name": name, "labels": labels},
                "timestamp": now,
                "window": "0s",
                "containers": [
                    {"name": one["name"], "usage": usage if not index else dict.fromkeys(usage, "0")}
                    for index, one in enumerate(pod["spec"]["containers"])
                ],
            }
            path = f"{ROOT}/namespaces/{namespace}/pods/{name}?fieldManager=metrics&force=true"
            self._server.ask("PATCH", path, json.dumps(told).encode(), {"Content-Type": TYPES["apply"]})


def is_ready(pod: dict) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _thousandths(amount: str) -> int:
    digits = amount.rstrip("mKiMG")
    return int(digits) * WORDS_OF_SIZE[amount.removeprefix(digits)]
