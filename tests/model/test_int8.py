import numpy as np
import pytest

from mobilenetv2.model.int8 import MOST, channel_integers


@pytest.mark.parametrize("shape", [(5, 3, 3, 3), (7, 12), (4, 1, 3, 3)])
def test_each_number_is_a_neighbouring_multiple_and_filters_keep_their_sums(
    shape: tuple[int, ...],
) -> None:
    weight = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    weight[0] *= 1000
    levels, scales = channel_integers(weight)
    assert levels.dtype == np.int8 and scales.dtype == np.float32
    assert levels.shape == shape and scales.shape == shape[:1]
    assert np.abs(levels.reshape(shape[0], -1)).max(1).tolist() == [MOST] * shape[0]
    exact = levels * scales.reshape(-1, *[1] * (len(shape) - 1))
    steps = (exact - weight) / scales.reshape(-1, *[1] * (len(shape) - 1))
    assert np.abs(steps).max() < 1.001  # float32 rounds
    if len(shape) == 4:
        assert np.abs(steps.sum((2, 3))).max() < 0.51


def test_a_channel_of_zeros_stays_one() -> None:
    levels, scales = channel_integers(np.zeros((2, 3), np.float32))
    assert not levels.any() and (scales > 0).all()
