"""The cache: what lies where, what is recorded of the unverified, when no network is touched."""

import dataclasses
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mobilenetv2.errors import WeightsError
from mobilenetv2.hub import catalogue, fetching
from mobilenetv2.hub import huggingface as hub
from mobilenetv2.hub.cache import VARIABLE
from mobilenetv2.hub.catalogue import Checkpoint, find


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of this test."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def entry(site: Any, here: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """A catalogue of one checkpoint, unverified, on loopback."""
    made = dataclasses.replace(
        find("keras-1.0-224"), name="one", where=site.url, file="published.bin"
    )
    monkeypatch.setattr(catalogue, "catalogue", lambda: {"one": made})
    return made


def publish(monkeypatch: pytest.MonkeyPatch, entry: Checkpoint, **changes: Any) -> None:
    made = dataclasses.replace(entry, **changes)
    monkeypatch.setattr(catalogue, "catalogue", lambda: {"one": made})


def test_the_first_download_records_what_it_saw(site: Any, here: Path, entry: Checkpoint) -> None:
    assert not fetching.is_cached(entry)
    first = fetching.fetch("one")
    assert first.path == first.file == here / "one" / "published.bin"
    assert first.path.read_bytes() == site.body
    assert (first.sha256, first.verified, first.cached) == (site.sha256, "recorded", False)
    record = json.loads((here / "first-seen" / "one.json").read_text())
    assert record == {"sha256": site.sha256, "bytes": len(site.body), "where": site.url}
    assert fetching.is_cached(entry)


def test_what_is_cached_needs_no_network(site: Any, here: Path, entry: Checkpoint) -> None:
    fetching.fetch("one")
    asked = len(site.asked)
    again = fetching.fetch("one")
    assert fetching.fetch("one") == again
    assert len(site.asked) == asked == 1
    assert (again.verified, again.cached) == ("first seen", True)


def test_a_later_download_must_be_the_same(site: Any, here: Path, entry: Checkpoint) -> None:
    path = fetching.fetch("one").path
    path.unlink()
    assert fetching.fetch("one").verified == "first seen"
    seen = site.sha256
    path.unlink()
    site.body, site.etag = site.body[::-1], '"two"'
    with pytest.raises(WeightsError) as caught:
        fetching.fetch("one")
    record = here / "first-seen" / "one.json"
    assert str(caught.value).endswith(
        f"wrong bytes: its SHA-256 is {site.sha256}, at the first download ({record}) it is "
        f"{seen}; the download was deleted"
    )
    assert not path.exists()
    record.unlink()  # the person decides that the new one is right
    assert fetching.fetch("one").sha256 == site.sha256


def test_a_cached_file_that_changed_is_an_error(site: Any, here: Path, entry: Checkpoint) -> None:
    path = fetching.fetch("one").path
    path.write_bytes(b"other")
    digest = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(WeightsError, match=f"one/published.bin: wrong bytes: .*{digest}.*delete"):
        fetching.fetch("one")


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"sha256": 7}', '{"sha256": "abc"}'])
def test_a_damaged_record_is_not_passed_over(
    text: str, site: Any, here: Path, entry: Checkpoint
) -> None:
    (here / "first-seen").mkdir(parents=True)
    (here / "first-seen" / "one.json").write_text(text)
    with pytest.raises(WeightsError, match=r"one\.json: damaged, it has no SHA-256; delete it"):
        fetching.fetch("one")
    assert site.asked == []


def test_a_published_checksum_needs_no_record(
    site: Any, here: Path, entry: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, entry, sha256=site.sha256)
    assert fetching.fetch("one").verified == "published"
    assert not (here / "first-seen").exists()
    publish(monkeypatch, entry, sha256="0" * 64)
    with pytest.raises(WeightsError, match=f"the published one is {'0' * 64}"):
        fetching.fetch("one")


def test_published_digits_are_compared_and_the_rest_is_recorded(
    site: Any, here: Path, entry: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, entry, sha256_prefix=site.sha256[:8])
    assert fetching.fetch("one").verified == "prefix"
    assert json.loads((here / "first-seen" / "one.json").read_text())["sha256"] == site.sha256
    (here / "one" / "published.bin").unlink()
    publish(monkeypatch, entry, sha256_prefix="01234567")
    (here / "first-seen" / "one.json").unlink()
    with pytest.raises(WeightsError, match="the published one begins 01234567"):
        fetching.fetch("one")


def test_a_cache_that_may_only_be_read_is_one(
    site: Any, here: Path, entry: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, entry, sha256=site.sha256)
    fetching.fetch("one")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("nothing may be written")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert fetching.fetch("one").cached


def test_a_failure_records_nothing(
    site: Any, here: Path, entry: Checkpoint, answers: SimpleNamespace
) -> None:
    site.answers = [answers.refuse(404)]
    with pytest.raises(WeightsError, match="not there any more"):
        fetching.fetch("one")
    assert not (here / "first-seen").exists() and not fetching.is_cached(entry)


def test_an_unknown_name(here: Path) -> None:
    with pytest.raises(WeightsError, match="did you mean 'timm-100'"):
        fetching.fetch("tim-100")
    assert not here.exists()


@pytest.mark.parametrize("known", [False, True])
def test_a_repository_of_the_hub(
    known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own fetching is tested in test_hub.py."""
    digest = hashlib.sha256(b"weights").hexdigest()
    blob = tmp_path / "blobs" / (digest if known else "abc")
    blob.parent.mkdir()
    blob.write_bytes(b"weights")
    snapshot = tmp_path / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(blob)
    here: list[Path] = []

    def fetch(address: str, file: str | None) -> Path:
        assert (address, file) == ("hf://owner/name", None)
        here.append(snapshot)
        return snapshot

    monkeypatch.setattr(hub, "snapshot", fetch)
    monkeypatch.setattr(hub, "cached", lambda *_: here[0] if here else None)
    for was_there in (False, True):
        fetched = fetching.fetch("hf://owner/name")
        assert fetched.path == snapshot and fetched.file == snapshot / "model.safetensors"
        assert (fetched.sha256, fetched.cached) == (digest, was_there)
        assert fetched.verified == ("hub" if known else "nothing")
    assert len(here) == 1
    blob.write_bytes(b"others!")
    if known:
        with pytest.raises(WeightsError, match=f"wrong bytes: .* the hub's is {digest}; delete"):
            fetching.fetch("hf://owner/name")


def test_a_checkpoint_of_the_catalogue_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"not that")
    asked: list[tuple[str, str | None]] = []

    def there(address: str, file: str | None) -> Path:
        asked.append((address, file))
        return tmp_path

    monkeypatch.setattr(hub, "cached", there)
    published = find("huggingface-1.4-224").sha256
    with pytest.raises(WeightsError, match=f"the published one is {published}"):
        fetching.fetch("huggingface-1.4-224")
    assert asked == [("hf://google/mobilenet_v2_1.4_224", "pytorch_model.bin")]
    assert fetching.is_cached(find("huggingface-1.4-224"))
