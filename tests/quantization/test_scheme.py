"""Integers, scales and zero points, against arithmetic on the real numbers that they stand for."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from graph_forms import sources, tensors
from hypothesis import assume, given
from hypothesis import strategies as st

from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.quantization.scheme import LARGEST_BIAS, LEVELS, Range, Scheme
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

SPEC = published("small", width=0.1, classes=4)
ENDS = st.floats(-1e4, 1e4, width=32)


def scheme(**changes: Any) -> Scheme:
    ranges = {name: Range(-1.0, 6.0) for name in tensors(SPEC)}
    made = Scheme(ModelConfig.default(SPEC), fold(SPEC, random_arrays(SPEC)), ranges)
    return dataclasses.replace(made, **changes)


@given(ENDS, ENDS)
def test_zero_is_an_integer_and_both_ends_are_a_step_away_at_most(one: float, two: float) -> None:
    assume(max(one, two, 0) - min(one, two, 0) > 1e-6)  # less has the smallest scale
    found = Range(min(one, two), max(one, two))
    assert 0 <= found.zero_point <= LEVELS
    least = found.scale * (0 - found.zero_point)
    most = found.scale * (LEVELS - found.zero_point)
    assert least <= 0 <= most
    assert abs(least - min(found.low, 0)) <= 0.51 * found.scale + 1e-6 * abs(found.low)
    assert abs(most - max(found.high, 0)) <= 0.51 * found.scale + 1e-6 * abs(found.high)


@pytest.mark.parametrize("bits", [8, 7])
@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_come_back_within_half_a_step(per_channel: bool, bits: int) -> None:
    made = scheme(per_channel=per_channel, weight_bits=bits)
    for name, (weight, _) in made.folded.items():
        integers, scales = made.integers(name), made.weight_scales(name)
        assert integers.dtype == np.int8 and integers.shape == weight.shape
        assert np.abs(integers).max() == (127 if bits == 8 else 63)
        steps = scales.reshape(-1, *[1] * (weight.ndim - 1))
        assert (np.abs(integers * steps - weight) <= 0.5001 * steps).all()
        peaks = np.abs(integers).reshape(len(weight), -1).max(1)
        assert (peaks == peaks.max()).all() == per_channel or len(set(scales)) == 1
        assert per_channel or len(set(scales)) == 1


def test_a_channel_of_zeros_keeps_its_bias() -> None:
    made = scheme()
    for name, value in (("stem", 2.5), ("blocks.0.project", -30.0)):
        weight, bias = (array.copy() for array in made.folded[name])
        weight[1], bias[1] = 0, value
        made = dataclasses.replace(made, folded={**made.folded, name: (weight, bias)})
        given_range = made.ranges[sources(SPEC)[name]]
        integers = made.bias_integers(name)
        assert abs(integers[1]) <= LARGEST_BIAS * 1.0001
        back = integers * made.weight_scales(name).astype(np.float64) * given_range.scale
        np.testing.assert_allclose(back, bias, atol=0.6 * 0.1, rtol=1e-6)
        assert back[1] == pytest.approx(value, rel=1e-6)
        assert (made.integers(name)[1] == 0).all()
