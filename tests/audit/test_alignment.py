import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.audit.alignment import align, smooth

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
