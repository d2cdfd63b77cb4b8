"""The running average of the weights, against its definition."""

import numpy as np
import pytest

from mobilenetv2.train.loop import Average


@pytest.mark.parametrize(("breadth", "least"), [(0.1, 10), (0.25, 4), (0.5, 2)])
def test_it_follows_its_definition(breadth: float, least: int) -> None:
    average, expected = Average(0.7, breadth), 0.0
    for step in range(9):
        arrays = {"weight": np.full((2, 3), step + 1, np.float32)}
        # The first step is taken as it is; later ones keep at most 0.7 of the average.
        kept = 0 if step == 0 else min(0.7, (1 + step) / (least + step))
        expected = kept * expected + (1 - kept) * (step + 1)
        average.update(arrays)
        arrays["weight"] += 100  # what was given is not held on to
        np.testing.assert_allclose(average.arrays["weight"], expected, rtol=1e-6)
    assert average.arrays["weight"].dtype == np.float32


@pytest.mark.parametrize("breadth", [0.05, 0.1, 0.25, 0.5])
def test_its_breadth_is_the_mean_age_of_what_it_holds(breadth: float) -> None:
    """Each step's share, read off an average of one-hot vectors."""
    steps = 400
    average = Average(0.9999, breadth)
    for step in range(steps):
        average.update({"shares": np.eye(steps)[step]})
    shares = average.arrays["shares"]
    assert shares.sum() == pytest.approx(1)
    age = (shares * np.arange(steps)[::-1]).sum() / steps
    assert age == pytest.approx(breadth, abs=0.02)


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
