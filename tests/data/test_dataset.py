from collections.abc import Callable
from pathlib import Path

import pytest

from mobilenetv2.data.dataset import Dataset, lay_out, open_dataset
from mobilenetv2.data.sources import MemorySource
from mobilenetv2.errors import DataError


def found(*names: str) -> Dataset:
    return lay_out(MemorySource("place", dict.fromkeys(names, b"")))


def test_a_class_that_only_one_split_has_is_a_class_of_all() -> None:
    dataset = found("train/a/1.jpg", "train/c/2.jpg", "test/b/3.jpg")
    assert dataset.splits["train"].classes == dataset.classes == ("a", "b", "c")
    assert [split.counts() for split in dataset.splits.values()] == [[1, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize(
    "names",
    [
        ("a/1.jpg", "b/2.jpg", "stray.jpg"),
        ("train/a/1.jpg", "train/b/1.jpg", "train/stray.jpg"),
        ("train/a/1.jpg", "train/b/1.jpg", "stray.jpg"),
        ("train/a/1.jpg", "train/b/1.jpg", "other/a/stray.jpg"),
        ("w/train/a/1.jpg", "w/train/b/1.jpg", "w/other/a/stray.jpg"),
        ("stray.jpg",),
    ],
)
def test_a_photo_outside_the_class_folders_is_named(names: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"^place/(\w+/)*stray\.jpg: this photo lies outside"):
        found(*names)


@pytest.mark.parametrize("names", [(), ("a/notes.txt", "b/notes.txt")])
def test_a_place_without_photos_is_an_error(names: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"^place: no photos found; it should hold a folder"):
        found(*names)


def test_other_files_are_counted_and_photos_are_known_by_their_suffix_in_any_case() -> None:
    photos = ("a/1.JPG", "a/2.jpeg", "a/3.HEIC", "b/4.Png")
    dataset = found(*photos, "b/notes.txt", "labels.csv", "b/x")
    assert dataset.ignored == ("b/notes.txt", "b/x", "labels.csv")
    assert dataset.splits["all"].counts() == [3, 1]


def test_photos_come_by_class_and_then_by_name_whatever_the_order_on_the_disk() -> None:
    names = ["b/9.jpg", "a/b/1.jpg", "a/2.jpg", "a/10.jpg", "B/1.jpg", "a-b/1.jpg"]
    expected = ["B/1.jpg", "a/10.jpg", "a/2.jpg", "a/b/1.jpg", "a-b/1.jpg", "b/9.jpg"]
    for order in (names, names[::-1], names[3:] + names[:3]):
        assert [photo.name for photo in found(*order).splits["all"].photos] == expected


def test_a_split_is_chosen_by_any_of_its_names_and_else_test_before_validation() -> None:
    dataset = found("train/a/1.jpg", "val/a/2.jpg", "test/a/3.jpg")
    assert dataset.split(None).name == dataset.split("testing").name == "test"
    assert dataset.split("val").name == dataset.split("validation").name == "validation"
    assert found("train/a/1.jpg", "val/a/2.jpg").split(None).name == "validation"
    assert found("train/a/1.jpg").split(None).name == "train"
    assert found("a/1.jpg").split(None).name == "all"
    with pytest.raises(DataError, match=r"^place: has no split 'test', it has: train, validation"):
        found("train/a/1.jpg", "val/a/2.jpg").split("test")


def test_a_split_with_other_photos_keeps_its_classes_and_may_take_a_name() -> None:
    split = found("a/1.jpg", "b/2.jpg").splits["all"]
    part = split.with_photos(split.photos[1:], "part")
    assert (len(part), part.name, part.classes, part.counts()) == (1, "part", ("a", "b"), [0, 1])
    assert split.with_photos(()).name == "all"
    assert split.full_name(split.photos[0]) == "place/a/1.jpg"


def test_real_photos_of_clothes_are_found_and_decode(public_folder: Callable[[str], Path]) -> None:
    dataset = open_dataset(public_folder("clothing"))
    assert {name: len(split) for name, split in dataset.splits.items()} == {
        "train": 3068, "validation": 341,
    }  # fmt: skip
    assert (len(dataset.classes), dataset.classes[0], dataset.ignored) == (10, "dress", ())
    split = dataset.split(None)
    image = split.image(split.photos[0])
    assert image.mode == "RGB" and min(image.size) >= 100
