"""One API server: requests in, answers out, over a connection that is kept."""

import http.client
import json
import ssl
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import yaml


def _decoded(media: str, text: str):
    """A JSON or YAML document, the events of a watch, or text."""
    try:
        if media == "application/yaml":
            return yaml.load(text, Loader=PLAIN)
        return json.loads(text) if media == "application/json" else text
    except yaml.YAMLError:
        return text
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in text.splitlines()]
    except ValueError:
        return text


class PLAIN(yaml.SafeLoader):
    """Times stay texts, as in JSON."""

    yaml_implicit_resolvers = {
        letter: [one for one in known if one[0] != "tag:yaml.org,2002:timestamp"]
        for letter, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass
class Answer:
    code: int
    media: str
    warnings: list[str]
    body: object  # decoded JSON, or text
    headers: dict = field(default_factory=dict)


class Server:
    """`tls` proves the server and may hold a client's certificate; `token` proves the client otherwise."""

    def __init__(self, name: str, url: str, tls: ssl.SSLContext | None = None, token: str | None = None):
        self.name, self.url, self.tls, self.token = name, urlsplit(url), tls, token
        self._connection = None
        self.namespaces: set[str] = set()  # that are ready

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict | None = None) -> Answer:
        """A header that is None is not sent."""
        sent = {"User-Agent": "compare/1", "Accept": "application/json", **(headers or {})}
        sent = {name: value for name, value in sent.items() if value is not None}
        if self.token:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        for attempt in (1, 2):
            try:
                connection = self._connect()
                connection.request(method, path, body, sent)
                answer = connection.getresponse()
                text = answer.read().decode(errors="replace")
                break
            except (OSError, http.client.HTTPException) as error:
                self._connection = None  # the server closed a connection that was kept open
                if attempt == 2:
                    return Answer(0, "", [], f"no answer: {type(error).__name__}")
        media = answer.getheader("Content-Type", "").split(";")[0]
        warnings = answer.headers.get_all("Warning") or []
        return Answer(answer.status, media, warnings, _decoded(media, text), dict(answer.headers))

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
            host, port = self.url.hostname, self.url.port
            if self.tls:
                self._connection = http.client.HTTPSConnection(host, port, context=self.tls, timeout=60)
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=60)
        return self._connection
