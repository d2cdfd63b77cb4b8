import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenetv2.data.dataset import Photo, Split
from mobilenetv2.data.partition import partition
from mobilenetv2.data.sources import MemorySource

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
    first, second = partition(split, fraction, 0, NAMES, {})
    assert second.counts() == expected
    assert [a + b for a, b in zip(first.counts(), expected, strict=True)] == split.counts()
    assert (first.name, second.name) == NAMES
    assert first.classes == second.classes == split.classes


def test_a_class_of_one_photo_keeps_it_in_the_first_part_at_any_fraction() -> None:
    first, second = partition(split_of(1, 2), 0.99, 0, NAMES, {})
    assert (first.counts(), second.counts()) == ([1, 1], [0, 1])


def test_the_seed_alone_decides_and_another_seed_decides_otherwise() -> None:
    split = split_of(40, 40)
    chosen = [names(partition(split, 0.25, seed, NAMES, {})[1]) for seed in (5, 5, 6)]
    assert chosen[0] == chosen[1] != chosen[2]
    ordinals = [{name[2:] for name in chosen[0] if name[0] == label} for label in "01"]
    assert ordinals[0] != ordinals[1]  # not the same photos of every class


def test_the_order_in_which_photos_are_listed_decides_nothing() -> None:
    split = split_of(60, 20)  # the first class: 6 pictures, 10 copies of each
    digests = {photo.name: photo.name if photo.label else photo.name[:4] for photo in split.photos}
    expected = {photo.name for photo in partition(split, 0.3, 1, NAMES, digests)[1].photos}
    shuffled = list(split.photos)
    random.Random(2).shuffle(shuffled)
    again = partition(split.with_photos(tuple(shuffled)), 0.3, 1, NAMES, digests)[1]
    assert set(names(again)) == expected and len(expected) == 10 + 6
    assert names(again) == [photo.name for photo in shuffled if photo.name in expected]


def test_exact_copies_stay_together() -> None:
    split = split_of(40)
    digests = {photo.name: str(int(photo.name[2:5]) // 2) for photo in split.photos}  # pairs
    sides = set()
    for seed in range(20):
        second = set(names(partition(split, 0.5, seed, NAMES, digests)[1]))
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
        first, second = partition(split, 0.3, seed, NAMES, digests)
        assert not {digests[name] for name in names(first)} & {digests[n] for n in names(second)}
        assert second.counts() == [6, 6]


def test_many_copies_of_one_picture_do_not_swell_the_second_part() -> None:
    split = split_of(20)
    digests = {name: "same" if name < "0/010" else name for name in names(split)}
    for seed in range(10):
        second = partition(split, 0.25, seed, NAMES, digests)[1]
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
    first, second = partition(split, fraction, seed, NAMES, digests)
    assert not set(names(first)) & set(names(second))
    assert sorted(names(first) + names(second)) == sorted(names(split))
    assert not {digests[name] for name in names(first)} & {digests[n] for n in names(second)}
    for whole, kept, taken in zip(counts, first.counts(), second.counts(), strict=True):
        assert kept >= min(whole, 1)
        assert taken <= max(1, round(fraction * whole))
