"""A calibrated range is a usual one only if photos give it; every other one is asked about."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.checkpoints.input_range import (
    RANGES,
    TOLERANCE,
    limits,
    of_channels,
    range_words,
    recognise_range,
    require_range,
    same_normalisation,
    takes_pixels,
)
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.records import IMAGENET_MEAN, IMAGENET_STD, Preprocessing


@pytest.mark.parametrize("name", RANGES)
def test_limits_are_those_of_a_black_and_a_white_picture(name: str) -> None:
    mean, std = (np.asarray(values) for values in RANGES[name])
    made = np.stack([(0 - mean) / std, (255 - mean) / std])
    assert limits(RANGES[name]) == pytest.approx((made.min(), made.max()), abs=1e-12)


@pytest.mark.parametrize(
    ("low", "high", "name"),
    [
        (-1.0, 0.9921875, "-1..1"),  # TF-slim's uint8: scale 1/128, zero point 128
        (-127 / 127.5, 128 / 127.5, "-1..1"),  # TensorFlow 2's int8
        (0.0, 1.0, "0..1"),
        (0.0, 255 / 256, "0..1"),
        (0.0, 255.0, "0..255"),
        (2.0, 250.0, "0..255"),  # five photos, none of them all black and white
        (-2.1179, 2.64, "imagenet"),
        (-2.118, 2.42, "imagenet"),
    ],
)
def test_photos_calibrate_to_a_usual_range(low: float, high: float, name: str) -> None:
    assert recognise_range(low, high) == require_range(low, high) == name


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (-5.4, 5.25),  # noise
        (0.0, 0.8),
        (-1.0, 0.5),
        (-1.99, 2.126),  # CIFAR-10's mean and deviation
        (-123.7, 151.1),  # Caffe's mean
        (-128.0, 127.0),
        (0.0, 0.0),
        (1.0, 0.0),
        (float("nan"), 1.0),
        (float("-inf"), float("inf")),
    ],
)
def test_no_other_range_is_guessed(low: float, high: float) -> None:
    assert recognise_range(low, high) is None
    with pytest.raises(DialectError) as caught:
        require_range(low, high)
    for part in (f"{low:.4g}..{high:.4g}", "preprocessing", "0..255", "ImageNet"):
        assert part in str(caught.value)


def test_usual_ranges_are_never_taken_for_one_another() -> None:
    for name, normalisation in RANGES.items():
        low, high = limits(normalisation)
        for share in (-TOLERANCE, TOLERANCE):
            moved = share * (high - low) * 0.99
            assert recognise_range(low + moved, high - moved) == name


@given(st.sampled_from(sorted(RANGES)), st.integers(1, 254))
def test_the_rounding_of_a_zero_point_changes_nothing(name: str, zero: int) -> None:
    low, high = limits(RANGES[name])
    scale = (high - low) / 255
    zero = round(-low / scale)
    assert recognise_range((0 - zero) * scale, (255 - zero) * scale) == name


def test_grey_takes_the_mean_of_the_colours() -> None:
    assert of_channels(RANGES["imagenet"], 3) == (IMAGENET_MEAN, IMAGENET_STD)
    mean, std = of_channels(RANGES["imagenet"], 1)
    assert mean == pytest.approx((np.mean(IMAGENET_MEAN),))
    assert std == pytest.approx((np.mean(IMAGENET_STD),))
    assert of_channels(((1.0,), (2.0,)), 3) == ((1.0,) * 3, (2.0,) * 3)


def test_ranges_have_names_in_words_but_for_a_level_of_rounding() -> None:
    for name, normalisation in RANGES.items():
        assert (name if name != "imagenet" else "ImageNet") in range_words(*normalisation)
    assert range_words((127.0,) * 3, (127.5,) * 3) == "-1..1"
    assert range_words((128.0,) * 3, (128.0,) * 3) == "-1..1"
    assert range_words((127.5,), (127.5,)) == "-1..1"
    assert range_words((129.0,) * 3, (24.0,) * 3) == "-5.375..5.25"
    assert range_words((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)).startswith("mean (1, 2, 3)")


def test_a_record_normalises_as_another_or_not() -> None:
    assert same_normalisation(Preprocessing(), RANGES["imagenet"])
    assert not same_normalisation(Preprocessing(), RANGES["-1..1"])


@pytest.mark.parametrize(
    ("factor", "mean", "pixels"),
    [(1.0, 103.9, True), (1 / 127.5, 127.5, True), (1 / 255, 0.0, True), (2.0, 0.5, False),
     (1 / 0.225, 0.45, False), (1.0, 0.5, False)],
)  # fmt: skip
def test_a_mean_tells_pixels_from_shares(factor: float, mean: float, pixels: bool) -> None:
    assert takes_pixels(np.full(3, factor), np.full(3, -mean * factor)) is pixels
