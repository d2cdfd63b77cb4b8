"""Servers on this machine: one of the web with ranges, one of S3's protocol."""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import mobilenetv2 as mn


@dataclass
class Web:
    """A server of the web, and how it misbehaves."""

    address: str = ""
    ranges: bool = True
    failures: int = 0
    """Number of requests that are answered with 503 first."""
    cut: int = 0
    """Number of answers that end too early."""
    requests: list[str] = field(default_factory=list)


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder, in ranges."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, web: Web, **options: Any) -> None:
        self.web = web
        super().__init__(*args, **options)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer a request for a file or a part of it."""
        web = self.web
        web.requests.append(f"{self.path} {self.headers.get('Range', '')}".strip())
        if web.failures:
            web.failures -= 1
            self.send_response(503)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if found and web.ranges:
            start, end = int(found[1]), min(int(found[2]) + 1, len(data))
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
            data = data[start:end]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if web.cut and len(data) > 1:
            web.cut -= 1
            data, self.close_connection = data[: len(data) // 2], True
        with contextlib.suppress(OSError):  # the client has gone
            self.wfile.write(data)


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Web]]:
    """Function that serves a folder over HTTP."""
    servers: list[ThreadingHTTPServer] = []

    def start(folder: Path) -> Web:
        web = Web()
        handler = partial(Handler, web=web, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        web.address = f"http://127.0.0.1:{server.server_port}"
        return web

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def sharded(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """Shards of the photos. Only to be read."""
    folder = tmp_path_factory.mktemp("sharded") / "shards"
    mn.shard(photos, folder, megabytes=1)
    return folder


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], str]]:
    """Function that copies a folder into a bucket of a server, and returns its address."""
    for package in ("fsspec", "s3fs", "moto", "flask", "boto3"):
        pytest.importorskip(
            package, reason=f"{package} is not installed (extras: remote, object-store)"
        )
    from moto.server import ThreadedMotoServer

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "nowhere")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    import boto3
    import s3fs

    def put(folder: Path) -> str:
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket="photos")
        for path in folder.rglob("*"):
            if path.is_file():
                client.upload_file(str(path), "photos", f"set/{path.relative_to(folder)}")
        return "s3://photos/set"

    s3fs.S3FileSystem.clear_instance_cache()
    yield put
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
