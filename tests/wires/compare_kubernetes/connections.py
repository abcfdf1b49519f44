"""Connections that end before their requests do: what both servers do then, and whether they forget the watch.

Not compared is what is said to somebody who says that he is done: Go's web server ends the answer of a watch in order,
the twin's hangs up at once; to whoever cut a body short the real API server says at times that it took too long. And
not the text with which a web server refuses what is no request at all.
"""

import json
import re
import socket
import ssl
import struct
import time
from pathlib import Path

from .server import Server

PLACE = "/api/v1/namespaces/default/podtemplates"
PATIENCE = 10.0  # seconds until what does not come is taken for never
QUIET = 0.7  # seconds without a byte after which a connection counts as open
WATCHES = re.compile(r'^apiserver_longrunning_requests\{.*resource="podtemplates".*scope="namespace".*\} (\d+)', re.M)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
TEMPLATE = {
    "apiVersion": "v1",
    "kind": "PodTemplate",
    "metadata": {"name": "seen-by-watches"},
    "template": {"spec": {"containers": [{"name": "a", "image": "i"}]}},
}


class Line:
    """A TLS connection of which every byte is our own affair."""

    def __init__(self, server: Server, protocol: str = "http/1.1"):
        self.server = server
        self.raw = socket.create_connection((server.url.hostname, server.url.port), timeout=PATIENCE)
        server.tls.set_alpn_protocols([protocol])
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = server.tls.wrap_bio(self._in, self._out, server_hostname=server.url.hostname)
        server.tls.set_alpn_protocols(["http/1.1"])
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._in.write(self.raw.recv(65536))
        self._flush()

    def _flush(self) -> None:
        self.raw.sendall(self._out.read())

    def send(self, data: bytes) -> None:
        self.tls.write(data)
        self._flush()

    def receive(self, seconds: float = PATIENCE) -> bytes:
        """The next bytes; raises `EOFError` at the end, `TimeoutError` where none come."""
        give_up = time.monotonic() + seconds
        while True:
            try:
                if data := self.tls.read(65536):
                    return data
                raise EOFError
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                raise EOFError from error
            self.raw.settimeout(max(give_up - time.monotonic(), 0.001))
            data = self.raw.recv(65536)
            if not data:
                raise EOFError
            self._in.write(data)

    def until(self, wanted: bytes) -> bytes:
        text = b""
        while wanted not in text:
            text += self.receive()
        return text

    def rest(self) -> tuple[str, bytes]:
        """How it goes on: `closed`, `reset` or `open`, and what still came."""
        text = b""
        try:
            while True:
                text += self.receive(QUIET)
        except EOFError:
            return "closed", text
        except TimeoutError:
            return "open", text
        except OSError:
            return "reset", text

    def say_goodbye(self) -> None:
        """TLS's own end of what we write."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self._flush()

    def shut(self) -> None:
        """TCP's end of what we write."""
        self.raw.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.raw.close()


def _head(server: Server, method: str, path: str, **headers) -> bytes:
    told = {"Host": "127.0.0.1", "Accept": "application/json", "Content-Type": "application/json", **headers}
    if server.token:
        told["Authorization"] = f"Bearer {server.token}"
    lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in told.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def _frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def _packed(text: str) -> bytes:
    """A string of HPACK, plain."""
    data, length = text.encode(), len(text)
    if length < 127:
        return bytes([length]) + data
    rest, more = length - 127, b"\x7f"
    while rest >= 128:
        more, rest = more + bytes([rest % 128 + 128]), rest // 128
    return more + bytes([rest]) + data


class Streams:
    """HTTP/2, as much of it as a watch needs."""

    def __init__(self, server: Server):
        self.line, self._text, self._next = Line(server, "h2"), b"", 1
        self.line.send(PREFACE + _frame(SETTINGS, 0, 0))

    def get(self, path: str) -> int:
        server, stream = self.line.server, self._next
        self._next += 2
        told = {":method": "GET", ":scheme": "https", ":authority": "127.0.0.1", ":path": path}
        if server.token:
            told["authorization"] = f"Bearer {server.token}"
        packed = b"".join(b"\0" + _packed(name) + _packed(value) for name, value in told.items())
        self.line.send(_frame(HEADERS, 0x5, stream, packed))
        return stream

    def frame(self) -> tuple[int, int, int, bytes]:
        while len(self._text) < 9 or len(self._text) < 9 + int.from_bytes(self._text[:3], "big"):
            self._text += self.line.receive()
        length, kind, flags = int.from_bytes(self._text[:3], "big"), self._text[3], self._text[4]
        stream, body = int.from_bytes(self._text[5:9], "big"), self._text[9 : 9 + length]
        self._text = self._text[9 + length :]
        if kind == SETTINGS and not flags:
            self.line.send(_frame(SETTINGS, 1, 0))
        return kind, flags, stream, body

    def data(self, stream: int) -> bytes:
        """The next data of a stream."""
        while True:
            kind, _, of, body = self.frame()
            if (kind, of) == (DATA, stream) and body:
                return body

    def reset(self, stream: int) -> None:
        self.line.send(_frame(RST_STREAM, 0, stream, (8).to_bytes(4, "big")))


class Watched:
    """How many watches of pod templates a server has: the real one counts them, the twin's go by its connections."""

    def __init__(self, server: Server, pid: int | None):
        self._server, self._pid = server, pid
        self.before = self.now()

    def now(self) -> int:
        if self._pid:
            return sum(1 for fd in Path(f"/proc/{self._pid}/fd").iterdir() if _is_socket(fd))
        text = self._server.ask("GET", "/metrics", headers={"Accept": "text/plain"}).body
        return sum(map(int, WATCHES.findall(text)))

    def forgets(self) -> bool:
        """Whether it comes back to what it was."""
        give_up = time.monotonic() + PATIENCE
        while self.now() > self.before:
            if time.monotonic() > give_up:
                return False
            time.sleep(0.05)
        return True


def _is_socket(fd: Path) -> bool:
    try:
        return str(fd.readlink()).startswith("socket:")
    except OSError:
        return False  # closed meanwhile


def _watch(server: Server) -> Line:
    line = Line(server)
    line.send(_head(server, "GET", f"{PLACE}?watch=1"))
    line.until(b"seen-by-watches")
    return line


def _half_closed(server, watched, *ways):
    line = _watch(server)
    for way in ways:
        getattr(line, way)()
    how, text = line.rest()
    told = {"connection": how, "more events": text.count(b'"type":'), "forgotten": watched.forgets()}
    line.raw.close()
    return told


def _reset(server, watched):
    _watch(server).reset()
    return {"forgotten": watched.forgets()}


def _half_closed_streams(server, watched):
    streams = Streams(server)
    streams.data(streams.get(f"{PLACE}?watch=1"))
    streams.line.shut()
    how, _ = streams.line.rest()
    told = {"connection": how, "forgotten": watched.forgets()}
    streams.line.raw.close()
    return told


def _reset_stream(server, watched):
    streams = Streams(server)
    stream = streams.get(f"{PLACE}?watch=1")
    streams.data(stream)
    streams.reset(stream)
    # The connection goes on, and once it has, nothing more comes of that stream.
    streams.data(streams.get(f"{PLACE}/seen-by-watches"))
    server.make(PLACE, {**TEMPLATE, "metadata": {"generateName": "of-a-reset-stream-"}})
    other = streams.get(f"{PLACE}/seen-by-watches")
    frames = []
    while (DATA, other) not in frames:
        kind, _, of, _ = streams.frame()
        frames.append((kind, of))
    told = {"more of it": (DATA, stream) in frames}
    streams.line.raw.close()
    return {**told, "forgotten": watched.forgets()}


def _cut(server, watched, head: dict, body: bytes, ways):
    """A request whose body does not come to its end."""
    line = Line(server)
    line.send(_head(server, "POST", PLACE, **head) + body)
    for way in ways:
        getattr(line, way)()
    how, text = line.rest()
    line.raw.close()
    told = {"connection": how, "forgotten": watched.forgets()}
    return told if ways else {**told, **_answer(text)}


def _answer(text: bytes) -> dict:
    head, _, body = text.partition(b"\r\n\r\n")
    told = {"code": int(head.split()[1]) if head else 0}
    return {**told, "body": json.loads(body)} if b"application/json" in head else told


def _awaited(server, watched):
    """`Expect: 100-continue`, as curl asks before it sends much."""
    line, body = Line(server), json.dumps({"apiVersion": "v1", "kind": "Nothing"}).encode()
    line.send(_head(server, "POST", PLACE, Content_Length=len(body), Expect="100-continue"))
    first = line.until(b"\r\n\r\n").split(b"\r\n")[0]
    line.send(body)
    second = line.until(b"\r\n\r\n").split(b"\r\n")[0]
    line.raw.close()
    return {"first": first.decode(), "second": second.decode(), "forgotten": watched.forgets()}


def _flood(server, watched):
    """Ten megabytes, to a server that reads three: the answer arrives all the same."""
    line, size = Line(server), 10 << 20
    line.send(_head(server, "POST", PLACE, Content_Length=size))
    try:
        for _ in range(size >> 16):
            line.send(b"x" * 65536)
    except OSError:
        pass  # it does not want to hear more
    text = b""
    try:
        while b"\r\n\r\n" not in text:
            text += line.receive()
    except (EOFError, OSError):
        pass
    line.raw.close()
    return {"code": _answer(text)["code"], "forgotten": watched.forgets()}


CASES = {
    "client ends TCP in a watch": lambda *to: _half_closed(*to, "shut"),
    "client ends TLS in a watch": lambda *to: _half_closed(*to, "say_goodbye"),
    "client ends TLS and TCP in a watch": lambda *to: _half_closed(*to, "say_goodbye", "shut"),
    "client resets in a watch": _reset,
    "client ends TCP of HTTP/2 in a watch": _half_closed_streams,
    "client resets a stream with a watch": _reset_stream,
    "body cut": lambda *to: _cut(*to, {"Content_Length": 100}, b'{"kind":', ["shut"]),
    "body cut by the end of TLS": lambda *to: _cut(*to, {"Content_Length": 100}, b'{"kind":', ["say_goodbye", "shut"]),
    "chunk cut": lambda *to: _cut(*to, {"Transfer_Encoding": "chunked"}, b'20\r\n{"kind":', ["shut"]),
    "chunk that is none": lambda *to: _cut(*to, {"Transfer_Encoding": "chunked"}, b"zz\r\nxx\r\n", []),
    "length that is none": lambda *to: _cut(*to, {"Content_Length": "x"}, b"", []),
    "two lengths": lambda *to: _cut(*to, {"Content_Length": "5\r\nContent-Length: 6"}, b"hello", []),
    "body awaited": _awaited,
    "body of ten megabytes": _flood,
}


def compare(real: Server, twin: Server, twin_pid: int) -> list[str]:
    """What differs, told; nothing where both do the same and forget what ended."""
    differs = []
    for server in (real, twin):
        server.make(PLACE, TEMPLATE)
    for name, case in CASES.items():
        did = [case(server, Watched(server, pid)) for server, pid in ((real, None), (twin, twin_pid))]
        if did[0] != did[1] or not did[1]["forgotten"]:
            differs.append(f"{name}\n      real {did[0]}\n      twin {did[1]}")
    return differs
