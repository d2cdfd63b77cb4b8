"""Near copies of real photos are found, and other photos of the same kind are not."""

import io
import itertools
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from mobilenetv2.audit import likeness
from mobilenetv2.audit.likeness import View, alike, hashes, near, view


def encoded(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def cropped(
    image: Image.Image, left: float, top: float, right: float, bottom: float
) -> Image.Image:
    width, height = image.size
    return image.crop((
        int(left * width), int(top * height), int((1 - right) * width), int((1 - bottom) * height)
    ))  # fmt: skip


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "encoded anew": lambda image: encoded(image, 30),
    "a third of the size": lambda image: image.resize((image.width // 3, image.height // 3)),
    "stretched": lambda image: image.resize((image.width, image.height // 2)),
    "cropped by 2%": lambda image: cropped(image, 0.02, 0.02, 0.02, 0.02),
    "cropped by 4% above": lambda image: cropped(image, 0, 0.04, 0, 0),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.2),
    "all": lambda image: encoded(
        ImageEnhance.Brightness(cropped(image, 0.02, 0, 0.01, 0.02)).enhance(0.9), 25
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def real(public_folder: Callable[[str], Path]) -> list[Image.Image]:
    """Twelve shirts on much the same floors, and the photos of other things."""
    shirts = sorted((public_folder("clothing") / "train" / "t-shirt").iterdir())[:12]
    skipped = ("bird_segmentation.bmp", "bird_segmentation_mask.bmp", "cat.bmp")
    others = sorted(p for p in public_folder("photos").iterdir() if p.name not in skipped)
    return [Image.open(path).convert("RGB") for path in (*shirts, *others)]


@pytest.fixture(scope="module")
def views(real: list[Image.Image]) -> list[View]:
    return [view(image) for image in real]


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_found_and_nothing_else(
    real: list[Image.Image], views: list[View], how: str
) -> None:
    copies = [view(COPIES[how](image)) for image in real]
    count = len(real)
    found = alike(views + copies)
    assert found.unsearched == 0
    wrong = [pair for pair in found.pairs if pair[1] - pair[0] != count]
    missed = count - (len(found.pairs) - len(wrong))
    assert not wrong
    assert missed <= 1  # of 22: brightening loses what becomes white


def test_different_photos_of_a_class_are_not_copies(views: list[View]) -> None:
    assert alike(views).pairs == ()


def test_copies_that_others_made_are_found(public_folder: Callable[[str], Path]) -> None:
    """A cat as a bitmap and, larger, as a JPEG; shorts that lie among the skirts, too."""
    clothing = public_folder("clothing") / "train"
    for one, other in (
        (public_folder("photos") / "cat.bmp", public_folder("photos") / "cat_1080p.jpg"),
        (
            clothing / "shorts" / "6075b4a5-5b1a-4ce0-aea0-9dbfbca7c35c.jpg",
            clothing / "skirt" / "637a56e4-7fa6-4f75-8859-0f8902461554.jpg",
        ),
    ):
        views = [view(Image.open(path).convert("RGB")) for path in (one, other)]
        assert alike(views).pairs == ((0, 1),)


def test_a_view_is_small_and_does_not_depend_on_the_size_of_the_picture(
    real: list[Image.Image],
) -> None:
    small, large = (view(real[0].resize(size)) for size in ((200, 260), (800, 1040)))
    assert small.grey.shape == (32, 32) and small.grey.dtype == np.uint8
    assert len(large.fine) < 8000
    assert np.abs(small.grey.astype(int) - large.grey).max() <= 4
    assert likeness._decoded(large).shape == (64, 64, 3)


def test_flat_and_tiny_pictures_are_like_nothing() -> None:
    flat = [view(Image.new("RGB", (50, 60), (200, 10, level))) for level in (0, 0, 1)]
    assert all(one.flat and not one.tiny for one in flat)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 60, 3), np.uint8))
    tiny = [view(noise), view(noise)]
    assert all(one.tiny and not one.flat for one in tiny)
    assert alike(flat + tiny).pairs == alike([]).pairs == alike(tiny[:1]).pairs == ()
    larger = view(noise.resize((60, 60), Image.Resampling.BICUBIC))
    assert alike([*flat, larger, larger]).pairs == ((3, 4),)


def reference(grey: NDArray) -> int:
    """The hash of one picture, a frequency at a time."""
    low = []
    for v, u in itertools.product(range(8), range(8)):
        total = 0.0
        for y, x in itertools.product(range(32), range(32)):
            total += (
                float(grey[y, x]) * np.cos(np.pi * v * (2 * y + 1) / 64)
                * np.cos(np.pi * u * (2 * x + 1) / 64)
            )  # fmt: skip
        low.append(total)
    middle = np.median(low)
    return sum(1 << place for place, value in enumerate(low) if value > middle)


def test_the_hash_is_that_of_the_cosine_transform() -> None:
    greys = np.random.default_rng(1).integers(0, 256, (3, 32, 32), np.uint8)
    # packbits puts the first bit of each byte highest.
    mirrored = [
        int.from_bytes(
            bytes(int(f"{byte:08b}"[::-1], 2) for byte in int(word).to_bytes(8, "little")), "little"
        )
        for word in hashes(greys)
    ]
    assert mirrored == [reference(grey) for grey in greys]


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=0, max_size=20),
    st.integers(0, 5), st.integers(1, 6), st.integers(0, 64), st.integers(1, 400),
)  # fmt: skip
def test_near_hashes_are_those_that_all_pairs_give(
    words: list[int], copies: int, tile: int, furthest: int, most: int
) -> None:
    words += [word ^ 1 for word in words[:copies]]
    all_pairs = [
        ((words[i] ^ words[j]).bit_count(), i, j)
        for i, j in itertools.combinations(range(len(words)), 2)
    ]
    wanted = [(i, j) for distance, i, j in all_pairs if distance <= furthest]
    distance = {(i, j): far for far, i, j in all_pairs}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likeness, "TILE", tile)
        found, beyond = near(np.array(words, np.uint64), furthest, most)
    pairs = [(int(i), int(j)) for i, j in found]
    assert len(pairs) == len(set(pairs)) == min(most, len(wanted))
    assert len(pairs) + beyond == len(wanted)
    assert set(pairs) <= set(wanted)
    # The nearest of them, in order.
    far = [distance[pair] for pair in pairs]
    assert far == sorted(distance[pair] for pair in wanted)[: len(pairs)]


def test_hashes_are_made_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    greys = np.random.default_rng(0).integers(0, 256, (3000, 32, 32), np.uint8)
    together = hashes(greys)
    monkeypatch.setattr(likeness, "TILE", 64)
    tracemalloc.start()
    try:
        found = hashes(greys)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found, together)
    assert peak < greys.nbytes  # in float64 all would be eight times as large, and a copy
    assert hashes(greys[:0]).shape == (0,)


def test_the_views_are_gone_through_once_and_not_for_every_chunk(
    views: list[View], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counted(list[View]):
        taken = 0

        def __getitem__(self, place: Any) -> Any:
            self.taken += 1
            return super().__getitem__(place)

    monkeypatch.setattr(likeness, "TILE", 2)
    given = Counted(views[:1] * 20)
    assert len(alike(given).pairs) == 190  # in 95 chunks
    assert given.taken == 20


def test_pairs_beyond_the_most_are_counted(views: list[View]) -> None:
    found = alike([views[0]] * 5, most=4)
    assert (len(found.pairs), found.unsearched) == (4, 6)
