"""Transports: parts of files, bounded, and failures in words."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.data.remote import transports as module
from mobilenetv2.data.remote.transports import (
    Again,
    FsspecTransport,
    Transport,
    WebTransport,
    transport_of,
)
from mobilenetv2.errors import DataError, MissingExtra

DATA = bytes(range(256)) * 20


@pytest.fixture(params=["http", "memory", "s3"])
def transport(
    request: pytest.FixtureRequest, tmp_path: Path, serve: Callable[[Path], Any]
) -> Transport:
    """A folder with one file, ``some file.tar``, on each kind of server."""
    (tmp_path / "some file.tar").write_bytes(DATA)
    if request.param == "http":
        return transport_of(serve(tmp_path).address)
    if request.param == "memory":
        fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed (extra: remote)")
        fsspec.filesystem("memory").pipe_file("/x/some file.tar", DATA)
        return transport_of("memory://x")
    return transport_of(request.getfixturevalue("bucket")(tmp_path))


def test_every_transport_has_sizes_and_parts(transport: Transport) -> None:
    file = "some file.tar"
    assert transport.size(file) == len(DATA)
    parts = [(file, start, size) for start in (0, 1, 5000) for size in (1, 7, 120)]
    assert transport.parts(parts) == [DATA[start : start + size] for _, start, size in parts]
    assert transport.parts([]) == []
    (beyond,) = transport.parts([(file, len(DATA) - 3, 10)])
    assert beyond == DATA[-3:]
    with pytest.raises(DataError):
        transport.size("none.tar")
    (missing,) = transport.parts([("none.tar", 0, 5)])
    assert isinstance(missing, DataError)


def answering(body: bytes, status: int, headers: dict[str, str]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (206, {"Content-Range": "bytes 5-9/100"}, Again),
        (206, {}, Again),
        (200, {"Content-Length": "1000"}, DataError),
        (404, {"Content-Length": "0"}, DataError),
        (403, {"Content-Length": "0"}, DataError),
        (500, {"Content-Length": "0"}, Again),
        (429, {"Retry-After": "3", "Content-Length": "0"}, Again),
        (302, {"Location": "file:///etc/passwd", "Content-Length": "0"}, DataError),
        (302, {"Location": "s3://bucket/x", "Content-Length": "0"}, DataError),
    ],
)
def test_what_a_web_server_says_instead(
    status: int, headers: dict[str, str], kind: type[Exception]
) -> None:
    server = answering(b"x" * 1000 if status == 200 else b"", status, headers)
    try:
        web = WebTransport(f"http://127.0.0.1:{server.server_port}")
        (found,) = web.parts([("a.tar", 0, 5)])
        assert type(found) is kind
        assert "weights import" not in str(found)
    finally:
        server.shutdown()
        server.server_close()


def test_a_server_that_sends_more_is_read_as_far_as_asked() -> None:
    body = b"a" * 5 + b"b" * 10**6
    server = answering(body, 206, {"Content-Range": "bytes 0-4/5"})
    try:
        web = WebTransport(f"http://127.0.0.1:{server.server_port}")
        assert web.parts([("a.tar", 0, 5)]) == [b"aaaaa"]
    finally:
        server.shutdown()
        server.server_close()


def test_nobody_there_may_pass() -> None:
    (found,) = WebTransport("http://127.0.0.1:9").parts([("a.tar", 0, 5)])
    assert isinstance(found, Again)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed (extra: remote)")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="pip install gcsfs"):
        FsspecTransport("gs://bucket/x")


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (FileNotFoundError("x"), DataError, "no such file"),
        (PermissionError("x"), DataError, "refuses"),
        (type("NoCredentialsError", (Exception,), {})("x"), DataError, "no keys"),
        (TimeoutError("slow"), Again, "TimeoutError: slow"),
        (ValueError("odd"), Again, "odd"),
    ],
)
def test_failures_of_fsspec_in_words(error: Exception, kind: type[Exception], said: str) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed (extra: remote)")
    found = FsspecTransport("memory://x")._error("a", error)
    assert type(found) is kind and said in str(found)
