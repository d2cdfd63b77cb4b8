"""WebDataset's archives without an index: labels beside the photos."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

import mobilenetv2 as mn
from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.data.shards.foreign import key_of
from mobilenetv2.errors import DataError


def tar(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def samples(labels: list[str | None], ending: str = "cls") -> dict[str, bytes]:
    made = {}
    for number, label in enumerate(labels):
        made[f"{number:05}.jpg"] = f"photo {number}".encode()
        if label is not None:
            made[f"{number:05}.{ending}"] = label.encode()
    return made


def counts(place: Path) -> dict[str, dict[str, int]]:
    return {name: split.counts for name, split in mn.data_info(place).splits.items()}


def test_numbers_and_names_of_classes(tmp_path: Path) -> None:
    assert counts(tar(tmp_path / "a.tar", samples(["0", "1", "1\n"]))) == {"all": {"0": 1, "1": 2}}
    found = counts(tar(tmp_path / "train-1.tar", samples(["hat", "shoe", "shoe"])))
    assert found == {"train": {"hat": 1, "shoe": 2}}


@pytest.mark.parametrize("key", ["label", "cls", "class_name"])
def test_labels_in_json(tmp_path: Path, key: str) -> None:
    labels: list[str | None] = [json.dumps({"width": 5, key: one}) for one in (3, "4")]
    found = counts(tar(tmp_path / "a.tar", samples(labels, "json")))
    assert found == {"all": {"3": 1, "4": 1}}


def test_a_folder_of_archives_is_one_set_with_splits_by_their_names(tmp_path: Path) -> None:
    for name, labels in (
        ("some-train-0000", ["a", "b"]), ("some-train-0001", ["a"]), ("some-val-0000", ["b"])
    ):  # fmt: skip
        tar(tmp_path / "set" / f"{name}.tar", samples([*labels]))
    assert counts(tmp_path / "set") == {
        "train": {"a": 2, "b": 1}, "validation": {"a": 0, "b": 1},
    }  # fmt: skip
    split = open_dataset(tmp_path / "set").splits["validation"]
    assert split.source.read(split.photos[0].name) == b"photo 0"


def test_shards_without_their_index_are_read_as_such(tmp_path: Path, photos: Path) -> None:
    mn.shard(photos, tmp_path / "shards")
    expected = mn.data_info(tmp_path / "shards").splits["all"].counts
    (tmp_path / "shards" / "index.json").unlink()
    found = mn.data_info(tmp_path / "shards").splits["all"].counts
    assert [*found.values()] == [*expected.values()] and [*found] == ["0", "1", "2"]
    again = mn.shard(tmp_path / "shards", tmp_path / "indexed")
    assert again.photos == sum(expected.values())


def test_photos_without_a_label_are_named(tmp_path: Path) -> None:
    files = samples(["a", None, "b"])
    dataset = open_dataset(tar(tmp_path / "a.tar", files))
    assert dataset.left_out == ("00001.jpg",)
    assert any("1 photo without a label left out" in note for note in dataset.notes)


def test_class_folders_in_a_tar_stay_class_folders(tmp_path: Path) -> None:
    files = {"hat/1.jpg": b"1", "shoe/2.jpg": b"2", "notes.json": b"{}"}
    assert counts(tar(tmp_path / "a.tar", files)) == {"all": {"hat": 1, "shoe": 1}}


@pytest.mark.parametrize(
    ("data", "ending", "said"),
    [
        (b"\xff", "cls", "no number or name"),
        (b"", "cls", "no number or name"),
        (b"a\nb", "cls", "no number or name"),
        (b"a" * 100_000, "cls", "so it is no label"),
        (b"{", "json", "00000.json"),
        (b"[" * 100_000, "json", "so it is no label"),
    ],
)
def test_damaged_labels_are_named(tmp_path: Path, data: bytes, ending: str, said: str) -> None:
    path = tar(tmp_path / "a.tar", {"00000.jpg": b"x", f"00000.{ending}": data})
    with pytest.raises(DataError, match=said):
        open_dataset(path)


def test_a_key_ends_at_the_first_dot_of_the_last_part() -> None:
    assert key_of("a.b/c.seg.png") == "a.b/c" and key_of("x.jpg") == "x"
