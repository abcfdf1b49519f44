"""A small client of the Kubernetes API, for the harness itself. The tests judge with kubectl."""

import http.client
import json
import ssl
import threading
from pathlib import Path
from urllib.parse import urlencode


class KubeError(Exception):
    def __init__(self, status: int, message: str):
        super().__init__(f"{status} {message}")
        self.status = status


class Kube:
    def __init__(self, port: int, tls: ssl.SSLContext, headers: dict[str, str] | None = None):
        self._port, self._tls, self._headers = port, tls, headers or {}
        self._local = threading.local()

    @classmethod
    def with_certificate(cls, port: int, ca: Path, certificate: tuple[Path, Path]) -> "Kube":
        tls = ssl.create_default_context(cafile=str(ca))
        tls.load_cert_chain(*map(str, certificate))
        return cls(port, tls)

    def call(self, method: str, path: str, body=None, kind: str = "application/json", **query):
        """One request. Returns the decoded answer; raises `KubeError` for a status of 400 and above."""
        if query:
            path += "?" + urlencode(query)
        data = json.dumps(body).encode() if body is not None else None
        headers = self._headers | ({"Content-Type": kind} if data else {})
        for attempt in (1, 2):
            try:
                connection = self._connection()
                connection.request(method, path, data, headers)
                answer = connection.getresponse()
                text = answer.read()
                break
            except (OSError, http.client.HTTPException):
                self._local.connection = None  # the server closed a connection that was kept open
                if attempt == 2:
                    raise
        if answer.status >= 400:
            raise KubeError(answer.status, text.decode(errors="replace")[:500])
        return json.loads(text) if text[:1] == b"{" else text.decode()

    def get(self, path: str, **query):
        return self.call("GET", path, **query)

    def open(self, path: str, timeout: float = 300) -> http.client.HTTPResponse:
        """A GET whose answer is read by the caller, on a connection of its own: a watch, a large list."""
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, context=self._tls, timeout=timeout)
        connection.request("GET", path, headers=self._headers)
        return connection.getresponse()

    def find(self, path: str):
        """The object, or None where there is none."""
        try:
            return self.get(path)
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    def apply(self, thing: dict, manager: str, force: bool = True) -> dict:
        """Server-side apply."""
        query = {"fieldManager": manager, "force": str(force).lower()}
        return self.call("PATCH", object_path(thing), thing, "application/apply-patch+yaml", **query)

    def patch(self, path: str, change: dict, manager: str = "harness") -> dict:
        return self.call("PATCH", path, change, "application/merge-patch+json", fieldManager=manager)

    def delete(self, path: str, **query) -> None:
        try:
            self.call("DELETE", path, **query)
        except KubeError as error:
            if error.status != 404:
                raise

    def _connection(self) -> http.client.HTTPSConnection:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPSConnection("127.0.0.1", self._port, context=self._tls, timeout=30)
            self._local.connection = connection
        return connection


PLURALS = {
    "ServiceAccount": "serviceaccounts",
    "ConfigMap": "configmaps",
    "Service": "services",
    "Node": "nodes",
    "DaemonSet": "daemonsets",
    "Deployment": "deployments",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "CustomResourceDefinition": "customresourcedefinitions",
    "StorageClass": "storageclasses",
    "PodDisruptionBudget": "poddisruptionbudgets",
}


def object_path(thing: dict) -> str:
    version = thing["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = thing["metadata"].get("namespace")
    place = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{place}/{PLURALS[thing['kind']]}/{thing['metadata']['name']}"
