"""Photos sorted into folders by their classes."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.images.photo import PackedPhoto
from mobilenetv2.runtime.answers import Answer
from mobilenetv2.runtime.output.sorting import LONGEST, REVIEW, PhotoFolders, folder_names
from mobilenetv2.spec.network import Outputs
from mobilenetv2.spec.records import Labels

LABELS = Labels(("hat", "shoes", "a/b"))


def answer(path: Path, *values: float, outputs: Outputs = "softmax") -> Answer:
    return Answer(np.array(values), LABELS, outputs, path)


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    found = []
    for folder, content in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / folder).mkdir()
        found.append(tmp_path / folder / "1.jpg")
        found[-1].write_bytes(content)
    return found


@pytest.mark.parametrize("links", [False, True])
def test_a_photo_goes_to_its_class_and_the_unsure_to_review(
    sources: list[Path], tmp_path: Path, links: bool
) -> None:
    out = tmp_path / "out"
    folders = PhotoFolders(out, LABELS.names, 0.6, links)
    one, two, three = sources
    folders.add(answer(one, 0.7, 0.2, 0.1), one)
    folders.add(answer(two, 0.1, 0.1, 0.8), two)
    folders.add(answer(three, 0.5, 0.4, 0.1), three)
    assert (out / "hat" / "1.jpg").read_bytes() == b"1"
    assert (out / "a_b" / "1.jpg").read_bytes() == b"2"
    assert (out / REVIEW / "1.jpg").is_symlink() == links
    assert folders.counts == {"hat": 1, "shoes": 0, "a_b": 1, REVIEW: 1}
    assert all(source.is_file() for source in sources)


@pytest.mark.parametrize("links", [False, True])
def test_another_photo_of_the_same_name_gets_a_number_and_none_is_there_twice(
    sources: list[Path], tmp_path: Path, links: bool
) -> None:
    out = tmp_path / "out"
    for _ in range(2):  # as a resumed run does
        folders = PhotoFolders(out, LABELS.names, links=links)
        for source in sources[:2]:
            folders.add(answer(source, 0.9, 0.1, 0.0), source)
    assert sorted(one.name for one in (out / "hat").iterdir()) == ["1-2.jpg", "1.jpg"]
    assert folders.counts["hat"] == 2 and folders.already == 2
    assert folders.notes() == ["note: 2 photos in the folders already"]
    assert (out / "hat" / "1-2.jpg").read_bytes() == b"2"


def test_a_photo_of_several_classes_is_in_each(sources: list[Path], tmp_path: Path) -> None:
    folders = PhotoFolders(tmp_path / "out", LABELS.names)
    folders.add(answer(sources[0], 0.9, 0.8, 0.1, outputs="sigmoid"), sources[0])
    folders.add(answer(sources[1], 0.1, 0.2, 0.1, outputs="sigmoid"), sources[1])
    assert folders.counts == {"hat": 1, "shoes": 1, "a_b": 0, REVIEW: 1}


def test_a_photo_of_an_archive_is_copied(tmp_path: Path) -> None:
    photo = PackedPhoto(tmp_path / "a.zip" / "in" / "x.jpg", lambda: b"bytes", tmp_path / "a.zip")
    for links in (False, True):
        folders = PhotoFolders(tmp_path / "out", LABELS.names, links=links)
        folders.add(answer(photo.path, 0.1, 0.9, 0.0), photo)
    assert [one.read_bytes() for one in (tmp_path / "out" / "shoes").iterdir()] == [b"bytes"]


@pytest.mark.parametrize("name", ["\u0436" * 120 + ".jpg", "a" * 250 + ".jpg"])
def test_the_longest_names_have_a_place(name: str, tmp_path: Path) -> None:
    source = tmp_path / name
    source.write_bytes(b"1")
    label = "\u0436" * 300
    folders = PhotoFolders(tmp_path / "out", (label, "b"))
    folders.add(Answer(np.array([0.9, 0.1]), Labels((label, "b")), "softmax", source), source)
    (found,) = (tmp_path / "out").rglob("*.jpg")
    assert found.read_bytes() == b"1" and len(found.name.encode()) <= LONGEST


def test_photos_in_memory_become_files(tmp_path: Path) -> None:
    picture = np.full((5, 4, 3), 200, np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", lossless=True)
    folders = PhotoFolders(tmp_path / "out", LABELS.names, links=True)
    for _ in range(2):  # as a resumed run does
        for photo in (picture, Image.fromarray(picture + 1).convert("CMYK"), file.getvalue()):
            folders.add(Answer(np.array([0.9, 0.1, 0.0]), LABELS), photo)
    found = sorted((tmp_path / "out" / "hat").iterdir())
    assert sorted(one.suffix for one in found) == [".png", ".png", ".webp"]
    for one in found:
        with Image.open(one) as image:
            assert np.abs(np.asarray(image.convert("RGB")).astype(int) - 200).max() <= 2


def test_a_picture_in_memory_is_saved_as_it_was_predicted(tmp_path: Path) -> None:
    turned = Image.new("RGB", (16, 8))
    turned.getexif()[0x0112] = 6
    deep = Image.fromarray(np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8))
    folders = PhotoFolders(tmp_path / "out", LABELS.names)
    for photo in (turned, deep):
        folders.add(Answer(np.array([0.9, 0.1, 0.0]), LABELS), photo)
    found = {}
    for path in (tmp_path / "out" / "hat").iterdir():
        with Image.open(path) as image:
            found[image.size] = np.asarray(image)
    assert found.keys() == {(8, 16), (8, 8)}
    assert len(np.unique(found[8, 8])) == 64
    folders.add(Answer(np.array([0.9, 0.1, 0.0]), LABELS), np.zeros((3, 3, 7), np.uint8))
    assert folders.missed == 1


def test_a_photo_that_is_gone_stops_nothing(sources: list[Path], tmp_path: Path) -> None:
    folders = PhotoFolders(tmp_path / "out", LABELS.names)
    sources[0].unlink()
    for source in sources[:2]:
        folders.add(answer(source, 0.9, 0.1, 0.0), source)
    assert folders.counts["hat"] == 1 and folders.missed == 1
    assert str(sources[0]) in folders.first_missed


def test_a_threshold_is_a_probability(tmp_path: Path) -> None:
    with pytest.raises(MobileNetV2Error, match=r"threshold.*from 0 to 1"):
        PhotoFolders(tmp_path, LABELS.names, 60)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("kept")
    with pytest.raises(MobileNetV2Error, match=r"notes\.txt.*folder"):
        PhotoFolders(tmp_path / "notes.txt", LABELS.names)
    assert (tmp_path / "notes.txt").read_text() == "kept"


@given(st.lists(st.text(max_size=12), min_size=1, max_size=8))
def test_names_of_folders_are_different_and_lead_nowhere_else(labels: list[str]) -> None:
    names = folder_names(labels)
    assert len({name.casefold() for name in (*names, REVIEW)}) == len(labels) + 1
    for name in names:
        assert name not in ("", ".", "..") and not set(name) & set('/\\:*?"<>|\0\n')
        assert name == name.strip(". ")


def test_names_that_systems_reserve_and_review_are_changed() -> None:
    assert folder_names(["con", "review", "../..", "NUL.txt"]) == [
        "_con", "review-2", "_", "_NUL.txt",
    ]  # fmt: skip
