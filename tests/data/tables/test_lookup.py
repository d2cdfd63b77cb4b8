"""The look-up of photos that a table names, in a source and on the disk."""

from pathlib import Path

import pytest

from mobilenetv2.data.tables import lookup as table_lookup
from mobilenetv2.data.tables.lookup import beside, common_folder, split_in, within

PHOTOS = {"train/1.jpg", "test/1.jpg", "train/sub/2.PNG", "all/x.y.jpg", "top.tif", "a b.jpg"}


@pytest.mark.parametrize(
    ("table", "path", "expected"),
    [
        ("t.csv", "train/1.jpg", "train/1.jpg"),
        ("t.csv", r".\train\1.jpg", "train/1.jpg"),
        ("t.csv", "train/1", "train/1.jpg"),
        ("train/t.csv", "1.jpg", "train/1.jpg"),
        ("train/t.csv", "test/1.jpg", "test/1.jpg"),  # relative to the source, too
        ("t.csv", "2", "train/sub/2.PNG"),
        ("t.csv", "2.png", "train/sub/2.PNG"),
        ("t.csv", "x.y", "all/x.y.jpg"),
        ("t.csv", "1.jpg", None),  # of two, neither
        ("test_labels.csv", "1.jpg", "test/1.jpg"),
        ("train/t.csv", "../top.tif", "top.tif"),
        ("t.csv", "../top.tif", None),
        ("t.csv", "/top.tif", None),
        ("t.csv", "gone.jpg", None),
        ("t.csv", "", None),
    ],
)
def test_in_a_source(table: str, path: str, expected: str | None) -> None:
    assert within(PHOTOS, table)(path) == expected


def test_beside_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("data/a/b/1.jpg", "data/a/b/c/deep.jpg", "data/.hidden/2.jpg", "else/3.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    find = beside(tmp_path / "data" / "t.csv")
    assert find("1") == find("1.jpg") == str(tmp_path / "data/a/b/1.jpg")
    assert find("../else/3.jpg") == find(str(tmp_path / "else/3")) == str(tmp_path / "else/3.jpg")
    assert [find(name) for name in ("deep.jpg", "2.jpg", "3.jpg", "\0", "a")] == [None] * 5
    monkeypatch.setattr(table_lookup, "MOST_FOLDERS", 1)
    assert beside(tmp_path / "data" / "t.csv")("1") is None


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.csv", "train"), ("val_labels.csv", "validation"), ("trainLabels.csv", "train"),
        ("test/_classes.csv", "test"), ("valid/metadata.jsonl", "validation"),
        ("labels.csv", ""), ("metadata.csv", ""), ("contest.csv", ""),
        ("training-set.csv", "train"),
    ],
)  # fmt: skip
def test_the_split_of_a_table(name: str, split: str) -> None:
    assert split_in(name) == split


def test_the_folder_around_photos() -> None:
    here, away = Path("/data"), [Path("/photos/a/1.jpg"), Path("/photos/b/2.jpg")]
    assert common_folder(here, [Path("/data/x/1.jpg"), Path("/data/2.jpg")]) == here
    assert common_folder(here, away) == Path("/photos")
    assert common_folder(here, [*away, Path("/data/1.jpg")]) == Path("/")
