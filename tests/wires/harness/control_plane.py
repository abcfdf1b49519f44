"""etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok: one real control plane on loopback.

It is the control plane of whatever cluster exists in the AWS that stands before it. When that cluster is deleted,
`renew` throws everything away and starts an empty one on the same port with the same certificates.
"""

import shutil
import threading
from pathlib import Path

import yaml

from .kube import Kube
from .pki import Authority
from .place import cache, free_port, program
from .process import Process

SERVICE_CIDR = "172.20.0.0/16"
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*"]},
        {"level": "None", "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}]},
        {"level": "Metadata"},
    ],
}


class ControlPlane:
    def __init__(self, work: Path, webhook_url: str):
        self.work, self.port = work, free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.audit_log = work / "audit.jsonl"
        self.authority = Authority(work / "pki")
        self._webhook_url = webhook_url
        self._etcd_ports = free_port(), free_port()
        self._running: list[Process] = []
        self._turn = threading.Lock()  # one start or stop at a time
        self.admin = self._kubeconfig("harness-admin", "system:masters")
        certificate = self.authority.client("harness", "system:masters")
        self.kube = Kube.with_certificate(self.port, self.authority.path, certificate)
        self._write_settings()

    def start(self) -> None:
        with self._turn:
            self._start_etcd()
            self._start_apiserver()
            for name, command in self._controllers().items():
                self._running.append(Process(name, command, self.work / f"{name}.log"))

    def start_bare(self) -> None:
        """The API server alone, without anybody who works on what it holds."""
        with self._turn:
            self._start_etcd()
            self._start_apiserver()

    def stop(self) -> None:
        with self._turn:
            while self._running:
                self._running.pop().stop()

    def renew(self) -> None:
        """Forgets everything that the cluster held."""
        self.stop()
        shutil.rmtree(self.work / "etcd", ignore_errors=True)
        self.start()

    def user(self, name: str, *groups: str) -> Path:
        """The kubeconfig of a user with a client certificate."""
        return self._kubeconfig(name, *groups)

    def _kubeconfig(self, user: str, *groups: str) -> Path:
        return self.authority.kubeconfig(user, *groups, server=self.url)

    def _write_settings(self) -> None:
        self._server = self.authority.server("kube-apiserver")
        self._signing_key = self.authority.signing_key()
        self._controller_manager = self._kubeconfig("system:kube-controller-manager")
        self._scheduler = self._kubeconfig("system:kube-scheduler")
        self._kwok = self._kubeconfig("kwok", "system:masters")
        self._audit_policy = self.work / "audit-policy.yaml"
        self._audit_policy.write_text(yaml.safe_dump(AUDIT_POLICY))
        self._webhook = self.work / "token-webhook.kubeconfig"
        self._webhook.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "authenticator", "cluster": {"server": self._webhook_url}}],
                    "users": [{"name": "apiserver"}],
                    "contexts": [{"name": "webhook", "context": {"cluster": "authenticator", "user": "apiserver"}}],
                    "current-context": "webhook",
                }
            )
        )

    def _start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in self._etcd_ports)
        etcd = Process(
            "etcd",
            [
                program("etcd"),
                f"--data-dir={self.work / 'etcd'}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--unsafe-no-fsync",  # its data outlives no test
                "--log-level=warn",
            ],
            self.work / "etcd.log",
        )
        self._running.append(etcd)

    def _start_apiserver(self) -> None:
        certificate, key = self._server
        apiserver = Process(
            "kube-apiserver",
            [
                program("kube-apiserver"),
                f"--etcd-servers=http://127.0.0.1:{self._etcd_ports[0]}",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                "--endpoint-reconciler-type=none",
                f"--secure-port={self.port}",
                f"--tls-cert-file={certificate}",
                f"--tls-private-key-file={key}",
                f"--client-ca-file={self.authority.path}",
                f"--service-account-issuer={self.url}",
                f"--service-account-key-file={self._signing_key}",
                f"--service-account-signing-key-file={self._signing_key}",
                f"--service-cluster-ip-range={SERVICE_CIDR}",
                "--allow-privileged=true",
                "--authorization-mode=Node,RBAC",
                f"--authentication-token-webhook-config-file={self._webhook}",
                "--authentication-token-webhook-version=v1",
                "--authentication-token-webhook-cache-ttl=2s",
                f"--audit-policy-file={self._audit_policy}",
                f"--audit-log-path={self.audit_log}",
                "--audit-log-mode=blocking",  # a request is in the log before its answer is out
            ],
            self.work / "kube-apiserver.log",
        )
        self._running.append(apiserver)
        apiserver.wait_until(lambda: self.kube.get("/readyz") == "ok", "ready", timeout=120)

    def _controllers(self) -> dict[str, list]:
        return {
            "kube-controller-manager": [
                program("kube-controller-manager"),
                f"--kubeconfig={self._controller_manager}",
                "--bind-address=127.0.0.1",
                f"--secure-port={free_port()}",
                "--use-service-account-credentials",
                f"--service-account-private-key-file={self._signing_key}",
                f"--root-ca-file={self.authority.path}",
                "--leader-elect=false",
            ],
            "kube-scheduler": [
                program("kube-scheduler"),
                f"--kubeconfig={self._scheduler}",
                "--bind-address=127.0.0.1",
                f"--secure-port={free_port()}",
                "--leader-elect=false",
            ],
            "kwok": [
                program("kwok"),
                f"--kubeconfig={self._kwok}",
                f"--config={cache() / 'kwok-stages.yaml'}",
                "--manage-all-nodes=false",
                "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
                "--node-lease-duration-seconds=40",
                "--cidr=10.244.0.0/16",
            ],
        }
