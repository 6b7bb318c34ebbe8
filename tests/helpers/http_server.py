"""A web server of this machine that behaves as badly as a test asks it to."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@dataclass
class Page:
    """The content of a path: sent whole, or from the byte that is asked for, or as the settings spoil it."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    """True if a Range is heeded."""
    declared: int | None = None
    """The Content-Length of a whole answer; None for the true one, -1 for none at all."""
    cuts: list[int] = field(default_factory=list)
    """Number of bytes that each answer sends before the connection breaks; those after the list send all."""
    hang: threading.Event | None = None
    """Set by the test to let an answer that was cut end; until then it keeps silent."""

    def answer(self, request: Request) -> None:
        cut = self.cuts.pop(0) if self.cuts else None
        body, status, headers = self.body, self.status, dict(self.headers)
        first = self._first(request)
        if first is not None and first >= len(self.body):
            body, status = b"", 416
            headers["Content-Range"] = f"bytes */{len(self.body)}"
        elif first is not None:
            body, status = self.body[first:], 206
            headers.setdefault("Content-Range", f"bytes {first}-{len(self.body) - 1}/{len(self.body)}")
        length = self.declared if self.declared is not None and status == 200 else len(body)
        if length >= 0:
            headers["Content-Length"] = str(length)
        request.begin(status, headers)
        request.wfile.write(body[:cut])
        request.wfile.flush()
        if cut is not None and self.hang is not None:
            self.hang.wait(120)

    def _first(self, request: Request) -> int | None:
        asked, condition = request.headers.get("Range"), request.headers.get("If-Range")
        if asked is None or not self.ranges:
            return None
        if condition is not None and condition not in (self.headers.get("ETag"), self.headers.get("Last-Modified")):
            return None
        return int(asked.removeprefix("bytes=").removesuffix("-"))


Script = Callable[["Request"], None]
"""An answer that no page gives."""


class Request(BaseHTTPRequestHandler):
    """A request, and what answers it."""

    server: _HTTPServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.asked.append((self.path, dict(self.headers)))
        page = self.server.pages.get(self.path)
        # A client that gives up breaks the connection.
        with contextlib.suppress(ConnectionError):
            if page is None:
                self.begin(404, {"Content-Length": "0"})
            elif isinstance(page, Page):
                page.answer(self)
            else:
                page(self)

    def begin(self, status: int, headers: dict[str, str]) -> None:
        """Send the head of an answer."""
        self.send_response(status)
        for key, value in {"Connection": "close", **headers}.items():
            self.send_header(key, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.pages: dict[str, Page | Script] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is no news."""


class WebServer:
    """Pages by path, and what was asked for, in order."""

    def __init__(self, certificate: Path | None = None) -> None:
        """Speak TLS if there is a ``certificate``, a file that holds its key as well."""
        self._server, self._scheme = _HTTPServer(), "http" if certificate is None else "https"
        if certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.pages, self.asked = self._server.pages, self._server.asked
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def url(self, path: str) -> str:
        return f"{self._scheme}://{self.host}{path}"

    def put(self, path: str, page: Page | Script) -> str:
        """Let ``page`` lie at ``path``; its address."""
        self.pages[path] = page
        return self.url(path)

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def ranges(self) -> list[str | None]:
        """The Range of each request."""
        return [headers.get("Range") for _, headers in self.asked]

    @contextlib.contextmanager
    def running(self) -> Iterator[WebServer]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


@pytest.fixture(name="web")
def web_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A running server, spoken to directly whatever proxy the environment names."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with WebServer().running() as server:
        yield server


def unused_port() -> int:
    """A port of this machine at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds, two minutes at most."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
