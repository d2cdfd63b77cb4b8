"""Enlarging for people to look at."""

import numpy as np
import pytest

from mobilenetv2.images.enlarge import enlarge_picture, enlarge_smoothly


def test_a_small_picture_keeps_its_squares() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    found = enlarge_picture(picture, 288)
    np.testing.assert_array_equal(found, picture.repeat(9, 0).repeat(9, 1))


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((224, 224), (288, 288)),
        ((500, 250), (288, 144)),
        ((288, 3), (288, 3)),
        ((1, 900), (1, 288)),
    ],
)
def test_the_longer_side_is_as_asked(shape: tuple[int, int], size: tuple[int, int]) -> None:
    found = enlarge_picture(np.full((*shape, 3), 77, np.uint8), 288)
    assert found.shape == (*size, 3) and (found == 77).all()


def test_grey_becomes_three_channels() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 1), np.uint8)
    found = enlarge_picture(picture, 64)
    assert found.shape == (64, 64, 3) and (found == found[..., :1]).all()


def test_heat_is_smooth_and_stays_within_its_range() -> None:
    values = np.zeros((7, 7), np.float32)
    values[3, 3] = 1
    found = enlarge_smoothly(values, 224, 280)
    assert found.shape == (224, 280) and found.dtype == np.float32
    assert found.min() >= 0 and 0.95 < found.max() <= 1
    assert np.abs(np.diff(found, axis=0)).max() < 0.06
    np.testing.assert_allclose(found, found[::-1], atol=1e-6)
    assert np.unravel_index(found.argmax(), found.shape)[0] in range(110, 114)
    assert (enlarge_smoothly(np.full((1, 1), 0.25), 5, 6) == 0.25).all()
