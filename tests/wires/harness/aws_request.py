"""What an AWS request is: service, action, region, caller, input, and whether it changes anything."""

import json
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import botocore.session

READS = re.compile(r"^(BatchGet|Check|Decode|Describe|Estimate|Get|List|Lookup|Search|Simulate|Validate|Verify)")
# Handing out credentials changes nothing in the account.
READS_TOO = {("sts", "AssumeRole"), ("sts", "AssumeRoleWithSAML"), ("sts", "AssumeRoleWithWebIdentity")}
SCOPE = re.compile(r"Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")


@dataclass
class Request:
    method: str
    path: str  # without the query, still percent-encoded
    query: str
    headers: dict
    body: bytes
    service: str = "?"
    action: str = "?"
    region: str = "?"
    access_key: str = "?"
    input: dict = field(default_factory=dict)
    way: str = "moto"  # by which port of the front it came: who plays EKS

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def agent(self) -> str:
        return self.headers.get("user-agent", "")

    @property
    def mutating(self) -> bool:
        if self.input.get("DryRun") in ("true", True):
            return False
        return not (READS.match(self.action) or (self.service, self.action) in READS_TOO)


@dataclass
class Answer:
    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def json(self) -> dict:
        return json.loads(self.body or b"{}")

    @property
    def code(self) -> str | None:
        """The error code, whatever the protocol; none for a success."""
        if self.status < 400:
            return None
        text = self.body.decode(errors="replace")
        for name, value in self.headers:
            if name.lower() == "x-amzn-errortype":
                return value.split(":")[0]
        found = re.search(r"<Code>([^<]+)</Code>", text) or re.search(r'"__type"\s*:\s*"([^"]+)"', text)
        return found.group(1).rsplit("#", 1)[-1] if found else str(self.status)


def json_answer(body: dict, status: int = 200) -> Answer:
    return Answer(status, json.dumps(body).encode(), [("Content-Type", "application/json")])


def parse(method: str, target: str, headers: dict, body: bytes) -> Request:
    """Reads a request as it came off the wire; header names are lower-case."""
    split = urlsplit(target)
    request = Request(method, split.path, split.query, headers, body)
    query = dict(parse_qsl(split.query, keep_blank_values=True))
    signed = headers.get("authorization") or f"Credential={query.get('X-Amz-Credential', '')}"
    if scope := SCOPE.search(signed):
        request.access_key, request.region, request.service = scope.groups()
    kind = headers.get("content-type", "")
    if target_header := headers.get("x-amz-target"):
        request.action = target_header.rsplit(".", 1)[-1]
        request.input = _json(body)
    elif request.service == "eks":
        request.action, labels = _eks_route(method, split.path)
        queried = {name: v if len(v) > 1 else v[0] for name, v in parse_qs(split.query).items()}
        request.input = {**_json(body), **queried, **labels}
    elif "x-www-form-urlencoded" in kind or "Action" in query:
        request.input = {**query, **dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))}
        request.action = request.input.get("Action", "?")
    elif found := re.match(r"/service/[^/]+/operation/(\w+)", split.path):
        request.action = found.group(1)
    return request


def _json(body: bytes) -> dict:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _routes() -> list:
    """EKS is the one REST service here: its routes come from botocore's model, the longest first."""
    model = botocore.session.get_session().get_service_model("eks")
    routes = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        path = http["requestUri"].split("?")[0]
        pattern = re.sub(r"\{(\w+)\+?\}", r"(?P<\1>.+)" if "+}" in path else r"(?P<\1>[^/]+)", path)
        routes.append((http["method"], re.compile(f"^{pattern}$"), name, path.count("/")))
    return sorted(routes, key=lambda route: -route[3])


_ROUTES = _routes()


def _eks_route(method: str, path: str) -> tuple[str, dict]:
    for verb, pattern, name, _ in _ROUTES:
        if verb == method and (found := pattern.match(path)):
            return name, {label: unquote(value) for label, value in found.groupdict().items()}
    return "?", {}
