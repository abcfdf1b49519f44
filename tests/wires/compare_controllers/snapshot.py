"""What controllers have made of a namespace, without what every cluster makes up for itself."""

import hashlib
import json
import re

from compare_kubernetes import made_up
from compare_kubernetes.server import Server
from compare_kubernetes.story import KINDS

# The whole of what is not compared. Everything else is, of every object of the kinds that a step names.
IGNORED = made_up.IGNORED | {
    "resourceVersion, generation of what controllers write": "each cluster has its own",
    "managedFields": "compared by `compare_kubernetes`; who of the controllers wrote last is chance",
    "hashes of templates": "ours is another function; compared is which object has which template",
    "the minute in the name of a Job of a CronJob": "each cluster has its clock",
    "the node of a pod that any node may run": "the schedulers score differently",
    "addresses": "given by chance",
    "the order of objects, of endpoints, of a pod's conditions": "by time there, by name here",
    "when a Service's Endpoints and slices were found changed": "an annotation that comes and goes with the timing",
    "of events, how often and when": "compared is what was told of which kind of object, and by whom",
}
ZONED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([+-]\d\d:\d\d)")
MINUTE = re.compile(r"-\d{8}\b")
ADDRESS = re.compile(r"\b(10|172)\.\d+\.\d+\.\d+\b")
NOTICED = "endpoints.kubernetes.io/last-change-trigger-time"
# Where a hash of a template stands in a label.
HASHES = {
    "replicasets": ["pod-template-hash"],
    "controllerrevisions": ["controller-revision-hash", "controller.kubernetes.io/hash"],
}
RANDOM = re.compile(r"-[bcdfghjklmnpqrstvwxz2456789]{5}\b")
PLACED = re.compile(r"(Successfully assigned \S+ to) \S+")


def take(server: Server, namespace: str, kinds: list[str]) -> dict[str, list]:
    """The objects of these kinds, sorted. Those that are not of a namespace are those whose names begin like it."""
    raw = {kind: _list(server, namespace, kind) for kind in {*kinds, *HASHES, "pods"}}
    names = _names(raw)
    return {kind: _shown(kind, raw[kind], names, namespace) for kind in kinds}


def _list(server: Server, namespace: str, kind: str) -> list[dict]:
    root, namespaced, _ = KINDS[kind]
    place = f"/namespaces/{namespace}" if namespaced else ""
    answer = server.ask("GET", f"{root}{place}/{kind}")
    items = answer.body["items"] if answer.code == 200 else []
    return [item for item in items if namespaced or item["metadata"]["name"].startswith(namespace)]


def _digest(value) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(made_up.UID.sub("", text).encode()).hexdigest()[:6]


def _names(raw: dict[str, list]) -> list[tuple[str, str]]:
    """What is made up, and what stands for it; the longest first, since one may contain another."""
    found = {}
    for kind, labels in HASHES.items():
        for item in raw[kind]:
            own = next((value for key, value in item["metadata"].get("labels", {}).items() if key in labels), None)
            if own:
                template = json.loads(json.dumps(item.get("data") or item["spec"]["template"]).replace(own, ""))
                found[own] = f"<template {_digest(template)}>"
    for items in raw.values():
        for item in items:
            metadata = item["metadata"]
            if len(metadata["name"]) == len(metadata.get("generateName", metadata["name"])) + 5:
                found[metadata["name"]] = metadata["generateName"] + "<random>"
    return sorted(found.items(), key=lambda one: -len(one[0]))


def _shown(kind: str, items: list[dict], names: list[tuple[str, str]], namespace: str) -> list:
    if kind == "events":
        told = {json.dumps(mask(_event(item), names, namespace), sort_keys=True) for item in items}
        return [json.loads(one) for one in sorted(told)]
    shown = [mask(_without(kind, item), names, namespace) for item in items]
    return sorted(shown, key=lambda one: json.dumps(one, sort_keys=True))


def _event(item: dict) -> dict:
    about = item["involvedObject"]
    who = item.get("reportingComponent") or item["source"].get("component")
    return {
        # Also of pods that are gone by now.
        "about": RANDOM.sub("-<random>", f"{about['kind']} {about['name']}"),
        "told": PLACED.sub(
            r"\1 <some>", RANDOM.sub("-<random>", f"{item['type']} {item['reason']}: {item['message']}")
        ),
        "by": who,
    }


def _without(kind: str, item: dict) -> dict:
    metadata = {
        key: value for key, value in item["metadata"].items() if key not in ("managedFields", "resourceVersion")
    }
    item = {**item, "metadata": metadata}
    if noticed := metadata.get("annotations", {}).get(NOTICED):
        rest = {key: value for key, value in metadata["annotations"].items() if value != noticed}
        metadata["annotations"] = rest
        if not rest:
            del metadata["annotations"]
    if kind in ("replicasets", "endpointslices", "poddisruptionbudgets", "jobs", "controllerrevisions"):
        metadata.pop("generation", None)
        item["status"] = {k: v for k, v in item.get("status", {}).items() if k != "observedGeneration"}
    if kind == "pods":
        metadata.pop("generation", None)
        item["spec"] = dict(item["spec"])
        is_daemon = any(owner["kind"] == "DaemonSet" for owner in metadata.get("ownerReferences", []))
        if not is_daemon:
            item["spec"]["nodeName"] = "<some>" if "nodeName" in item["spec"] else None
        item["status"] = dict(item["status"])
        conditions = [
            {k: v for k, v in one.items() if k != "observedGeneration"} for one in item["status"].get("conditions", [])
        ]
        item["status"]["conditions"] = sorted(conditions, key=lambda one: one["type"])
        item["status"].pop("observedGeneration", None)
    return item


def mask(value, names: list[tuple[str, str]], namespace: str, key: str = ""):
    if isinstance(value, dict):
        return {mask(name, names, namespace): mask(inner, names, namespace, name) for name, inner in value.items()}
    if isinstance(value, list):
        masked = [mask(inner, names, namespace) for inner in value]
        if key in ("endpoints", "addresses", "notReadyAddresses", "active"):
            masked.sort(key=lambda one: json.dumps(one, sort_keys=True))
        return masked
    if not isinstance(value, str):
        return value
    if key == "nodeName":
        return value.replace(namespace, "NS") if value.startswith(namespace) else "<some>"
    value = ZONED.sub(r"<time>\1", value)
    for own, instead in names:
        value = value.replace(own, instead)
    if key == "resourceVersion":
        return "<number>"
    return ADDRESS.sub("<address>", MINUTE.sub("-<minute>", made_up.masked(value))).replace(namespace, "NS")
