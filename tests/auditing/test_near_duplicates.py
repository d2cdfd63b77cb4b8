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

from mobilenetv2.auditing import near_duplicates as module
from mobilenetv2.auditing.near_duplicates import (
    View,
    align,
    find_near_duplicates,
    hashes,
    near_hashes,
    smooth,
    view,
)


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
    found, unsearched = find_near_duplicates(views + copies)
    assert unsearched == 0
    wrong = [pair for pair in found if pair[1] - pair[0] != count]
    missed = count - (len(found) - len(wrong))
    assert not wrong
    assert missed <= 1  # of 22: brightening loses what becomes white


def test_different_photos_of_a_class_are_not_copies(views: list[View]) -> None:
    assert find_near_duplicates(views) == ([], 0)


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
        assert find_near_duplicates(views)[0] == [(0, 1)]


def test_a_view_is_small_and_does_not_depend_on_the_size_of_the_picture(
    real: list[Image.Image],
) -> None:
    small, large = (view(real[0].resize(size)) for size in ((200, 260), (800, 1040)))
    assert small.grey.shape == (32, 32) and small.grey.dtype == np.uint8
    assert len(large.fine) < 8000
    assert np.abs(small.grey.astype(int) - large.grey).max() <= 4
    assert module._decoded(large).shape == (64, 64, 3)


def test_flat_and_tiny_pictures_are_like_nothing() -> None:
    flat = [view(Image.new("RGB", (50, 60), (200, 10, level))) for level in (0, 0, 1)]
    assert all(one.flat and not one.tiny for one in flat)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 60, 3), np.uint8))
    tiny = [view(noise), view(noise)]
    assert all(one.tiny and not one.flat for one in tiny)
    assert all(find_near_duplicates(one) == ([], 0) for one in (flat + tiny, [], tiny[:1]))
    larger = view(noise.resize((60, 60), Image.Resampling.BICUBIC))
    assert find_near_duplicates([*flat, larger, larger])[0] == [(3, 4)]


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
        patch.setattr(module, "TILE", tile)
        found, beyond = near_hashes(np.array(words, np.uint64), furthest, most)
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
    monkeypatch.setattr(module, "TILE", 64)
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

    monkeypatch.setattr(module, "TILE", 2)
    given = Counted(views[:1] * 20)
    assert len(find_near_duplicates(given)[0]) == 190  # in 95 chunks
    assert given.taken == 20


def test_pairs_beyond_the_most_are_counted(views: list[View]) -> None:
    found, unsearched = find_near_duplicates([views[0]] * 5, most=4)
    assert (len(found), unsearched) == (4, 6)


SIDE = 32


def clouds(count: int, side: int, channels: int = 3) -> NDArray:
    """Random pictures with things of many sizes in them, as photos have."""
    random = np.random.default_rng(0)
    made = np.zeros((count, side, side, channels), np.float32)
    for cells, weight in ((4, 60), (9, 30), (20, 15)):
        for picture in made:
            noise = random.normal(size=(cells, cells, channels)).astype(np.float32)
            for channel in range(channels):
                layer = Image.fromarray(noise[..., channel]).resize(
                    (side, side), Image.Resampling.BICUBIC
                )
                picture[..., channel] += weight * np.asarray(layer)
    return made + 128


def window(
    picture: NDArray, left: float, top: float, right: float, bottom: float, side: int
) -> NDArray:
    """A part of a picture, in shares of its sides, at another size."""
    box = tuple(share * picture.shape[0] for share in (left, top, right, bottom))
    layers = [
        np.asarray(
            Image.fromarray(picture[..., c]).resize((side, side), Image.Resampling.BILINEAR, box)
        )
        for c in range(picture.shape[2])
    ]
    return np.stack(layers, -1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "box", [(0, 0, 1, 1), (0.04, 0.04, 0.96, 0.96), (0, 0, 0.92, 1), (0.05, 0.02, 1, 0.97)]
)
def test_a_crop_is_found_where_it_lies(
    box: tuple[float, float, float, float], channels: int
) -> None:
    large = clouds(20, 256, channels)
    whole = smooth(np.stack([window(picture, 0, 0, 1, 1, SIDE) for picture in large]))
    part = smooth(np.stack([window(picture, *box, SIDE) for picture in large]))
    likeness, moved = align(part, whole)
    assert likeness.shape == (20,) and likeness.min() > 0.985
    # The part's pixel at u in [-1, 1] shows the whole's at shift + (1 + scale) u.
    left, top, right, bottom = (share * 2 - 1 for share in box)
    wanted = [
        [(left + right) / 2, (right - left) / 2 - 1],
        [(top + bottom) / 2, (bottom - top) / 2 - 1],
    ]
    np.testing.assert_allclose(moved, np.broadcast_to(wanted, (20, 2, 2)), atol=0.01)


def test_brightness_and_contrast_leave_the_likeness_alone() -> None:
    pictures = clouds(5, SIDE)
    likeness, moved = align(pictures, pictures * 0.6 + 30, steps=0)
    np.testing.assert_allclose(likeness, 1, atol=1e-5)
    assert not moved.any()


def test_without_steps_it_is_the_plain_correlation() -> None:
    first, second = clouds(70, SIDE, 1)[:35], clouds(70, SIDE, 1)[35:]
    likeness, _ = align(first, second, steps=0)
    wanted = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(first, second, strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(likeness, wanted, atol=1e-4)


def test_other_pictures_stay_other_pictures_and_steps_never_make_it_worse() -> None:
    pictures = smooth(clouds(140, SIDE))
    before, _ = align(pictures[:70], pictures[70:], steps=0)
    after, _ = align(pictures[:70], pictures[70:])
    assert (after >= before).all() and after.max() < 0.8


def test_a_start_is_gone_on_from() -> None:
    large = clouds(4, 256)
    whole = smooth(np.stack([window(picture, 0, 0, 1, 1, SIDE) for picture in large]))
    part = smooth(np.stack([window(picture, 0, 0, 0.92, 1, SIDE) for picture in large]))
    found, moved = align(part, whole)
    again, _ = align(part, whole, moved, steps=0)
    np.testing.assert_allclose(again, found, atol=1e-6)


def test_flat_pictures_and_no_pictures_give_no_numbers_that_are_none() -> None:
    flat = np.full((3, SIDE, SIDE, 1), 200, np.uint8)
    likeness, moved = align(flat, flat)
    assert np.isfinite(likeness).all() and np.isfinite(moved).all() and likeness.max() < 0.1
    for part in align(flat[:0], flat[:0]):
        assert len(part) == 0


def test_smoothing_keeps_the_mean_level_and_blurs() -> None:
    point = np.zeros((1, 5, 5, 1), np.uint8)
    point[0, 2, 2] = 160
    np.testing.assert_array_equal(
        smooth(point)[0, 1:4, 1:4, 0], [[10, 20, 10], [20, 40, 20], [10, 20, 10]]
    )
    np.testing.assert_array_equal(smooth(np.full((1, 3, 3, 1), 7)), 7)
