"""Repositories of the hub, against a hub on loopback through HF_ENDPOINT."""

import hashlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.errors import WeightsError
from mobilenetv2.hub import huggingface as hub

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (extra: hub)")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "mobilenet_v2"}',
    "preprocessor_config.json": b"{}",
    "model.safetensors": b"safe" * 5000,
    "pytorch_model.bin": b"pickled" * 3000,
    "README.md": b"not wanted",
    "onnx/model.onnx": b"not wanted either",
}


class Hub:
    """What it has, what it was asked, and what it refuses."""

    def __init__(self) -> None:
        self.files = dict(FILES)
        self.sizes: dict[str, int] = {}
        self.refusal: tuple[int, str] | None = None
        self.explains = True
        """Says of a file that is not there that this is why; some mirrors do not."""
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.path.startswith("/api/agent"):  # the client's own interest
            return self.reply(404, b"")
        self.hub.asked.append(f"{self.command} {self.path}")
        if self.hub.refusal:
            status, code = self.hub.refusal
            return self.reply(status, b"{}", **({"X-Error-Code": code} if code else {}))
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/") and "/tree/" in path:
            return self.reply(200, json.dumps([self.entry(name) for name in self.hub.files]))
        if path.startswith("/api/models/"):
            siblings = [
                {"rfilename": name, "size": self.hub.sizes.get(name, len(body))}
                for name, body in self.hub.files.items()
            ]
            about = {"id": "owner/name", "modelId": "owner/name", "sha": COMMIT, "private": False}
            facts = {"tags": [], "downloads": 0, "likes": 0, "siblings": siblings}
            return self.reply(200, json.dumps(about | facts))
        name = path.partition(f"/resolve/{COMMIT}/")[2]
        if name not in self.hub.files:
            why = {"X-Error-Code": "EntryNotFound"} if self.hub.explains else {}
            return self.reply(404, b"", **why, **{"X-Repo-Commit": COMMIT})
        body = self.hub.files[name]
        return self.reply(200, body, **{"ETag": f'"{oid(body)}"', "X-Repo-Commit": COMMIT})

    def entry(self, name: str) -> dict[str, Any]:
        body = self.hub.files[name]
        return {"type": "file", "path": name, "size": len(body), "oid": oid(body)}

    def reply(self, status: int, body: bytes | str, **headers: str) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def oid(body: bytes) -> str:
    """Large files go by their SHA-256 on the hub, small ones by git's SHA-1."""
    return (hashlib.sha256 if len(body) > 1000 else hashlib.sha1)(body).hexdigest()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    made = Hub()
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OfHub", (Handler,), {"hub": made}))
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_only_the_configs_and_the_safetensors_come(
    fake: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = hub.snapshot("hf://owner/name", cache_dir=tmp_path)
    assert names(folder) == ["config.json", "model.safetensors", "preprocessor_config.json"]
    assert all((folder / name).read_bytes() == FILES[name] for name in names(folder))
    fetched = {line.rpartition("/")[2] for line in fake.asked if line.startswith("GET /owner/")}
    assert fetched == set(names(folder))
    weights = hub.weights_file(folder)
    assert weights == folder / "model.safetensors"
    assert hub.published_sha256(weights) == hashlib.sha256(FILES[weights.name]).hexdigest()
    assert hub.published_sha256(folder / "config.json") is None  # git's own, not a SHA-256
    assert capsys.readouterr() == ("", "")  # no bar off a terminal


def test_what_is_cached_needs_no_hub(fake: Hub, tmp_path: Path) -> None:
    assert hub.cached("hf://owner/name", cache_dir=tmp_path) is None
    folder = hub.snapshot("hf://owner/name", cache_dir=tmp_path)
    asked = len(fake.asked)
    assert hub.cached("hf://owner/name", cache_dir=tmp_path) == folder
    assert hub.cached(f"hf://owner/name@{COMMIT}", cache_dir=tmp_path) == folder
    assert hub.cached("hf://owner/name", "pytorch_model.bin", tmp_path) is None
    assert hub.cached("hf://owner/name@other", cache_dir=tmp_path) is None
    assert len(fake.asked) == asked


def test_what_another_program_fetched_only_counts_with_both_configs(
    fake: Hub, tmp_path: Path
) -> None:
    """transformers does so for a network without its image processor."""
    import huggingface_hub

    wanted = ["config.json", "model.safetensors"]
    folder = huggingface_hub.snapshot_download(
        "owner/name", allow_patterns=wanted, cache_dir=tmp_path,
        endpoint=os.environ["HF_ENDPOINT"],  # read once, when another test may have imported it
    )  # fmt: skip
    assert names(Path(folder)) == wanted
    assert hub.cached("hf://owner/name", cache_dir=tmp_path) is None
    assert hub.snapshot("hf://owner/name", cache_dir=tmp_path) == Path(folder)
    assert names(Path(folder)) == [*wanted, "preprocessor_config.json"]
    assert hub.cached("hf://owner/name", cache_dir=tmp_path) == Path(folder)


@pytest.mark.parametrize("explains", [True, False])
def test_that_there_is_no_preprocessor_is_remembered(
    explains: bool, fake: Hub, tmp_path: Path
) -> None:
    fake.explains = explains
    del fake.files["preprocessor_config.json"]
    folder = hub.snapshot("hf://owner/name", cache_dir=tmp_path)
    assert names(folder) == ["config.json", "model.safetensors"]
    asked = len(fake.asked)
    expected = folder if explains else None  # then the hub is asked again
    assert hub.cached("hf://owner/name", cache_dir=tmp_path) == expected
    assert hub.cached(f"hf://owner/name@{COMMIT}", cache_dir=tmp_path) == expected
    assert len(fake.asked) == asked


def test_the_file_that_is_named_or_the_only_one(fake: Hub, tmp_path: Path) -> None:
    folder = hub.snapshot("hf://owner/name", "pytorch_model.bin", tmp_path / "named")
    assert "model.safetensors" not in names(folder)
    assert hub.weights_file(folder, "pytorch_model.bin").read_bytes() == FILES["pytorch_model.bin"]
    del fake.files["model.safetensors"], fake.files["preprocessor_config.json"]
    folder = hub.snapshot("hf://owner/name@main", cache_dir=tmp_path / "only")
    assert names(folder) == ["config.json", "pytorch_model.bin"]
    assert hub.weights_file(folder).name == "pytorch_model.bin"


def test_a_revision_is_what_is_asked_for(fake: Hub, tmp_path: Path) -> None:
    hub.snapshot("hf://owner/name@v1.0", cache_dir=tmp_path)
    assert fake.asked[0].startswith("GET /api/models/owner/name/revision/v1.0?")


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (404, "RepoNotFound", "no such repository on the hub, or a private one"),
        (401, "RepoNotFound", "no such repository on the hub, or a private one"),
        (404, "RevisionNotFound", "no such revision of this repository"),
        (403, "GatedRepo", "its owner must give you access; ask on its page, then log in"),
        (400, "", "the hub answers 400; try again later"),
        (418, "", "the hub answers 418; try again later"),
    ],
)
def test_a_refusal_is_one_sentence(
    status: int, code: str, words: str, fake: Hub, tmp_path: Path
) -> None:
    fake.refusal = (status, code)
    with pytest.raises(WeightsError) as caught:
        hub.snapshot("hf://owner/name", cache_dir=tmp_path)
    message = str(caught.value)
    assert message.startswith(f"hf://owner/name: {words}") and "\n" not in message
    assert not list(tmp_path.rglob("*.safetensors"))


def test_what_is_missing_or_too_large_is_named(fake: Hub, tmp_path: Path) -> None:
    fake.sizes["model.safetensors"] = 10**9
    with pytest.raises(
        WeightsError, match=r"model\.safetensors has 1,000,000,000 bytes, the limit"
    ):
        hub.snapshot("hf://owner/name", cache_dir=tmp_path)
    del fake.files["config.json"]
    with pytest.raises(WeightsError, match=r"hf://owner/name: it has no config\.json"):
        hub.snapshot("hf://owner/name", cache_dir=tmp_path)
    fake.files = {"config.json": b"{}"}
    with pytest.raises(WeightsError, match=r"it has no model\.safetensors or pytorch_model\.bin"):
        hub.snapshot("hf://owner/name", cache_dir=tmp_path)
    with pytest.raises(WeightsError, match=r"it has no tf_model\.h5"):
        hub.snapshot("hf://owner/name", "tf_model.h5", tmp_path)
    assert not [line for line in fake.asked if "/resolve/" in line]


def test_offline_by_order(fake: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match="not completely in the cache, and HF_HUB_OFF"):
        hub.snapshot("hf://owner/name", cache_dir=tmp_path)
    assert fake.asked == []


def test_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(WeightsError) as caught:
            hub.snapshot("hf://owner/name", cache_dir=tmp_path)
    message = str(caught.value)
    assert message.startswith("hf://owner/name: no internet connection, or the hub does not ")
    assert message.endswith("give the file itself with: weights import FILE")


@pytest.mark.parametrize("address", [
    "hf://", "hf://name", "hf://a/b/c", "hf://a/b@", "hf://../b", "hf://a/..", "hf://a/b@../../x",
    "hf://a b/c", "hf://ä/b", "https://huggingface.co/a/b", "hf://a/b\n",
])  # fmt: skip
def test_other_forms_are_refused(address: str, tmp_path: Path) -> None:
    for function in (hub.parse_address, hub.cached, hub.snapshot):
        with pytest.raises(WeightsError, match="is not of the form hf://OWNER/NAME"):
            function(address)


def test_the_forms_of_an_address() -> None:
    assert hub.parse_address("hf://google/mobilenet_v2_1.0_224") == (
        "google/mobilenet_v2_1.0_224", "main",
    )  # fmt: skip
    assert hub.parse_address("hf://a/b@refs/pr/3") == ("a/b", "refs/pr/3")
