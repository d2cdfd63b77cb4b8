"""Held pictures: the same views as one at a time, bit for bit."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image

from mobilenetv2.data.augment import Augmentation, augment, generator
from mobilenetv2.data.dataset import Split, lay_out
from mobilenetv2.data.small import hold, worthwhile
from mobilenetv2.data.sources import MemorySource
from mobilenetv2.errors import ImageError
from mobilenetv2.spec.records import Preprocessing

COLOUR = Preprocessing(size=(32, 32), resize=(32, 32))
GREY = Preprocessing(size=(32, 32), resize=(36, 36), mean=(118.0,), std=(57.0,))


def photo(index: int, size: tuple[int, int]) -> bytes:
    pixels = np.random.default_rng(index).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def split(count: int = 12, size: tuple[int, int] = (32, 32)) -> Split:
    files = {f"{'ab'[index % 2]}/{index}.png": photo(index, size) for index in range(count)}
    return lay_out(MemorySource("memory", files)).splits["all"]


SPLIT = split()


def one_by_one(
    photos: Split, how: Augmentation, record: Preprocessing, size: tuple[int, int],
    indices: list[int], seed: int, epoch: int,
) -> np.ndarray:  # fmt: skip
    return np.stack([
        augment(photos.image(photos.photos[i]), how, record, size, generator(seed, epoch, i))
        for i in indices
    ])  # fmt: skip


HOWS: list[dict[str, Any]] = [
    {"crop": "none"},
    {"crop": "none", "flip": False},
    *({"crop": "shifted", "border": border} for border in ("edge", "reflection", "black")),
    {"crop": "shifted", "flip": False},
    {"crop": "shifted", "jitter": 0.3},
    {"crop": "shifted", "policy": "randaugment", "operations": 2, "magnitude": 15},
    {"crop": "shifted", "policy": "trivialaugment", "border": "reflection"},
    {"crop": "shifted", "erasing": 0.5},
    {"crop": "none", "jitter": 0.2, "policy": "trivialaugment", "erasing": 0.7},
]


@pytest.mark.parametrize("how", HOWS, ids=lambda how: "-".join(map(str, how.values())))
@pytest.mark.parametrize("record", [COLOUR, GREY], ids=["colour", "grey"])
@pytest.mark.parametrize("size", [(32, 32), (24, 40), (7, 9)])
def test_views_are_those_of_augment_bit_for_bit(
    how: dict[str, Any], record: Preprocessing, size: tuple[int, int]
) -> None:
    augmentation = Augmentation(**{"jitter": 0.0, **how})
    held = hold(SPLIT, augmentation, record, size)
    assert len(held) == len(SPLIT)
    indices = [5, 0, 11, 5, 3]  # in any order, and more than once
    for epoch in (0, 3):
        views = held.views(np.array(indices), 9, epoch)
        assert views.dtype == np.uint8 and views.shape == (5, *size, record.channels)
        expected = one_by_one(SPLIT, augmentation, record, size, indices, 9, epoch)
        assert_array_equal(views, expected)


HELD = hold(SPLIT, Augmentation("shifted", jitter=0.0), COLOUR, (32, 32))


@given(
    st.lists(st.integers(0, 11), min_size=0, max_size=20), st.integers(0, 2**63 - 1),
    st.integers(0, 10_000),
)  # fmt: skip
def test_a_view_does_not_depend_on_its_batch(indices: list[int], seed: int, epoch: int) -> None:
    views = HELD.views(np.array(indices, np.int64), seed, epoch)
    assert views.shape == (len(indices), 32, 32, 3)
    for view, index in zip(views, indices, strict=True):
        assert_array_equal(view, HELD.views(np.array([index]), seed, epoch)[0])


def test_views_really_move_and_are_mirrored() -> None:
    views = HELD.views(np.zeros(300, np.int64), 0, 0)
    assert len({view.tobytes() for view in views}) == 1  # one photo, one epoch: one view
    seen = {HELD.views(np.array([0]), 0, epoch).tobytes() for epoch in range(300)}
    # 9 x 9 places, two ways round: of 162 views 300 draws miss a sixth.
    assert 115 < len(seen) <= 162


def test_threads_may_share_it() -> None:
    together = threading.Barrier(4, timeout=20)
    indices = np.arange(12)
    expected = HELD.views(indices, 1, 1)

    def work(_: int) -> bool:
        together.wait()
        return all(np.array_equal(HELD.views(indices, 1, 1), expected) for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_larger_photos_are_held_at_the_size_of_the_views() -> None:
    photos = split(4, (90, 60))
    how = Augmentation("shifted", jitter=0.0)
    held = hold(photos, how, COLOUR, (32, 32))
    assert held.held.shape == (4, 40, 40, 3)
    assert_array_equal(
        held.views(np.arange(4), 0, 0),
        one_by_one(photos, how, COLOUR, (32, 32), [0, 1, 2, 3], 0, 0),
    )


@pytest.mark.parametrize("crop, bytes_", [("shifted", 40 * 40 * 3), ("none", 32 * 32 * 3)])
def test_what_does_not_fit_is_told_beforehand(crop: Any, bytes_: int) -> None:
    how = Augmentation(crop)
    assert worthwhile(100, how, COLOUR, (32, 32), 100 * bytes_)
    assert not worthwhile(100, how, COLOUR, (32, 32), 100 * bytes_ - 1)
    assert hold(SPLIT, how, COLOUR, (32, 32)).held.nbytes == 12 * bytes_


def test_resized_crops_are_not_made_here() -> None:
    assert not worthwhile(1, Augmentation("resized"), COLOUR, (32, 32))
    with pytest.raises(ValueError, match="ask worthwhile"):
        hold(SPLIT, Augmentation("resized"), COLOUR, (32, 32))


def test_a_photo_that_cannot_be_read_is_named() -> None:
    files = {"a/1.png": photo(1, (32, 32)), "b/2.png": b"not a picture"}
    photos = lay_out(MemorySource("memory", files)).splits["all"]
    with pytest.raises(ImageError, match=r"memory/b/2\.png"):
        hold(photos, Augmentation("none"), COLOUR, (32, 32))
