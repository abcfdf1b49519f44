"""The certificates of the control plane: one authority, one server, a client certificate for each user."""

import base64
import datetime as dt
import ipaddress
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Authority:
    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("ekskit-wires")
        builder = (
            _certificate(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(sign=True), critical=True)
        )
        self._own = builder.sign(self._key, hashes.SHA256())
        self.pem = self._own.public_bytes(serialization.Encoding.PEM)
        self.path = folder / "ca.crt"
        self.path.write_bytes(self.pem)

    @property
    def data(self) -> str:
        """As `describe_cluster` gives it."""
        return base64.b64encode(self.pem).decode()

    def server(self, name: str) -> tuple[Path, Path]:
        names = [x509.DNSName("localhost"), x509.DNSName("kubernetes.default.svc")]
        addresses = [x509.IPAddress(ipaddress.ip_address(a)) for a in ("127.0.0.1", "172.20.0.1")]
        return self._issue(_name(name), ExtendedKeyUsageOID.SERVER_AUTH, name, names + addresses)

    def client(self, user: str, *groups: str) -> tuple[Path, Path]:
        return self._issue(_name(user, *groups), ExtendedKeyUsageOID.CLIENT_AUTH, user.replace(":", "-"))

    def signing_key(self) -> Path:
        """The key that signs service account tokens."""
        return _write_key(self.folder / "service-accounts.key", ec.generate_private_key(ec.SECP256R1()))

    def kubeconfig(self, user: str, *groups: str, server: str) -> Path:
        """A kubeconfig with one cluster, one user and a client certificate inlined."""
        certificate, key = self.client(user, *groups)
        inline = lambda path: base64.b64encode(path.read_bytes()).decode()
        path = certificate.with_suffix(".kubeconfig")
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [
                        {"name": "wires", "cluster": {"server": server, "certificate-authority-data": self.data}}
                    ],
                    "users": [
                        {
                            "name": user,
                            "user": {"client-certificate-data": inline(certificate), "client-key-data": inline(key)},
                        }
                    ],
                    "contexts": [{"name": "wires", "context": {"cluster": "wires", "user": user}}],
                    "current-context": "wires",
                }
            )
        )
        path.chmod(0o600)
        return path

    def _issue(self, subject, usage, file_name: str, alternatives=()) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _certificate(subject, self._name, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        path = self.folder / f"{file_name}.crt"
        path.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path, _write_key(self.folder / f"{file_name}.key", key)


def _name(user: str, *groups: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _certificate(subject, issuer, key) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=2))
    )


def _usage(sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=sign,
        crl_sign=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_key(path: Path, key) -> Path:
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    path.chmod(0o600)
    return path
