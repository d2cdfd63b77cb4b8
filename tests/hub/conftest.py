"""A web server on loopback that does what a test scripts, and writes down what it was asked."""

import hashlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

Answer = Callable[["Handler"], None]


@dataclass
class Site:
    """Answers requests one by one as scripted, then serves ``body`` as a good server does."""

    body: bytes = np.random.default_rng(0).bytes(300_000)
    etag: str = '"one"'
    modified: str = ""
    answers: list[Answer] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    """Headers of every request, in lower case, and its 'path'."""
    address: str = ""
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"{self.address}/published.bin"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    @property
    def ranges(self) -> list[str | None]:
        """The Range of every request."""
        return [request.get("range") for request in self.asked]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        site = self.site
        site.asked.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
        answer = site.answers.pop(0) if site.answers else serve
        self.close_connection = True
        answer(self)

    def start(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing: the tests look at ``asked``."""

    def ranged(self) -> tuple[int, dict[str, str]]:
        """Status and headers that a good server would give, with the right length."""
        site = self.site
        headers = {"Content-Type": "application/octet-stream"}
        if site.etag:
            headers["ETag"] = site.etag
        if site.modified:
            headers["Last-Modified"] = site.modified
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (None, site.etag, site.modified)
        if match and same:
            start = int(match[1])
            if start >= len(site.body):
                return 416, headers | {"Content-Range": f"bytes */{len(site.body)}"}
            end = f"{len(site.body) - 1}/{len(site.body)}"
            headers["Content-Range"] = f"bytes {start}-{end}"
            return 206, headers | {"Content-Length": str(len(site.body) - start)}
        return 200, headers | {"Content-Length": str(len(site.body))}


def part(handler: Handler, status: int) -> bytes:
    if status == 416:
        return b""
    match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    return handler.site.body[int(match[1]) if match and status == 206 else 0 :]


def serve(handler: Handler) -> None:
    status, headers = handler.ranged()
    handler.start(status, headers)
    handler.wfile.write(part(handler, status))


def cut(after: int, reset: bool = False) -> Answer:
    """Close the connection after so many bytes of what was asked for."""

    def answer(handler: Handler) -> None:
        status, headers = handler.ranged()
        handler.start(status, headers)
        handler.wfile.write(part(handler, status)[:after])
        if reset:
            time.sleep(0.05)  # let the bytes go out first
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    return answer


def stall(after: int) -> Answer:
    """Send so many bytes, then nothing more, with the connection open."""

    def answer(handler: Handler) -> None:
        status, headers = handler.ranged()
        handler.start(status, headers)
        handler.wfile.write(part(handler, status)[:after])
        handler.wfile.flush()
        handler.site.closing.wait(60)

    return answer


def refuse(status: int, body: bytes = b"no", **headers: str) -> Answer:
    def answer(handler: Handler) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.start(status, {"Content-Length": str(len(body)), **named})
        handler.wfile.write(body)

    return answer


def altered(**headers: str | None) -> Answer:
    """What a good server sends, with other headers (None: left out)."""

    def answer(handler: Handler) -> None:
        status, good = handler.ranged()
        changes = {name.replace("_", "-"): value for name, value in headers.items()}
        merged = {**good, **changes}
        handler.start(status, {name: value for name, value in merged.items() if value is not None})
        handler.wfile.write(part(handler, status))

    return answer


def whole(handler: Handler) -> None:
    """A server that knows nothing of ranges."""
    del handler.headers["Range"]
    serve(handler)


def chunked(handler: Handler, end: bytes = b"0\r\n\r\n") -> None:
    handler.start(200, {"Transfer-Encoding": "chunked", "ETag": handler.site.etag})
    for start in range(0, len(handler.site.body), 70_000):
        block = handler.site.body[start : start + 70_000]
        handler.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
    handler.wfile.write(end)


def endless(handler: Handler) -> None:
    """No length, and no end."""
    handler.start(200, {"Content-Type": "application/octet-stream"})
    while not handler.site.closing.is_set():
        handler.wfile.write(bytes(100_000))


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None:
        """Clients that hang up are what is tested here."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A running server; nothing of the real network is asked."""
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    yield from running(Site())


def running(made: Site) -> Iterator[Site]:
    server = Server(("127.0.0.1", 0), type("OfSite", (Handler,), {"site": made}))
    made.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def answers() -> SimpleNamespace:
    """The ways to answer, by name."""
    return SimpleNamespace(
        serve=serve, cut=cut, stall=stall, refuse=refuse, altered=altered, whole=whole,
        chunked=chunked, endless=endless, running=running, Site=Site,
    )  # fmt: skip
