"""Stories: sequences of requests as data, told to one server."""

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from .server import Answer, Server

FOLDER = Path(__file__).parent / "stories"
TYPES = {
    "json": "application/json",
    "yaml": "application/yaml",
    "merge": "application/merge-patch+json",
    "jsonpatch": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
    "protobuf": "application/vnd.kubernetes.protobuf",
}
# What a step may say.
WORDS = set("name do make body bytes type headers as until".split())
REPEATED = re.compile(r"\{\*(.+?)\*(\d+)\}", re.S)
# By the root of their paths: the kinds that live in namespaces, and those that do not.
ROOTS = {
    "/api/v1": (
        "ConfigMap Endpoints Event LimitRange PersistentVolumeClaim Pod PodTemplate ReplicationController "
        "ResourceQuota Secret ServiceAccount Service",
        "Namespace Node PersistentVolume",
    ),
    "/apis/admissionregistration.k8s.io/v1": (
        "",
        "MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding "
        "ValidatingWebhookConfiguration",
    ),
    "/apis/apiextensions.k8s.io/v1": ("", "CustomResourceDefinition"),
    "/apis/apps/v1": ("ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet", ""),
    "/apis/authorization.k8s.io/v1": ("", "SelfSubjectAccessReview"),
    "/apis/autoscaling/v2": ("HorizontalPodAutoscaler", ""),
    "/apis/batch/v1": ("CronJob Job", ""),
    "/apis/compare.ekskit.dev/v1": ("Widget", "Gadget"),
    "/apis/coordination.k8s.io/v1": ("Lease", ""),
    "/apis/discovery.k8s.io/v1": ("EndpointSlice", ""),
    "/apis/flowcontrol.apiserver.k8s.io/v1": ("", "FlowSchema PriorityLevelConfiguration"),
    "/apis/networking.k8s.io/v1": ("Ingress NetworkPolicy", "IngressClass"),
    "/apis/node.k8s.io/v1": ("", "RuntimeClass"),
    "/apis/policy/v1": ("PodDisruptionBudget", ""),
    "/apis/rbac.authorization.k8s.io/v1": ("Role RoleBinding", "ClusterRole ClusterRoleBinding"),
    "/apis/resource.k8s.io/v1": ("ResourceClaim ResourceClaimTemplate", "DeviceClass ResourceSlice"),
    "/apis/scheduling.k8s.io/v1": ("", "PriorityClass"),
    "/apis/storage.k8s.io/v1": (
        "CSIStorageCapacity",
        "CSIDriver CSINode StorageClass VolumeAttachment VolumeAttributesClass",
    ),
}


def _plural(kind: str) -> str:
    name = kind.lower()
    if name == "endpoints":
        return name
    return name + "es" if name.endswith("s") else re.sub("y$", "ie", name) + "s"


# plural -> (root, whether it lives in namespaces, kind)
KINDS = {
    _plural(kind): (root, namespaced, kind)
    for root, kinds in ROOTS.items()
    for namespaced, names in zip((True, False), kinds, strict=True)
    for kind in names.split()
}


@dataclass
class Story:
    name: str
    steps: list[dict]


def load(names: list[str] | None = None) -> list[Story]:
    """All stories, or those whose file or name is asked for; first those that define the custom kinds of the others."""
    stories = read(FOLDER, WORDS)
    stories.sort(key=lambda story: not story.name.startswith("custom/"))
    if not names:
        return stories
    return [
        story for story in stories if story.name == "custom/definition" or any(name in story.name for name in names)
    ]


def read(folder: Path, words: set[str]) -> list[Story]:
    """The stories of a folder, whose steps say nothing but these words."""
    stories = []
    for path in sorted(folder.glob("*.yaml")):
        for told in yaml.safe_load(path.read_text()):
            stories.append(Story(f"{path.stem}/{told['story']}", told["steps"]))
            for step in told["steps"]:
                assert step.keys() <= words, f"{stories[-1].name}: nobody reads {step.keys() - words} of {step}"
    return stories


class Teller:
    """Tells stories to one server, each in a namespace of its own."""

    def __init__(self, server: Server):
        self.server = server

    def tell(self, story: Story, namespace: str) -> list[Answer]:
        if namespace not in self.server.namespaces:
            self._settle(namespace)
        answers, said = [], {}
        for step in story.steps:
            answer = self._step(step, namespace, said)
            patience = 40 if "until" in step else 0  # what a server only learns of after a while
            while patience and answer.code != step["until"]:
                time.sleep(0.05)
                answer, patience = self._step(step, namespace, said), patience - 1
            said[step["name"]] = answer.body
            answers.append(answer)
        return answers

    def _settle(self, namespace: str) -> None:
        """Makes a namespace, with all that controllers put into one."""
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        self.server.make("/api/v1/namespaces", made)
        self.server.wait(f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
        self.server.wait(f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt")
        self.server.namespaces.add(namespace)

    def _step(self, step: dict, namespace: str, said: dict) -> Answer:
        method, _, path = self._fill(step["do"], namespace, said).partition(" ")
        path, kind = full_path(path, namespace)
        headers = dict(step.get("headers", {}))
        body = None
        if "make" in step:  # of the kind that the path names
            root, _, kind_name = KINDS[kind]
            version = root.removeprefix("/apis/").removeprefix("/api/")
            body = {"apiVersion": version, "kind": kind_name, **step["make"]}
        elif "body" in step:
            body = step["body"]
        if "bytes" in step:  # each letter is a byte
            body = step["bytes"].encode("latin-1")
        elif body is not None:
            text = body if isinstance(body, str) else json.dumps(body)
            body = self._fill(text, namespace, said).encode()
        form = step.get("type", "merge" if method == "PATCH" else "json")
        if body is not None or "type" in step:
            headers.setdefault("Content-Type", TYPES.get(form, form))
        if "as" in step:
            headers["Impersonate-User"] = step["as"]
        return self.server.ask(method, path, body, headers)

    def _fill(self, text: str, namespace: str, said: dict) -> str:
        """`{ns}` is the namespace, `{=step.metadata.uid}` what this server said before, `{*text*7}` seven texts."""

        def earlier(match) -> str:
            step, *fields = match[1].split(".")
            value = said[step]
            for name in fields:
                value = value[int(name)] if isinstance(value, list) else value.get(name, "") if value else ""
            return value if isinstance(value, str) else json.dumps(value)

        told = re.sub(r"\{=([^}]*)\}", earlier, text.replace("{ns}", namespace))
        return REPEATED.sub(lambda match: match[1] * int(match[2]), told)


def full_path(path: str, namespace: str) -> tuple[str, str]:
    """`configmaps/a?x=y` with its group and namespace, and the plural."""
    if path.startswith("/"):
        plural = path.split("?")[0].rstrip("/").split("/")
        return path, next((part for part in reversed(plural) if part in KINDS), "")
    plural = path.split("/")[0].split("?")[0]
    root, namespaced, _ = KINDS[plural]
    place = f"/namespaces/{namespace}" if namespaced else ""
    return f"{root}{place}/{path}", plural
