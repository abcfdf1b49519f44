"""An HTTP proxy on loopback, for the proxy tests of both clients: tunnels what asks with CONNECT, passes on what asks
with a whole `http://` address, and writes down where to."""

import http.client
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from .place import free_port


class Proxy:
    def __init__(self):
        self.tunnels: list[str] = []  # `host:port` of each CONNECT, in order
        self.passed: list[str] = []  # `METHOD address` of each request without a tunnel
        proxy = self

        class Conversation(BaseHTTPRequestHandler):
            def do_CONNECT(self):
                proxy.tunnels.append(self.path)
                host, _, port = self.path.rpartition(":")
                try:
                    far = socket.create_connection((host.strip("[]"), int(port)), timeout=10)
                except OSError as failure:
                    self.send_error(502, str(failure))
                    return
                self.send_response_only(200, "Connection established")
                self.end_headers()
                with far:
                    _pump(self.connection, far)
                self.close_connection = True

            def _pass_on(self):
                proxy.passed.append(f"{self.command} {self.path}")
                split = urlsplit(self.path)
                far = http.client.HTTPConnection(split.hostname, split.port or 80, timeout=60)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {k: v for k, v in self.headers.items() if not k.lower().startswith("proxy-")}
                target = (split.path or "/") + (f"?{split.query}" if split.query else "")
                far.request(self.command, target, body, headers)
                answer = far.getresponse()
                data = answer.read()
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(data)
                far.close()

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", free_port()), Conversation)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _pump(near: socket.socket, far: socket.socket) -> None:
    """Copies both ways until one side is done."""
    other = {near: far, far: near}
    while True:
        readable, _, _ = select.select([near, far], [], [], 300)
        if not readable:
            return
        for side in readable:
            data = side.recv(65536)
            if not data:
                return
            other[side].sendall(data)
