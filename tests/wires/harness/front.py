"""The program before moto: forwards every request unchanged, records it, and fills in what moto lacks.

Each port has its own way for EKS: the first port forwards it to moto, the second to winterbaume. Everything else
goes to moto on both. `/_harness/…` is for tests that are no Python: `requests`, `faults`, `trouble`.
"""

import http.client
import json
import re
import socket
import threading
import time
import traceback
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from . import aws_request, faults
from .aws_request import Answer, Request
from .place import free_port

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-connection", "content-length"}
CREDENTIALS = re.compile(
    rb"<AccessKeyId>([^<]+)</AccessKeyId>.*?<SecretAccessKey>([^<]+)</SecretAccessKey>|"
    rb"<SecretAccessKey>([^<]+)</SecretAccessKey>.*?<AccessKeyId>([^<]+)</AccessKeyId>",
    re.S,
)


class Recorder:
    """Every request that the front saw, in order, in memory and as JSON lines."""

    def __init__(self, path: Path):
        self.path = path
        self._entries: list[dict] = []
        self._lock = threading.Lock()

    def open(self, request: Request) -> dict:
        entry = {
            "time": time.time(),
            "service": request.service,
            "action": request.action,
            "mutating": request.mutating,
            "access_key": request.access_key,
            "region": request.region,
            "agent": request.agent,
            "method": request.method,
            "path": request.path,
            "status": None,  # none while the request is unanswered
            "code": None,
            "seconds": None,
            "input": request.input if request.mutating else {},
        }
        with self._lock:
            entry["number"] = len(self._entries) + 1
            self._entries.append(entry)
        return entry

    def close(self, entry: dict, answer: Answer) -> None:
        entry.update(status=answer.status, code=answer.code, seconds=round(time.time() - entry["time"], 4))
        with self._lock, open(self.path, "a") as log:
            log.write(json.dumps(entry) + "\n")

    def position(self) -> int:
        with self._lock:
            return len(self._entries)

    def since(self, position: int = 0, **wanted) -> list[dict]:
        """The entries after `position` whose fields are as wanted."""
        with self._lock:
            later = [dict(entry) for entry in self._entries[position:]]
        return [entry for entry in later if all(entry[name] == value for name, value in wanted.items())]


class Front:
    def __init__(self, work: Path, moto_port: int, eks_port: int | None = None):
        self.recorder = Recorder(work / "aws-requests.jsonl")
        self.faults = faults.Faults()
        self.secrets: dict[str, str] = {}  # access key → secret, of all credentials that passed through
        self.answerers: list = []  # each: request → Answer, or None for "not mine"
        self.after: list = []  # each: (request, answer), once the answer stands and before it is sent
        self.controls: dict = {}  # name → (method, query, body) → JSON
        self._log = work / "front.log"
        self._ports = {"moto": moto_port, "winterbaume": eks_port}
        self._local = threading.local()
        self._listeners = {way: self._listen(way) for way in ("moto", "winterbaume")}
        self.url, self.eks_url = (f"http://127.0.0.1:{self._listeners[w].server_port}" for w in self._listeners)

    def start(self) -> None:
        for listener in self._listeners.values():
            threading.Thread(target=listener.serve_forever, args=(0.1,), daemon=True).start()

    def stop(self) -> None:
        self.faults.released.set()
        for listener in self._listeners.values():
            listener.shutdown()
            listener.server_close()

    def note(self, text: str) -> None:
        with open(self._log, "a") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def forward(self, request: Request) -> Answer:
        """Sends a request on, to winterbaume when it is of EKS and came in by that way, else to moto."""
        port = self._ports[request.way if request.service == "eks" else "moto"]
        headers = {name: value for name, value in request.headers.items() if name not in HOP_BY_HOP}
        if "authorization" not in headers and request.access_key != "?":
            # moto finds service and caller of a presigned request in this header only.
            scope = f"{request.access_key}/20260101/{request.region}/{request.service}/aws4_request"
            headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
        for attempt in (1, 2):
            connection = self._connection(port)
            try:
                connection.request(request.method, request.target, request.body, headers)
                answer = connection.getresponse()
                body = answer.read()
                break
            except (OSError, http.client.HTTPException):
                self._local.open.pop(port).close()  # a kept connection that the server has closed meanwhile
                if attempt == 2:
                    raise
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP]
        return Answer(answer.status, body, kept)

    def caller(self, request: Request) -> str:
        """The ARN of whoever signed a request, as moto's STS says."""
        scope = f"{request.access_key}/20260101/{request.region}/sts/aws4_request"
        headers = {"authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
        asked = aws_request.parse("GET", "/?Action=GetCallerIdentity&Version=2011-06-15", headers, b"")
        return re.search(rb"<Arn>([^<]+)</Arn>", self.forward(asked).body).group(1).decode()

    def answer(self, request: Request) -> Answer:
        """The answer of whoever feels responsible, else moto's."""
        for answerer in self.answerers:
            if (answer := answerer(request)) is not None:
                return answer
        return self.forward(request)

    def serve(self, request: Request) -> Answer | None:
        """One request from arrival to answer; None: the connection is to be dropped."""
        entry = self.recorder.open(request)
        fault = self.faults.pick(request)
        if fault and fault.kind in ("hold", "drop"):
            if fault.applied:
                self._answer_and_follow(request)
            if fault.kind == "hold":
                self.faults.released.wait()
            return None
        answer = faults.answer(fault, request) if fault else self._answer_and_follow(request)
        self.recorder.close(entry, answer)
        return answer

    def _answer_and_follow(self, request: Request) -> Answer:
        answer = self.answer(request)
        for found in CREDENTIALS.finditer(answer.body):
            key, secret = (part.decode() for part in (found.groups()[:2] if found[1] else found.groups()[3:1:-1]))
            self.secrets[key] = secret
        if answer.status < 400:
            for follow in self.after:
                follow(request, answer)
        return answer

    def _connection(self, port: int) -> http.client.HTTPConnection:
        """A connection a thread and port: the threads of the listeners live as long as their client's connection."""
        if not hasattr(self._local, "open"):
            self._local.open = {}
        if port not in self._local.open:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._local.open[port] = connection
        return self._local.open[port]

    def _listen(self, way: str) -> ThreadingHTTPServer:
        front = self

        class Conversation(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1  # head and body of an answer leave together

            def _serve(self):
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = _read_body(self.rfile, headers)
                try:
                    if self.path.startswith("/_harness/"):
                        answer = front._control(self.command, self.path, body)
                    else:
                        request = aws_request.parse(self.command, self.path, headers, body)
                        request.way = way
                        answer = front.serve(request)
                except Exception:  # a mistake of the harness must be seen, not hang a client
                    front.note(traceback.format_exc())
                    text = json.dumps({"__type": "HarnessFailure", "message": traceback.format_exc(limit=-2)})
                    answer = Answer(500, text.encode(), [("x-amzn-errortype", "HarnessFailure")])
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response_only(answer.status)
                for name, value in answer.headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)
                self.wfile.flush()

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _serve

            def log_message(self, *_):
                pass

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 128

            def handle_error(self, *_):
                pass  # a client went away

        return Listener(("127.0.0.1", free_port()), Conversation)

    def _control(self, method: str, target: str, body: bytes) -> Answer:
        split = urlsplit(target)
        name, query = split.path.removeprefix("/_harness/"), dict(parse_qsl(split.query))
        if name == "requests":
            found = self.recorder.since(int(query.get("since", 0)))
            return aws_request.json_answer({"position": self.recorder.position(), "requests": found})
        if name == "faults" and method == "POST":
            return aws_request.json_answer(asdict(self.faults.add(faults.Fault(**json.loads(body)))))
        if name == "faults" and method == "DELETE":
            self.faults.clear()
            return aws_request.json_answer({})
        if name in self.controls:
            return aws_request.json_answer(self.controls[name](method, query, json.loads(body or b"{}")))
        return aws_request.json_answer({"message": f"no control `{name}`"}, 404)


def _read_body(stream, headers: dict) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return stream.read(int(headers.get("content-length") or 0))
    parts = []
    while size := int(stream.readline().split(b";")[0], 16):
        parts.append(stream.read(size))
        stream.readline()
    while stream.readline().strip():  # trailers
        pass
    return b"".join(parts)
