"""``mn.data_info``: the facts of every kind of place."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import mobilenetv2 as mn
from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.data.shards.info import KINDS
from mobilenetv2.errors import DataError


@pytest.fixture
def files(photos: Path) -> dict[str, bytes]:
    """The photos by name, in two splits."""
    return {
        f"{'test' if place % 4 == 0 else 'train'}/{path.parent.name}/{path.name}": path.read_bytes()
        for place, path in enumerate(sorted(photos.rglob("*.*")))
    }


def test_every_kind_of_place_has_the_same_facts(
    files: dict[str, bytes], tmp_path: Path, pack: Callable[[str, Mapping[str, bytes]], Path]
) -> None:
    for name, data in files.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    rows = [f"folder/{name},{name.split('/')[1]},{name.split('/')[0]}" for name in files]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,split", *rows]))
    mn.shard(tmp_path / "folder", tmp_path / "shards")
    places = {
        "folder": tmp_path / "folder", "table": tmp_path / "labels.csv",
        "archive": pack("zip", files), "shards": tmp_path / "shards",
    }  # fmt: skip
    found = {kind: mn.data_info(place) for kind, place in places.items()}
    expected = found["folder"]
    assert expected.photos == len(files) and expected.bytes == sum(map(len, files.values()))
    for kind, one in found.items():
        assert one.kind == kind
        assert one.classes == expected.classes and one.bytes == expected.bytes
        for name, split in expected.splits.items():
            assert one.splits[name].counts == split.counts
    assert found["shards"].shards == 2 and expected.shards == 0
    assert "2 shards" in str(found["shards"]) and "shard" not in str(expected)
    tar = mn.data_info(pack("tar", files))
    assert (tar.kind, tar.bytes) == ("archive", expected.bytes)


def test_every_source_of_a_dataset_has_a_word() -> None:
    import mobilenetv2.data.archives as archives
    import mobilenetv2.data.sources as sources

    kinds = {
        item
        for module in (archives, sources)
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, sources.Source)
    }
    assert kinds - {sources.Source} <= KINDS.keys()


def test_a_photo_that_is_not_there_leaves_the_size_unknown(photos: Path, tmp_path: Path) -> None:
    path = next(photos.rglob("*.png"))
    (tmp_path / "labels.csv").write_text(f"file,label\n{path},a\ngone.png,b\n")
    found = mn.data_info(tmp_path / "labels.csv")
    assert found.bytes is None and found.photos == 2 and "unknown size" in str(found)


def test_the_comparison_names_shards_that_differ(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mn.shard(photos, out)
    assert mn.data_info(out).damaged is None
    assert mn.data_info(out, check=True).damaged == ()
    for change in (
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        Path.unlink,
    ):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(out, copy)
        change(copy / "all-000000.tar")
        found = mn.data_info(copy, check=True)
        assert found.damaged == ("all-000000.tar",)
        assert found.to_dict()["damaged"] == ["all-000000.tar"]
    with pytest.raises(DataError, match="has no shards"):
        mn.data_info(photos, check=True)


def test_no_photo_is_read(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = type(open_dataset(photos).splits["all"].source)
    monkeypatch.setattr(source, "read", lambda *_: pytest.fail("a photo was read"))
    assert mn.data_info(photos).photos
