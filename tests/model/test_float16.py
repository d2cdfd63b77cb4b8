"""Weights that float16 holds, rounded so that a filter's errors cancel."""

import numpy as np

from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.float16 import LARGEST, balanced, nearest, representable
from mobilenetv2.model.folding import fold
from mobilenetv2.spec.network import NetworkSpec


def test_float16_holds_every_weight() -> None:
    spec = NetworkSpec(width=0.1, size=(48, 64), classes=5)
    folded = fold(spec, random_arrays(spec))
    for name in folded:
        weight = representable(folded[name][0])
        assert weight.dtype == np.float32 and weight.shape == folded[name][0].shape
        np.testing.assert_array_equal(weight.astype(np.float16).astype(np.float32), weight)
        # A neighbour: within one step of float16, which has 11 bits.
        exact = np.abs(folded[name][0])
        assert np.all(np.abs(weight - folded[name][0]) <= np.maximum(exact * 2.0**-10, 2.0**-24))


def test_a_filter_keeps_its_sum() -> None:
    weight = np.random.default_rng(0).normal(scale=40, size=(200, 1, 3, 3)).astype(np.float32)
    weight[0] = 0.5  # nothing to choose
    sums = weight.astype(np.float64).sum((1, 2, 3))
    near, kept = (
        np.abs(way(weight).astype(np.float64).sum((1, 2, 3)) - sums) for way in (nearest, balanced)
    )
    assert np.all(kept <= near)
    assert kept.mean() < near.mean() / 5
    np.testing.assert_array_equal(balanced(weight)[0], weight[0])


def test_what_is_too_large_or_too_small_becomes_a_number() -> None:
    weight = np.full((1, 1, 3, 3), 1e6, np.float32)
    weight[0, 0, 0] = (-1e6, 1e-9, 0)
    for way in (nearest, balanced):
        found = way(weight)
        assert np.isfinite(found).all()
        assert np.abs(found).max() == LARGEST
