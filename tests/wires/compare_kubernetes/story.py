"""Stories: sequences of requests as data, told to one server."""

import json
import re
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
}
CORE, APPS, BATCH = "/api/v1", "/apis/apps/v1", "/apis/batch/v1"
NET, RBAC, STORAGE = "/apis/networking.k8s.io/v1", "/apis/rbac.authorization.k8s.io/v1", "/apis/storage.k8s.io/v1"
# plural -> (root, whether it lives in namespaces, kind)
KINDS = {
    "configmaps": (CORE, True, "ConfigMap"),
    "endpoints": (CORE, True, "Endpoints"),
    "events": (CORE, True, "Event"),
    "limitranges": (CORE, True, "LimitRange"),
    "namespaces": (CORE, False, "Namespace"),
    "nodes": (CORE, False, "Node"),
    "persistentvolumeclaims": (CORE, True, "PersistentVolumeClaim"),
    "persistentvolumes": (CORE, False, "PersistentVolume"),
    "pods": (CORE, True, "Pod"),
    "podtemplates": (CORE, True, "PodTemplate"),
    "replicationcontrollers": (CORE, True, "ReplicationController"),
    "resourcequotas": (CORE, True, "ResourceQuota"),
    "secrets": (CORE, True, "Secret"),
    "serviceaccounts": (CORE, True, "ServiceAccount"),
    "services": (CORE, True, "Service"),
    "controllerrevisions": (APPS, True, "ControllerRevision"),
    "daemonsets": (APPS, True, "DaemonSet"),
    "deployments": (APPS, True, "Deployment"),
    "replicasets": (APPS, True, "ReplicaSet"),
    "statefulsets": (APPS, True, "StatefulSet"),
    "horizontalpodautoscalers": ("/apis/autoscaling/v2", True, "HorizontalPodAutoscaler"),
    "cronjobs": (BATCH, True, "CronJob"),
    "jobs": (BATCH, True, "Job"),
    "ingresses": (NET, True, "Ingress"),
    "ingressclasses": (NET, False, "IngressClass"),
    "networkpolicies": (NET, True, "NetworkPolicy"),
    "poddisruptionbudgets": ("/apis/policy/v1", True, "PodDisruptionBudget"),
    "clusterroles": (RBAC, False, "ClusterRole"),
    "clusterrolebindings": (RBAC, False, "ClusterRoleBinding"),
    "roles": (RBAC, True, "Role"),
    "rolebindings": (RBAC, True, "RoleBinding"),
    "storageclasses": (STORAGE, False, "StorageClass"),
    "csidrivers": (STORAGE, False, "CSIDriver"),
    "priorityclasses": ("/apis/scheduling.k8s.io/v1", False, "PriorityClass"),
    "runtimeclasses": ("/apis/node.k8s.io/v1", False, "RuntimeClass"),
    "leases": ("/apis/coordination.k8s.io/v1", True, "Lease"),
    "endpointslices": ("/apis/discovery.k8s.io/v1", True, "EndpointSlice"),
    "mutatingwebhookconfigurations": (
        "/apis/admissionregistration.k8s.io/v1",
        False,
        "MutatingWebhookConfiguration",
    ),
    "customresourcedefinitions": ("/apis/apiextensions.k8s.io/v1", False, "CustomResourceDefinition"),
    "widgets": ("/apis/compare.ekskit.dev/v1", True, "Widget"),
    "gadgets": ("/apis/compare.ekskit.dev/v1", False, "Gadget"),
    "selfsubjectaccessreviews": ("/apis/authorization.k8s.io/v1", False, "SelfSubjectAccessReview"),
}


@dataclass
class Story:
    name: str
    steps: list[dict]


def load(names: list[str] | None = None) -> list[Story]:
    """All stories, or those whose file or name is asked for."""
    stories = []
    for path in sorted(FOLDER.glob("*.yaml")):  # custom kinds are defined before those of the fuzzer
        for told in yaml.safe_load(path.read_text()):
            story = Story(f"{path.stem}/{told['story']}", told["steps"])
            if not names or any(name in story.name for name in names):
                stories.append(story)
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
        if body is not None:
            form = step.get("type", "json" if method != "PATCH" else "merge")
            headers.setdefault("Content-Type", TYPES.get(form, form))
            text = body if isinstance(body, str) else json.dumps(body)
            body = self._fill(text, namespace, said).encode()
        elif "type" in step:
            headers.setdefault("Content-Type", TYPES.get(step["type"], step["type"]))
        if "as" in step:
            headers["Impersonate-User"] = step["as"]
        return self.server.ask(method, path, body, headers)

    def _fill(self, text: str, namespace: str, said: dict) -> str:
        """`{ns}` is the namespace, `{=step.metadata.uid}` what this server answered before."""

        def earlier(match) -> str:
            step, *fields = match[1].split(".")
            value = said[step]
            for name in fields:
                value = value[int(name)] if isinstance(value, list) else value.get(name, "") if value else ""
            return value if isinstance(value, str) else json.dumps(value)

        return re.sub(r"\{=([^}]*)\}", earlier, text.replace("{ns}", namespace))


def full_path(path: str, namespace: str) -> tuple[str, str]:
    """`configmaps/a?x=y` with its group and namespace, and the plural."""
    if path.startswith("/"):
        plural = path.split("?")[0].rstrip("/").split("/")
        return path, next((part for part in reversed(plural) if part in KINDS), "")
    plural = path.split("/")[0].split("?")[0]
    root, namespaced, _ = KINDS[plural]
    place = f"/namespaces/{namespace}" if namespaced else ""
    return f"{root}{place}/{path}", plural
