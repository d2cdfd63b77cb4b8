"""Ranges from histograms: what each method promises, on any histogram."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mobilenetv2.graph.graph import Tensor
from mobilenetv2.quantization import calibration
from mobilenetv2.quantization.calibration import METHODS, Histogram, Method, calibrate
from mobilenetv2.quantization.scheme import Range

COUNTS = arrays(np.int64, st.integers(2, 600), elements=st.integers(0, 10**6)).filter(np.any)
LOWS = st.floats(-100, 0, width=32)
HIGHS = st.floats(0.015625, 100, width=32)


def of(values: np.ndarray, bins: int = 4096) -> Histogram:
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    places = np.rint((values - low) / (high - low) * (bins - 1)).astype(int)
    return Histogram(low, high, np.bincount(places, minlength=bins))


@given(COUNTS, LOWS, HIGHS, st.sampled_from([*METHODS]))
def test_every_range_holds_zero_and_is_no_wider_than_the_values(
    counts: np.ndarray, low: float, high: float, method: Method
) -> None:
    found = calibrate(Histogram(low, high, counts), method)
    assert low - 1e-6 <= found.low <= 0 <= found.high <= high + 1e-6


@settings(max_examples=25)  # each tries hundreds of ranges
@given(COUNTS, LOWS, HIGHS)
def test_mse_is_never_worse_than_min_max_on_its_own_measure(
    counts: np.ndarray, low: float, high: float
) -> None:
    histogram = Histogram(low, high, counts)
    best = calibration.squared_error(histogram, calibration.mse(histogram))
    assert best <= calibration.squared_error(histogram, calibration.min_max(histogram))


@given(COUNTS, HIGHS, st.sampled_from([*METHODS]))
def test_what_relu6_gives_never_goes_beyond_its_bounds(
    counts: np.ndarray, high: float, method: Method
) -> None:
    # Rounding in another runtime may have left a value just outside.
    tensor = Tensor("stem", (8, 8, 8), 0.0, 6.0)
    found = calibrate(Histogram(-1e-6, max(high, 6.00001), counts), method, tensor)
    assert found.low == 0 and 0 <= found.high <= 6


@given(COUNTS, LOWS, HIGHS, st.floats(50, 100))
def test_a_percentile_leaves_no_more_outside_than_it_says(
    counts: np.ndarray, low: float, high: float, percent: float
) -> None:
    histogram = Histogram(low, high, counts)
    found = calibration.percentile(histogram, percent)
    centres = histogram.centres
    allowed = counts.sum() * (1 - percent / 100) / 2 + 1e-6 * counts.sum()
    assert counts[centres < found.low - 1e-9].sum() <= allowed
    assert counts[centres > found.high + 1e-9].sum() <= allowed


def test_squared_error_is_that_of_rounding_the_values_themselves() -> None:
    values = np.random.default_rng(0).normal(size=50_000)
    for given_range in (Range(-5, 5), Range(-1, 2), Range(0, 1)):
        scale, zero = given_range.scale, given_range.zero_point
        integers = np.clip(np.rint(values / scale) + zero, 0, 255)
        expected = ((values - scale * (integers - zero)) ** 2).mean()
        found = calibration.squared_error(of(values), given_range)
        assert found == pytest.approx(expected, rel=0.05)


def test_a_far_outlier_is_cut_off_by_all_but_min_max() -> None:
    random = np.random.default_rng(1)
    values = np.append(random.normal(size=200_000), [40.0, -40.0])
    histogram = of(values)
    assert calibrate(histogram, "min-max") == Range(-40.0, 40.0)
    most_by: dict[Method, float] = {"percentile": 6, "mse": 30, "entropy": 12}
    for method, most in most_by.items():
        found = calibrate(histogram, method)
        assert 2 < found.high < most and -most < found.low < -2, method
    least = calibration.squared_error(histogram, calibrate(histogram, "mse"))
    for high in np.linspace(3, 40, 60):
        # No symmetric range is better by more than the grid of shares allows.
        assert least <= 1.1 * calibration.squared_error(histogram, Range(-high, high))


def test_a_uniform_distribution_is_left_whole() -> None:
    histogram = Histogram(0.0, 6.0, np.full(4096, 100))
    for method in ("mse", "entropy"):
        assert calibrate(histogram, method).high > 5.8


@pytest.mark.parametrize("method", METHODS)
def test_a_tensor_of_zeros_has_a_range(method: Method) -> None:
    found = calibrate(Histogram(0.0, 0.0, np.array([500, 0, 0])), method)
    assert (found.low, found.high) == (0, 0) and found.scale > 0


def test_every_method_has_its_function() -> None:
    assert get_args(Method) == tuple(METHODS)
