"""Caches: the same views whatever is held."""

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
from mobilenetv2.data.caches import ResizedCache, cache_images, fits_in_memory, shrink
from mobilenetv2.data.dataset import Split, find_splits
from mobilenetv2.data.sources import MemorySource
from mobilenetv2.errors import ImageError
from mobilenetv2.spec.records import Preprocessing

RECORD = Preprocessing(size=(64, 64), resize=(64, 64))
SIDE = 82


def natural(seed: int, width: int, height: int) -> Image.Image:
    """As photos are: the finer a detail, the weaker it is (one over the frequency)."""
    random = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    frequency = np.maximum(np.hypot(rows, columns), 1 / max(width, height))
    channels = []
    for _ in range(3):
        noise = np.fft.fft2(random.normal(size=(height, width)))
        channel = np.fft.ifft2(noise / frequency).real
        channels.append(128 + 50 * channel / channel.std())
    return Image.fromarray(np.stack(channels, -1).clip(0, 255).round().astype(np.uint8))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


class Counting(MemorySource):
    """Says how often a file was read."""

    reads = 0

    def read(self, name: str) -> bytes:
        self.reads += 1
        return super().read(name)


FILES = {f"{'ab'[i % 2]}/{i}.png": png(natural(i, 150 + 10 * i, 120)) for i in range(6)}


def counted_split() -> tuple[Counting, Split]:
    source = Counting("memory", FILES)
    return source, find_splits(source).splits["all"]


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 100))
def test_the_shorter_side_is_as_asked_and_the_shape_stays(w: int, h: int, side: int) -> None:
    image = Image.new("RGB", (w, h))
    small = shrink(image, side)
    if min(w, h) <= side:
        assert small is image
    else:
        assert min(small.size) == side
        scale = side / min(w, h)
        assert max(small.size) == pytest.approx(scale * max(w, h), abs=0.51)


def test_views_of_the_whole_differ_by_a_few_levels() -> None:
    how = Augmentation("none", flip=False, jitter=0.0)
    for seed in range(12):
        photo = natural(seed, 420, 320)  # four times what is kept
        whole, made, crude = (
            augment(image, how, RECORD, (64, 64), generator(0, 0, 0)).astype(int)
            for image in (photo, shrink(photo, SIDE), shrink(photo, SIDE // 2))
        )
        # Of 255 levels, over the view. On 60 photos of clothes crops differ by 0.8, at worst 4.5.
        assert np.abs(made - whole).mean() < 2.5
        assert np.abs(crude - whole).mean() > 5  # the bound tells something


def test_a_crop_shows_the_same_part_within_a_pixel_of_the_smaller_photo() -> None:
    # Pixels that say where they are: red along x, green along y, both from 0 to 255.
    rows, columns = np.mgrid[:320, :420]
    where = np.stack([columns / 419 * 255, rows / 319 * 255, 0 * rows], -1).round()
    photo = Image.fromarray(where.astype(np.uint8))
    small, how = shrink(photo, SIDE), Augmentation("resized", jitter=0.0)
    pixel = 255 / np.array([small.width, small.height])
    same = 0
    for seed in range(400):
        large, made = (
            augment(image, how, RECORD, (64, 64), generator(0, seed, 0)).astype(int)[..., :2]
            for image in (photo, small)
        )
        same += bool((np.abs(made - large).max((0, 1)) < 1.5 * pixel + 1).all())
    # Where a drawn part only just fits, it does in one and does not in the other, and another
    # part, as random, is drawn.
    assert same >= 380


@pytest.mark.parametrize("limit", [0, 90_000, 10**9])
def test_what_is_held_changes_no_view_and_memory_is_bounded(limit: int) -> None:
    source, photos = counted_split()
    shrunk = ResizedCache(photos, SIDE, limit=limit)
    expected = [np.asarray(shrink(photos.image(photo), SIDE)) for photo in photos.photos]
    source.reads = 0
    for _ in range(3):
        for photo, pixels in zip(photos.photos, expected, strict=True):
            image = shrunk.image(photo)
            assert image.mode == "RGB"
            assert_array_equal(np.asarray(image), pixels)
            assert shrunk.bytes <= limit
    bytes_, held = 0, 0
    for pixels in expected:  # the first that came, and those that still fit beside them
        if bytes_ + pixels.nbytes <= limit:
            bytes_, held = bytes_ + pixels.nbytes, held + 1
    assert (len(shrunk._held), shrunk.bytes) == (held, bytes_)
    assert held == {0: 0, 90_000: 3, 10**9: 6}[limit]
    assert source.reads == held + 3 * (6 - held)  # those that are held are read once


def test_a_caller_who_draws_on_a_photo_does_not_change_the_next_one() -> None:
    _, photos = counted_split()
    shrunk = ResizedCache(photos, SIDE)
    for _ in range(3):
        image = shrunk.image(photos.photos[0])
        before = np.asarray(image).copy()
        image.paste((1, 2, 3), (0, 0, 40, 40))
        assert_array_equal(np.asarray(shrunk.image(photos.photos[0])), before)


def test_threads_that_want_one_photo_count_it_once() -> None:
    together = threading.Barrier(6, timeout=20)

    class Slow(MemorySource):
        def read(self, name: str) -> bytes:
            together.wait()  # all six have found that it is not held
            return super().read(name)

    photos = find_splits(Slow("memory", FILES)).splits["all"]
    shrunk = ResizedCache(photos, SIDE)
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(shrunk.image, [photos.photos[2]] * 6))
    assert len({image.tobytes() for image in made}) == 1
    assert len(shrunk._held) == 1 and shrunk.bytes == len(made[0].tobytes())


def test_an_unreadable_photo_is_named_and_not_held() -> None:
    photos = find_splits(MemorySource("memory", {"a/1.png": b"no picture", "b/2.png": b""})).splits
    shrunk = ResizedCache(photos["all"], SIDE)
    for _ in range(2):
        with pytest.raises(ImageError, match=r"memory/a/1\.png"):
            shrunk.image(photos["all"].photos[0])
    assert len(shrunk._held) == 0 and shrunk.bytes == 0


COLOUR = Preprocessing(size=(32, 32), resize=(32, 32))
GREY = Preprocessing(size=(32, 32), resize=(36, 36), mean=(118.0,), std=(57.0,))


def photo(index: int, size: tuple[int, int]) -> bytes:
    pixels = np.random.default_rng(index).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def split(count: int = 12, size: tuple[int, int] = (32, 32)) -> Split:
    files = {f"{'ab'[index % 2]}/{index}.png": photo(index, size) for index in range(count)}
    return find_splits(MemorySource("memory", files)).splits["all"]


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
    held = cache_images(SPLIT, augmentation, record, size)
    assert len(held.held) == len(SPLIT)
    indices = [5, 0, 11, 5, 3]  # in any order, and more than once
    for epoch in (0, 3):
        views = held.views(np.array(indices), 9, epoch)
        assert views.dtype == np.uint8 and views.shape == (5, *size, record.channels)
        expected = one_by_one(SPLIT, augmentation, record, size, indices, 9, epoch)
        assert_array_equal(views, expected)


HELD = cache_images(SPLIT, Augmentation("shifted", jitter=0.0), COLOUR, (32, 32))


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
    held = cache_images(photos, how, COLOUR, (32, 32))
    assert held.held.shape == (4, 40, 40, 3)
    assert_array_equal(
        held.views(np.arange(4), 0, 0),
        one_by_one(photos, how, COLOUR, (32, 32), [0, 1, 2, 3], 0, 0),
    )


@pytest.mark.parametrize("crop, bytes_", [("shifted", 40 * 40 * 3), ("none", 32 * 32 * 3)])
def test_what_does_not_fit_is_told_beforehand(crop: Any, bytes_: int) -> None:
    how = Augmentation(crop)
    assert fits_in_memory(100, how, COLOUR, (32, 32), 100 * bytes_)
    assert not fits_in_memory(100, how, COLOUR, (32, 32), 100 * bytes_ - 1)
    assert cache_images(SPLIT, how, COLOUR, (32, 32)).held.nbytes == 12 * bytes_


def test_resized_crops_are_not_made_here() -> None:
    assert not fits_in_memory(1, Augmentation("resized"), COLOUR, (32, 32))
    with pytest.raises(ValueError, match="call fits_in_memory"):
        cache_images(SPLIT, Augmentation("resized"), COLOUR, (32, 32))


def test_a_photo_that_cannot_be_read_is_named() -> None:
    files = {"a/1.png": photo(1, (32, 32)), "b/2.png": b"not a picture"}
    photos = find_splits(MemorySource("memory", files)).splits["all"]
    with pytest.raises(ImageError, match=r"memory/b/2\.png"):
        cache_images(photos, Augmentation("none"), COLOUR, (32, 32))
