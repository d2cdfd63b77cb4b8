"""The running average of the weights, against its definition."""

import numpy as np

from mobilenetv2.train.average import Average


def test_it_follows_its_definition() -> None:
    average, expected = Average(0.3), 0.0
    for step in range(6):
        arrays = {"weight": np.full((2, 3), step + 1, np.float32)}
        # The first step is taken as it is; later ones keep at most 0.3 of the average.
        kept = 0 if step == 0 else min(0.3, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * (step + 1)
        average.update(arrays)
        arrays["weight"] += 100  # what was given is not held on to
        np.testing.assert_allclose(average.arrays["weight"], expected, rtol=1e-6)
    assert average.arrays["weight"].dtype == np.float32


def test_restored_it_goes_on_as_if_nothing_had_been() -> None:
    random = np.random.default_rng(0)
    steps = [{"a": random.normal(size=5).astype(np.float32)} for _ in range(8)]
    whole, first, second = Average(0.9), Average(0.9), Average(0.9)
    for arrays in steps:
        whole.update(arrays)
    for arrays in steps[:4]:
        first.update(arrays)
    second.restore({name: array.copy() for name, array in first.arrays.items()}, first.steps)
    for arrays in steps[4:]:
        second.update(arrays)
    np.testing.assert_array_equal(second.arrays["a"], whole.arrays["a"])
