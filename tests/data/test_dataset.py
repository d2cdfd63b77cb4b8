"""Datasets: layouts, splits by name, stratified splits."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenetv2.data.dataset import (
    Dataset,
    Photo,
    Split,
    find_splits,
    open_dataset,
    stratified_split,
)
from mobilenetv2.data.sources import MemorySource
from mobilenetv2.errors import DataError


def found(*names: str) -> Dataset:
    return find_splits(MemorySource("place", dict.fromkeys(names, b"")))


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
    message = r"^place: 1 photo lies outside the class folders \('(\w+/)*stray\.jpg'\); move each"
    with pytest.raises(DataError, match=message):
        found(*names)


def test_loose_photos_and_empty_class_folders_are_named_in_one_message() -> None:
    loose = [f"{number}.jpg" for number in range(7)]
    with pytest.raises(DataError) as caught:
        found("a/1.jpg", "b/", "c/", *loose)
    message = str(caught.value)
    assert "7 photos lie outside the class folders ('0.jpg', '1.jpg'," in message
    assert message.endswith(
        "add photos to the empty class folders 'b', 'c', or remove what is empty"
    )
    with pytest.raises(DataError, match=r"^place: 7 photos .* such as place/CLASS/0\.jpg$"):
        found(*loose)


@pytest.mark.parametrize("names", [(), ("a/notes.txt", "b/notes.txt")])
def test_a_place_without_photos_is_an_error(names: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"^place: no photos found; it should hold a folder"):
        found(*names)


def test_other_files_are_counted_and_photos_are_known_by_their_suffix_in_any_case() -> None:
    photos = ("a/1.JPG", "a/2.jpeg", "a/3.HEIC", "b/4.Png")
    dataset = found(*photos, "b/notes.txt", "labels.csv", "b/x")
    assert dataset.ignored == ("b/notes.txt", "b/x", "labels.csv")
    assert dataset.splits["all"].counts() == [3, 1]


@pytest.mark.parametrize(
    "tables",
    [
        {"labels.csv": "filename,label,split\na/1.jpg,a,train\nb/2.jpg,b,test\n"},
        {"train.csv": "filename,label\na/1.jpg,a\n", "test.csv": "filename,label\nb/2.jpg,b\n"},
        {"train.csv": "filename,label\n1.jpg,a\n", "test.csv": "filename,label\n2.jpg,b\n"},
    ],
)
def test_a_table_that_is_not_used_beside_class_folders_is_named(tables: dict[str, str]) -> None:
    files = {"a/1.jpg": b"", "b/2.jpg": b""} | {n: text.encode() for n, text in tables.items()}
    dataset = find_splits(MemorySource("place", files))
    assert list(dataset.splits) == ["all"]
    (note,) = dataset.notes
    assert note.startswith("not used: ") and "give it as the data" in note
    assert all(name in note for name in tables)


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
    # Without a folder of that name the final figures are from validation/.
    assert found("train/a/1.jpg", "val/a/2.jpg").split("test").name == "validation"
    with pytest.raises(DataError, match=r"^place: has no split 'test', it has: train"):
        found("train/a/1.jpg").split("test")


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


NAMES = ("train", "held out")


def split_of(*counts: int) -> Split:
    """So many photos of each class."""
    photos = tuple(
        Photo(f"{label}/{i:03}.jpg", label) for label, n in enumerate(counts) for i in range(n)
    )
    classes = tuple(f"class {label}" for label in range(len(counts)))
    return Split("all", MemorySource("place", {}), classes, photos)


def names(split: Split) -> list[str]:
    return [photo.name for photo in split.photos]


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [(0.1, [10, 1, 1, 1, 0]), (0.25, [25, 2, 1, 1, 0]), (0.5, [50, 5, 2, 1, 0])],
)
def test_every_class_gives_its_fraction_and_at_least_one_photo(
    fraction: float, expected: list[int]
) -> None:
    split = split_of(100, 10, 4, 2, 1)
    first, second = stratified_split(split, fraction, 0, NAMES, {})
    assert second.counts() == expected
    assert [a + b for a, b in zip(first.counts(), expected, strict=True)] == split.counts()
    assert (first.name, second.name) == NAMES
    assert first.classes == second.classes == split.classes


def test_a_class_of_one_photo_keeps_it_in_the_first_part_at_any_fraction() -> None:
    first, second = stratified_split(split_of(1, 2), 0.99, 0, NAMES, {})
    assert (first.counts(), second.counts()) == ([1, 1], [0, 1])


def test_the_seed_alone_decides_and_another_seed_decides_otherwise() -> None:
    split = split_of(40, 40)
    chosen = [names(stratified_split(split, 0.25, seed, NAMES, {})[1]) for seed in (5, 5, 6)]
    assert chosen[0] == chosen[1] != chosen[2]
    ordinals = [{name[2:] for name in chosen[0] if name[0] == label} for label in "01"]
    assert ordinals[0] != ordinals[1]  # not the same photos of every class


def test_the_order_in_which_photos_are_listed_decides_nothing() -> None:
    split = split_of(60, 20)  # the first class: 6 pictures, 10 copies of each
    digests = {photo.name: photo.name if photo.label else photo.name[:4] for photo in split.photos}
    expected = {photo.name for photo in stratified_split(split, 0.3, 1, NAMES, digests)[1].photos}
    shuffled = list(split.photos)
    random.Random(2).shuffle(shuffled)
    again = stratified_split(split.with_photos(tuple(shuffled)), 0.3, 1, NAMES, digests)[1]
    assert set(names(again)) == expected and len(expected) == 10 + 6
    assert names(again) == [photo.name for photo in shuffled if photo.name in expected]


def test_exact_copies_stay_together() -> None:
    split = split_of(40)
    digests = {photo.name: str(int(photo.name[2:5]) // 2) for photo in split.photos}  # pairs
    sides = set()
    for seed in range(20):
        second = set(names(stratified_split(split, 0.5, seed, NAMES, digests)[1]))
        assert len(second) == 20
        for pair in range(20):
            both = {f"0/{2 * pair:03}.jpg", f"0/{2 * pair + 1:03}.jpg"}
            assert both <= second or not both & second
            sides.add((pair, both <= second))
    assert len(sides) == 40  # every pair was seen on either side


def test_copies_in_two_classes_stay_together_too() -> None:
    split = split_of(20, 20)
    digests = {photo.name: photo.name[2:] if photo.name < "0/005" else photo.name
               for photo in split.photos}  # fmt: skip
    digests |= {f"1/{i:03}.jpg": f"{i:03}.jpg" for i in range(5)}
    for seed in range(20):
        first, second = stratified_split(split, 0.3, seed, NAMES, digests)
        assert not {digests[name] for name in names(first)} & {digests[n] for n in names(second)}
        assert second.counts() == [6, 6]


def test_many_copies_of_one_picture_do_not_swell_the_second_part() -> None:
    split = split_of(20)
    digests = {name: "same" if name < "0/010" else name for name in names(split)}
    for seed in range(10):
        second = stratified_split(split, 0.25, seed, NAMES, digests)[1]
        assert len(second) == 5 and "0/000.jpg" not in names(second)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=4),
    st.floats(0.01, 0.99), st.integers(0, 2**32), st.integers(1, 40),
)  # fmt: skip
def test_every_photo_is_in_exactly_one_part_and_no_class_is_emptied(
    counts: list[int], fraction: float, seed: int, pictures: int
) -> None:
    split = split_of(*counts)
    digests = {p.name: f"{i % pictures}" for i, p in enumerate(split.photos)}
    first, second = stratified_split(split, fraction, seed, NAMES, digests)
    assert not set(names(first)) & set(names(second))
    assert sorted(names(first) + names(second)) == sorted(names(split))
    assert not {digests[name] for name in names(first)} & {digests[n] for n in names(second)}
    for whole, kept, taken in zip(counts, first.counts(), second.counts(), strict=True):
        assert kept >= min(whole, 1)
        assert taken <= max(1, round(fraction * whole))
