"""Photos made smaller once: near the original, bounded in memory, the same whatever is held."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image

from mobilenetv2.data.augment import Augmentation, augment, generator
from mobilenetv2.data.dataset import Split, lay_out
from mobilenetv2.data.shrunk import Shrunk, shrink
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


def split() -> tuple[Counting, Split]:
    source = Counting("memory", FILES)
    return source, lay_out(source).splits["all"]


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
    source, photos = split()
    shrunk = Shrunk(photos, SIDE, limit)
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
    assert (shrunk.held, shrunk.bytes) == (held, bytes_)
    assert held == {0: 0, 90_000: 3, 10**9: 6}[limit]
    assert source.reads == held + 3 * (6 - held)  # those that are held are read once


def test_a_caller_who_draws_on_a_photo_does_not_change_the_next_one() -> None:
    _, photos = split()
    shrunk = Shrunk(photos, SIDE)
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

    photos = lay_out(Slow("memory", FILES)).splits["all"]
    shrunk = Shrunk(photos, SIDE)
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(shrunk.image, [photos.photos[2]] * 6))
    assert len({image.tobytes() for image in made}) == 1
    assert shrunk.held == 1 and shrunk.bytes == len(made[0].tobytes())


def test_an_unreadable_photo_is_named_and_not_held() -> None:
    photos = lay_out(MemorySource("memory", {"a/1.png": b"no picture", "b/2.png": b""})).splits
    shrunk = Shrunk(photos["all"], SIDE)
    for _ in range(2):
        with pytest.raises(ImageError, match=r"memory/a/1\.png"):
            shrunk.image(photos["all"].photos[0])
    assert shrunk.held == 0 and shrunk.bytes == 0
