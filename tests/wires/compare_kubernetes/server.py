"""One API server: requests in, answers out, over a connection that is kept."""

import http.client
import json
import ssl
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Answer:
    code: int
    media: str
    warnings: list[str]
    body: object  # decoded JSON, or text
    headers: dict = field(default_factory=dict)


class Server:
    """`url` with the path to the authority's certificate, and a client's certificate and key, or a token."""

    def __init__(self, name: str, url: str, ca: str | None = None, certificate=None, token: str | None = None):
        self.name, self._url, self._token = name, urlsplit(url), token
        self._tls = None
        if self._url.scheme == "https":
            self._tls = ssl.create_default_context(cafile=ca)
            if certificate:
                self._tls.load_cert_chain(*map(str, certificate))
        self._connection = None
        self.namespaces: set[str] = set()  # that are ready

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict | None = None) -> Answer:
        sent = {"User-Agent": "compare/1", "Accept": "application/json", **(headers or {})}
        if self._token:
            sent.setdefault("Authorization", f"Bearer {self._token}")
        for attempt in (1, 2):
            try:
                connection = self._connect()
                connection.request(method, path, body, sent)
                answer = connection.getresponse()
                text = answer.read().decode(errors="replace")
                break
            except (OSError, http.client.HTTPException):
                self._connection = None  # the server closed a connection that was kept open
                if attempt == 2:
                    raise
        media = answer.getheader("Content-Type", "").split(";")[0]
        warnings = answer.headers.get_all("Warning") or []
        try:
            decoded = json.loads(text) if media == "application/json" else text
        except ValueError:
            decoded = text
        return Answer(answer.status, media, warnings, decoded, dict(answer.headers))

    def make(self, path: str, thing: dict) -> None:
        """Creates what must be there; fine if it is."""
        answer = self.ask("POST", path, json.dumps(thing).encode(), {"Content-Type": "application/json"})
        if answer.code not in (200, 201, 409):
            raise RuntimeError(f"{self.name}: {path}: {answer.code} {answer.body}")

    def wait(self, path: str, seconds: float = 20) -> None:
        """Until the object is there."""
        give_up = time.monotonic() + seconds
        while self.ask("GET", path).code != 200:
            if time.monotonic() > give_up:
                raise RuntimeError(f"{self.name}: no {path} after {seconds:.0f} s")
            time.sleep(0.05)

    def _connect(self):
        if self._connection is None:
            host, port = self._url.hostname, self._url.port
            if self._tls:
                self._connection = http.client.HTTPSConnection(host, port, context=self._tls, timeout=60)
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=60)
        return self._connection
