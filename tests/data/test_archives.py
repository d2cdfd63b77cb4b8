"""Archives named after splits, in one folder."""

import shutil
import zipfile
from pathlib import Path

import pytest

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.errors import DataError


@pytest.fixture
def unpacked(photos: Path, tmp_path: Path) -> Path:
    """The photos as train/ and test/."""
    for name in ("train", "test"):
        shutil.copytree(photos, tmp_path / "unpacked" / name)
    return tmp_path / "unpacked"


def pack(source: Path, target: Path, folder: str = "") -> None:
    target.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(source.rglob("*")):
            if path.is_file():
                archive.write(path, folder + path.relative_to(source).as_posix())


@pytest.mark.parametrize("folder", ["", "{}/", "cifar10-{}/", "cifar10/{}/"])
def test_they_are_read_as_if_unpacked(unpacked: Path, tmp_path: Path, folder: str) -> None:
    packed = tmp_path / "packed"
    for name in ("train", "test"):
        pack(unpacked / name, packed / f"{name}.zip", folder.format(name))
    (packed / "README.txt").write_text("where it comes from")
    expected, found = open_dataset(unpacked), open_dataset(packed)
    assert found.classes == expected.classes and list(found.splits) == ["train", "test"]
    for name, split in expected.splits.items():
        assert [p.name for p in found.splits[name].photos] == [p.name for p in split.photos]
        photo = split.photos[5]
        assert found.splits[name].source.read(photo.name) == split.source.read(photo.name)
        assert found.splits[name].image(photo).tobytes() == split.image(photo).tobytes()


def test_a_folder_of_photos_stays_one(unpacked: Path) -> None:
    pack(unpacked / "test", unpacked / "test.zip")
    found = open_dataset(unpacked)
    assert list(found.splits) == ["train", "test"] and len(found.ignored) == 1


def test_a_damaged_archive_is_named(unpacked: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    pack(unpacked / "train", packed / "train.zip")
    (packed / "test.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"test\.zip: damaged zip archive"):
        open_dataset(packed)


def test_a_licence_beside_the_classes_and_other_archives_change_nothing(
    unpacked: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "packed"
    for name in ("train", "test"):
        pack(unpacked / name, packed / f"{name}.zip", f"{name}/")
        with zipfile.ZipFile(packed / f"{name}.zip", "a") as archive:
            archive.writestr("LICENSE.txt", "free")
    (packed / "notes.zip").write_bytes(b"")
    found = open_dataset(packed)
    assert found.classes == ("ball", "box", "triangle") and len(found.ignored) == 2


def test_two_archives_of_one_split_are_an_error(unpacked: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    pack(unpacked / "train", packed / "train.zip")
    (packed / "Train.tar").write_bytes(b"")
    with pytest.raises(DataError, match="has several archives named 'train'; keep one of them"):
        open_dataset(packed)
