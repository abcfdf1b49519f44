"""Checks the tokens that clients of the cluster send, as the authenticator of EKS would, and says whose they are."""

import base64
import hashlib
import hmac
import http.client
import json
import re
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from . import access
from .bootstrap import AWS_AUTH
from .place import free_port

PREFIX = "k8s-aws-v1."
TOKEN_BYTES_MAX = 4096
URL_LIFE_SECONDS = 15 * 60
STS_HOST = re.compile(r"^sts(-fips)?(\.[a-z0-9-]+)?\.(amazonaws\.com(\.cn)?|api\.aws)$")
CLUSTER_HEADER = "x-k8s-aws-id"
PARAMETERS = {
    "action",
    "version",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
    "x-amz-user-agent",
}


class Refused(Exception):
    pass


class Webhook:
    """`cluster()` gives the cluster that the API server serves, or None; `local_sts` is the host of the front, which
    stands for STS here, over plain HTTP."""

    def __init__(self, work: Path, front, kube, account, cluster):
        self._front, self._kube, self._account, self._cluster = front, kube, account, cluster
        self.log = work / "token-reviews.jsonl"
        self._local_sts = {urlsplit(url).netloc for url in (front.url, front.eks_url)}
        self._server = self._listen()
        self.url = f"http://127.0.0.1:{self._server.server_port}/authenticate"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def review(self, token: str) -> dict:
        """The status of a TokenReview."""
        entry = {"time": time.time()}
        try:
            cluster = self._cluster()
            if cluster is None:
                raise Refused("there is no cluster")
            url = check(token, self._local_sts)
            verify_signature(url, cluster.name, self._front.secrets)
            arn = self._ask_sts(url, cluster.name)
            found = access.identify(cluster, self._account.entries(cluster), self._kube().find(AWS_AUTH), arn)
            if found is None:
                raise Refused(f"{arn} is mapped to nobody")
            username, groups = found
            entry |= {"arn": arn, "username": username, "groups": groups}
            extra = {"arn": [arn], "canonicalArn": [access.canonical(arn)]}
            status = {
                "authenticated": True,
                "user": {"username": username, "groups": groups, "uid": f"aws-iam-authenticator:{arn}", "extra": extra},
            }
        except Refused as refused:
            entry["refused"] = str(refused)
            status = {"authenticated": False, "error": str(refused)}
        with open(self.log, "a") as log:
            log.write(json.dumps(entry) + "\n")
        return status

    def _ask_sts(self, url: str, cluster: str) -> str:
        split = urlsplit(self._front.url)
        connection = http.client.HTTPConnection(split.hostname, split.port, timeout=10)
        connection.request(
            "GET", f"/?{urlsplit(url).query}", headers={CLUSTER_HEADER: cluster, "Accept": "application/json"}
        )
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        found = re.search(r"<Arn>([^<]+)</Arn>", text) or re.search(r'"Arn"\s*:\s*"([^"]+)"', text)
        if answer.status != 200 or not found:
            raise Refused(f"STS answered {answer.status}: {text[:200]}")
        return found.group(1)

    def _listen(self) -> ThreadingHTTPServer:
        webhook = self

        class Conversation(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                try:
                    status = webhook.review(review["spec"]["token"])
                except Exception as failure:
                    status = {"authenticated": False, "error": f"the webhook failed: {failure!r}"}
                    webhook._front.note(f"token webhook: {failure!r}")
                answer = {"apiVersion": review["apiVersion"], "kind": "TokenReview", "status": status}
                data = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", free_port()), Conversation)
        server.daemon_threads = True
        return server


def check(token: str, local_sts: set[str]) -> str:
    """The URL inside a token that passes the authenticator's checks."""
    if len(token.encode()) > TOKEN_BYTES_MAX:
        raise Refused("token is too large")
    if not token.startswith(PREFIX):
        raise Refused(f"token is missing expected {PREFIX!r} prefix")
    text = token.removeprefix(PREFIX)
    try:
        url = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except ValueError as failure:
        raise Refused(f"token is no base64url: {failure}") from None
    if text.endswith("="):
        raise Refused("token is padded")
    split = urlsplit(url)
    local = split.scheme == "http" and split.netloc in local_sts
    if not local and split.scheme != "https":
        raise Refused(f"unexpected scheme {split.scheme!r} in pre-signed URL")
    if not local and not STS_HOST.match(split.netloc):
        raise Refused(f"unexpected hostname {split.netloc!r} in pre-signed URL")
    if split.path != "/":
        raise Refused(f"unexpected path {split.path!r} in pre-signed URL")
    _check_query(split.query)
    return url


def _check_query(query: str) -> None:
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        name = name.lower()
        if name not in PARAMETERS:
            raise Refused(f"non-whitelisted query parameter {name!r}")
        if name in found:
            raise Refused(f"query parameter {name!r} with multiple values not supported")
        found[name] = value
    if found.get("action") != "GetCallerIdentity":
        raise Refused("unexpected action parameter in pre-signed URL")
    if CLUSTER_HEADER not in found.get("x-amz-signedheaders", "").lower().split(";"):
        raise Refused(f"client did not sign the {CLUSTER_HEADER} header in the pre-signed URL")
    expires = found.get("x-amz-expires", "")
    if not expires.isdigit() or int(expires) > 900:
        raise Refused(f"invalid X-Amz-Expires parameter {expires!r} in pre-signed URL")
    try:
        signed = datetime.strptime(found.get("x-amz-date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refused("error parsing X-Amz-Date parameter in pre-signed URL") from None
    if time.time() > signed.timestamp() + URL_LIFE_SECONDS:
        raise Refused("X-Amz-Date parameter is expired (15 minute expiration)")
    if signed.timestamp() > time.time() + 5 * 60:  # this one is STS's own check
        raise Refused("X-Amz-Date parameter lies in the future")


def verify_signature(url: str, cluster: str, secrets: dict[str, str]) -> None:
    """What STS would do and moto does not: the signature must cover the header with the name of *this* cluster."""
    split = urlsplit(url)
    query = dict(parse_qsl(split.query, keep_blank_values=True))
    key, date, region, service, _ = query["X-Amz-Credential"].split("/")
    if key not in secrets:
        raise Refused(f"the security token included in the request is invalid: nobody made the access key {key}")
    signed = query["X-Amz-SignedHeaders"].split(";")
    values = {"host": split.netloc, CLUSTER_HEADER: cluster}
    if unknown := set(signed) - set(values):
        raise Refused(f"signed headers that the authenticator does not send: {sorted(unknown)}")
    pairs = sorted(part.partition("=")[::2] for part in split.query.split("&"))
    canonical_query = "&".join(
        f"{quote(unquote(name), safe='-_.~')}={quote(unquote(value), safe='-_.~')}"
        for name, value in pairs
        if name != "X-Amz-Signature"
    )
    headers = "".join(f"{name}:{values[name]}\n" for name in signed)
    empty = hashlib.sha256(b"").hexdigest()
    canonical = "\n".join(["GET", "/", canonical_query, headers, ";".join(signed), empty])
    scope = f"{date}/{region}/{service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", query["X-Amz-Date"], scope, digest])
    secret = f"AWS4{secrets[key]}".encode()
    for part in (date, region, service, "aws4_request"):
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(
        hmac.new(secret, to_sign.encode(), hashlib.sha256).hexdigest(), query["X-Amz-Signature"]
    ):
        raise Refused("the request signature does not match: wrong cluster name, secret or canonical form")
