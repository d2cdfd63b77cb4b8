"""Shards, archives and tables of addresses: the same as those of a disk."""

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mobilenetv2 as mn
from mobilenetv2.data.dataset import absolute_place, open_dataset
from mobilenetv2.data.names import is_address
from mobilenetv2.data.remote import files as module
from mobilenetv2.data.remote.files import RemoteFiles, RemoteLines, checked, folder_of, tried
from mobilenetv2.data.remote.transports import Again
from mobilenetv2.errors import DataError, ImageError

Serve = Callable[[Path], Any]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No waiting between tries, and a cache of one's own."""
    monkeypatch.setattr(module, "FIRST_WAIT", 0.0)
    monkeypatch.setenv("MOBILENETV2_CACHE", str(tmp_path / "cache"))


def same_photos(place: str, other: Path) -> None:
    one, two = open_dataset(place), open_dataset(other)
    assert {n: s.photos for n, s in one.splits.items()} == {
        name: split.photos for name, split in two.splits.items()
    }
    for split in one.splits.values():
        names = [photo.name for photo in split.photos]
        with split.source.ahead(names):
            for name in names:
                assert split.source.read(name) == two.splits[split.name].source.read(name)


def test_shards_of_a_web_server(sharded: Path, photos: Path, serve: Serve) -> None:
    web = serve(sharded.parent)
    same_photos(f"{web.address}/shards", photos)
    same_photos(f"{web.address}/shards/index.json", photos)
    assert all("bytes=" in request for request in web.requests)
    info = mn.data_info(f"{web.address}/shards/", check=True)
    assert (info.kind, info.damaged) == ("shards", ())


def test_shards_of_an_object_store(
    sharded: Path, photos: Path, bucket: Callable[[Path], str]
) -> None:
    same_photos(bucket(sharded), photos)
    with pytest.raises(DataError, match=r"s3://photos/none/index\.json: no such file"):
        open_dataset("s3://photos/none")


def test_evaluation_and_prediction_from_an_object_store(
    sharded: Path, photos: Path, model: Path, bucket: Callable[[Path], str]
) -> None:
    address = bucket(sharded)
    assert mn.evaluate(model, address).metrics.loss == mn.evaluate(model, photos).metrics.loss
    found = {str(one.photo): one.index for one in mn.predict(address, model) if not one.error}
    local = [one for one in mn.predict(photos, model) if not one.error]
    assert found == {
        one.photo.relative_to(photos).as_posix(): one.index for one in local if one.photo
    }


@pytest.mark.slow
def test_training_from_an_object_store_is_that_on_the_folder(
    sharded: Path, photos: Path, tmp_path: Path, bucket: Callable[[Path], str],
    quick: tuple[str, ...],
) -> None:  # fmt: skip
    pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
    changes = ["epochs=1", *(word for word in quick if "=" in word)]
    runs = [
        mn.train(place, tmp_path / name, weights="none", changes=changes, deterministic=True)
        for name, place in (("one", photos), ("two", bucket(sharded)))
    ]
    assert runs[0].metrics == runs[1].metrics
    for name in ("split.csv", "best/model.safetensors"):
        one, two = ((tmp_path / run / name).read_bytes() for run in ("one", "two"))
        assert one == two


def test_shards_in_memory(sharded: Path, photos: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed (extra: remote)")
    system = fsspec.filesystem("memory")
    for path in sharded.iterdir():
        system.pipe_file(f"/own/{path.name}", path.read_bytes())
    same_photos("memory://own", photos)
    system.rm("/own", recursive=True)


def test_failures_that_pass_are_met_again(sharded: Path, photos: Path, serve: Serve) -> None:
    web = serve(sharded)
    web.failures = 4
    source = open_dataset(web.address).splits["all"].source
    assert web.failures == 0
    name = source.names()[0]
    for count in (1, 2):
        web.failures = web.cut = count
        assert source.read(name) == (photos / name).read_bytes()


def test_a_server_that_stays_away_is_named(sharded: Path, serve: Serve) -> None:
    web = serve(sharded)
    source = open_dataset(web.address).splits["all"].source
    web.failures = 10**6
    with pytest.raises(ImageError, match=r"503.*the last of 6 tries"):
        source.read(source.names()[0])


def test_a_shard_that_changes_is_an_error_and_no_other_photo(
    sharded: Path, tmp_path: Path, serve: Serve
) -> None:
    shutil.copytree(sharded, tmp_path / "shards")
    source = open_dataset(serve(tmp_path / "shards").address).splits["all"].source
    path = tmp_path / "shards" / "all-000000.tar"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(ImageError, match="other bytes"):
        source.read(source.names()[0])
    path.write_bytes(b"")
    with pytest.raises(ImageError, match="truncated"):
        source.read(source.names()[0])
    path.unlink()
    with pytest.raises(ImageError, match="404"):
        source.read(source.names()[0])


def test_a_server_without_ranges_is_refused_before_memory_is_taken(
    sharded: Path, serve: Serve
) -> None:
    web = serve(sharded)
    web.ranges = False
    with pytest.raises(DataError, match="whole files only"):
        open_dataset(web.address)


@pytest.mark.parametrize("name", ["photos.zip", "labels.csv"])
def test_archives_and_tables_are_fetched_once(
    photos: Path, tmp_path: Path, serve: Serve, name: str
) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    if name == "labels.csv":
        rows = [f"{path},{path.parent.name}" for path in sorted(photos.rglob("*.*"))]
        (folder / name).write_text("\n".join(["file,label", *rows]))
    else:
        with zipfile.ZipFile(folder / name, "w") as archive:
            for path in photos.rglob("*.*"):
                archive.write(path, path.relative_to(photos))
    web = serve(folder)
    dataset = open_dataset(f"{web.address}/{name}")
    assert dataset.place == f"{web.address}/{name}"
    assert [len(split) for split in dataset.splits.values()] == [36]
    before = len(web.requests)
    assert len(open_dataset(f"{web.address}/{name}").splits["all"]) == 36
    assert len(web.requests) == before + 1  # its size


def test_a_file_that_is_cut_is_not_kept(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "photos.zip").write_bytes(b"PK" * 1000)
    web = serve(tmp_path)
    web.cut = 10**6
    with pytest.raises(DataError, match="tries"):
        open_dataset(f"{web.address}/photos.zip")
    assert not [*(tmp_path / "cache").rglob("photos.zip")]


@pytest.mark.parametrize(
    "address", ["ftp://host/x", "file:///etc", "data://x", "github://a", "zip://x", "gopher://x"]
)
def test_other_protocols_are_refused(address: str) -> None:
    with pytest.raises(DataError, match="no address of data"):
        open_dataset(address)


def test_addresses_and_paths_are_told_apart() -> None:
    assert is_address("s3://a/b") and is_address("HTTPS://x")
    for path in ("photos/", "C:\\photos", "c:/photos", "a:b", "//server/share", "./s3:/x"):
        assert not is_address(path)
    assert checked("S3://Bucket/x/") == "s3://Bucket/x"
    assert folder_of("s3://b/x/index.json") == folder_of("s3://b/x/") == "s3://b/x"
    assert absolute_place("s3://b/x") == "s3://b/x"


def test_an_index_on_a_server_leads_nowhere_else(
    tmp_path: Path, sharded: Path, serve: Serve
) -> None:
    text = (sharded / "index.json").read_text()
    for name in ("../secret.tar", "http://127.0.0.1/x.tar", "/x.tar", "x.tar?y", "x.tar#y"):
        (tmp_path / "index.json").write_text(text.replace("all-000000.tar", name))
        with pytest.raises(DataError, match="no name of a shard"):
            open_dataset(serve(tmp_path).address)


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_lines_are_those_of_the_file(
    chunk: int, sharded: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    data = b"one\n\ntwo, longer\nend"
    (tmp_path / "text").write_bytes(data)
    files = RemoteFiles(serve(tmp_path).address)
    for limit in (-1, 2, 5, 100):
        lines, expected = RemoteLines(files, "text", len(data)), io.BytesIO(data)
        while line := expected.readline(limit):
            assert lines.readline(limit) == line
        assert lines.readline(limit) == b""


def test_waits_grow_and_follow_the_server() -> None:
    waits: list[float] = []

    def fail() -> None:
        raise Again("later", None if len(waits) < 2 else 7.0)

    module_wait, module.FIRST_WAIT = module.FIRST_WAIT, 0.5
    try:
        with pytest.raises(DataError, match="place: later, the last of 6 tries"):
            tried(fail, "place", waits.append)
    finally:
        module.FIRST_WAIT = module_wait
    assert waits == [0.5, 1.0, 7.0, 7.0, 7.0]
