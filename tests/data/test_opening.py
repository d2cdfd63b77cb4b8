"""Opening of folders, archives, and folders of archives; every photo is accounted for."""

import os
import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mobilenetv2.data.dataset import Dataset, open_dataset
from mobilenetv2.data.names import is_photo
from mobilenetv2.data.opening import find_photos, open_source
from mobilenetv2.errors import DataError
from mobilenetv2.text import escaped

Pack = Callable[[str, Mapping[str, bytes]], Path]
FOUR = {"train/a/1.jpg": b"1", "train/b/2.jpg": b"2", "test/a/3.jpg": b"3", "test/b/4.jpg": b"4"}


def test_a_folder_of_archives_is_its_splits_or_its_only_archive(tmp_path: Path, pack: Pack) -> None:
    for name, kind in (("training_set", "zip"), ("seg_test", "tar")):
        inside = pack(kind, {"hat/1.jpg": b"1", "shoes/2.jpg": b"2"})
        shutil.copy(inside, tmp_path / f"{name}.{kind}")
    (tmp_path / ".DS_Store").write_bytes(b"")
    assert list(open_dataset(tmp_path).splits) == ["train", "test"]
    (tmp_path / "one").mkdir()
    shutil.copy(pack("zip", FOUR), tmp_path / "one" / "kaggle.zip")
    assert list(open_dataset(tmp_path / "one").splits) == ["train", "test"]


def test_archives_that_are_not_unpacked_are_named(tmp_path: Path, pack: Pack) -> None:
    inner = pack("zip", {"hat/1.jpg": b"1"}).read_bytes()
    for files in ({"hat.zip": inner, "shoes.zip": inner}, {"x/hat.zip": inner, "x/b.tar": b""}):
        with pytest.raises(
            DataError, match=r"no photos found; .*archives, which have to be unpacked"
        ):
            open_dataset(pack("folder", files))
    with pytest.raises(DataError, match=r"have to be unpacked: train\.zip\)"):
        open_dataset(pack("zip", {"train.zip": inner}))


def test_patterns_are_passed_over_in_folders_and_archives(pack: Pack) -> None:
    files = FOUR | {"extra/a/5.jpg": b"", "train/a/raw/6.jpg": b"", "train/b/x.raw.jpg": b""}
    for kind in ("folder", "zip", "tar"):
        dataset = open_dataset(pack(kind, files), ["extra", "train/*/raw", "*.raw.*", "never"])
        assert sum(map(len, dataset.splits.values())) == 4
        assert "passed over, as a pattern says: 3 (first: " in " ".join(dataset.notes)
        assert "nothing has a name such as 'never'" in dataset.notes[-1]


def test_an_archive_beside_split_folders_is_said_not_to_be_read(pack: Pack) -> None:
    (note,) = open_dataset(pack("folder", FOUR | {"val.zip": b""})).notes
    assert note == "not read, since folders of photos are there: val.zip; unpack what belongs"


@pytest.mark.parametrize(
    ("opened", "others"),
    [
        (["train.zip"], ["extra.tar", "labels.csv"]),
        (["images.zip"], ["labels.csv", "more.jsonl"]),
        (["test.zip", "train.zip"], ["extra.zip"]),
        (["train.zip"], []),
    ],
)
def test_what_stands_beside_opened_archives_is_said(
    pack: Pack, tmp_path: Path, opened: list[str], others: list[str]
) -> None:
    inside = pack("zip", {"hat/1.jpg": b"1", "shoes/2.jpg": b"2"})
    for name in opened:
        shutil.copy(inside, tmp_path / name)
    for name in (*others, "README.md", ".hidden.zip"):
        (tmp_path / name).write_bytes(b"")
    found = [note for note in open_dataset(tmp_path).notes if "not opened" in note]
    assert len(found) == bool(others)
    for note in found:
        assert all(name in note.partition(", beside ")[0] for name in others)
        assert all(name in note.partition(", beside ")[2] for name in opened)
        assert "README" not in note and "hidden" not in note


def test_photos_in_junk_are_not_found(pack: Pack, capsys: pytest.CaptureFixture[str]) -> None:
    place = pack("folder", {"a/1.jpg": b"", "a/@eaDir/1.jpg/T.jpg": b"", "a/raw/2.jpg": b""})
    assert find_photos([place]) == [place / "a/1.jpg", place / "a/raw/2.jpg"]
    assert "hidden or made by a system: 1 (first: a/@eaDir/)" in capsys.readouterr().err
    assert find_photos([place], ["raw"]) == [place / "a/1.jpg"]


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_no_text_is_escaped_and_its_file_is_read(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xe9t\xe9.jpg")
    for folder, name in (("a", odd), ("a", "\\xe9t.jpg"), (os.fsdecode(b"\xff"), "1.jpg")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(escaped(name).encode())
    dataset = open_dataset(tmp_path)
    assert dataset.classes == (r"\xff", "a")
    (split,) = dataset.splits.values()
    names = [photo.name for photo in split.photos]
    assert names == [r"\xff/1.jpg", r"a/\x5cxe9t.jpg", r"a/\xe9t\xe9.jpg"]
    assert [split.source.read(name).decode() for name in names] == [n.split("/")[1] for n in names]
    assert tmp_path / "a" / odd in find_photos([tmp_path])


FOLDERS = ("a", "b", "hat", "images", "train", "test", "val", "training_set", "seg_test", "pred",
           "@eaDir", ".hidden", "raw", "C:", "ü", os.fsdecode(b"\xe9"))  # fmt: skip


def make(seed: int, root: Path) -> tuple[Path, set[str]]:
    """A random folder or archive, and the names of all its photos, escaped."""
    chosen = random.Random(seed)
    levels = [chosen.sample(FOLDERS, chosen.randint(1, 4)) for _ in range(chosen.randint(1, 3))]
    names = set[str]()
    for number in range(chosen.randint(1, 12)):
        depth = len(levels) if chosen.random() < 0.9 else chosen.randint(0, len(levels))
        suffix = chosen.choice((".jpg", ".JPG", ".png", ".txt"))
        parts = [*(chosen.choice(level) for level in levels[:depth]), f"{number}{suffix}"]
        names.add("/".join(parts))
    kind = chosen.choice(("folder", "zip", "tar", "tar.gz"))
    place = root / f"{seed}.{kind}"
    if kind == "folder":
        for name in sorted(names):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(b"")
        for number in range(chosen.randint(0, 2)):  # to a file, a folder, a loop or nothing
            name = f"{chosen.choice(sorted(names)).rpartition('/')[0]}/link{number}.jpg".lstrip("/")
            target = place / chosen.choice([*sorted(names), *(n.rpartition("/")[0] for n in names)])
            (place / name).symlink_to(chosen.choice((target, place, root / "none")))
            names |= {name} if (place / name).is_file() else set()
    elif kind == "zip":
        with zipfile.ZipFile(place, "w") as archive:
            for name in sorted(names):
                spelt = escaped(name).replace("/", "\\") if seed % 3 == 0 else escaped(name)
                archive.writestr(spelt.replace("\\x", "_x"), b"")
        names = {escaped(name).replace("\\x", "_x") for name in names}
    else:
        with tarfile.open(place, "w:gz" if kind == "tar.gz" else "w") as tar:
            for name in sorted(names):
                tar.addfile(tarfile.TarInfo(name))
    return place, {escaped(name) for name in names if is_photo(name)}


def accounted(dataset: Dataset, photos: set[str]) -> None:
    """Every photo is in one class of one split, or named as left out or passed over."""
    used = [photo.name for split in dataset.splits.values() for photo in split.photos]
    assert len(used) == len(set(used))
    passed = [name for names in dataset.passed.names.values() for name in names]
    named = {*used, *dataset.left_out, *passed}
    for name in photos - named:
        parts = name.removeprefix("C:/").split("/")  # in an archive, a drive is no folder
        whole = (name.split("/"), parts)
        above = {f"{'/'.join(p[:depth])}/" for p in whole for depth in range(1, len(p))}
        assert above & named or "/".join(parts) in named, name
    if dataset.left_out:
        assert any(note.startswith("left out: ") for note in dataset.notes)
    for split in dataset.splits.values():
        for photo in split.photos:
            assert dataset.classes[photo.label] in photo.name.split("/")


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
@pytest.mark.parametrize(
    "first, count", [(0, 100), pytest.param(100, 2000, marks=pytest.mark.slow)]
)
def test_every_photo_of_random_folders_and_archives_is_accounted_for(
    tmp_path: Path, first: int, count: int
) -> None:
    errors = 0
    for seed in range(first, first + count):
        place, photos = make(seed, tmp_path)
        try:
            dataset = open_dataset(place, ["raw"])
        except DataError as error:
            assert str(error).startswith(f"{place}: ")
            errors += 1
        else:
            accounted(dataset, photos)
            source = open_source(place)
            assert all(source.read(name) == b"" for name in source.names() if is_photo(name))
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    assert 0.1 * count < errors < 0.8 * count
