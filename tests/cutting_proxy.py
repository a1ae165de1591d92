"""A proxy in front of a service that loses answers: the request was carried out, and its client hears nothing."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

HOP_BY_HOP = ("connection", "host", "transfer-encoding", "content-length", "content-encoding", "accept-encoding")


class CuttingProxy:
    """Passes on requests with bodies, and keeps what was answered."""

    def __init__(self, target: str) -> None:
        self.statuses: list[int] = []
        self.bodies: list[bytes] = []
        self.answers_to_lose = 0
        self._target = target
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = proxy.ask(self.path, dict(self.headers), body)
                if proxy.is_lost():
                    self.close_connection = True
                    return
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name not in HOP_BY_HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def ask(self, path: str, headers: dict[str, str], body: bytes) -> httpx.Response:
        """Pass on a request."""
        kept = {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}
        if coding := headers.get("Content-Encoding"):
            kept["Content-Encoding"] = coding
        answer = httpx.post(self._target + path, headers=kept, content=body, timeout=30)
        with self._lock:
            self.statuses.append(answer.status_code)
            self.bodies.append(answer.content)
        return answer

    def is_lost(self) -> bool:
        """Whether this answer is one of those to lose."""
        with self._lock:
            self.answers_to_lose -= 1
            return self.answers_to_lose >= 0

    @contextlib.contextmanager
    def serving(self) -> Iterator["CuttingProxy"]:
        """Serve until the end of the block."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join(10)
