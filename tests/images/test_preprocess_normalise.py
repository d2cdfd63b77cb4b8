"""Pixels to the network's input."""

import numpy as np
import pytest

from mobilenetv2.images.preprocess import engine_input, normalise
from mobilenetv2.spec.records import Preprocessing


@pytest.mark.parametrize("record", [Preprocessing(), Preprocessing(mean=(127.5,), std=(127.5,))])
def test_it_is_the_formula_in_either_layout(record: Preprocessing) -> None:
    levels = np.arange(256).reshape(2, 8, 16, 1) * np.array([1, 3, 7][: record.channels])
    pictures = (levels % 256).astype(np.uint8)
    found = engine_input(pictures, record)
    assert found.dtype == np.float32
    assert found.flags["C_CONTIGUOUS"]
    assert found.shape == (2, record.channels, 8, 16)
    for channel in range(record.channels):
        exact = (pictures[..., channel].astype(float) - record.mean[channel]) / record.std[channel]
        assert np.abs(found[:, channel] - exact).max() < 1e-6
    last = normalise(pictures, record)
    np.testing.assert_array_equal(last, found.transpose(0, 2, 3, 1))  # the same bits
