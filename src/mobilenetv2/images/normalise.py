"""The arithmetic between an image and the network's input, in NumPy and without Pillow."""

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.spec.records import Preprocessing


def normalise(pictures: NDArray, record: Preprocessing) -> NDArray:
    """Return ``(value - mean) / std`` in float32, in the same layout.

    Not within ``jit``: a compiler turns a division by a constant into a multiplication, which
    rounds differently.

    Args:
        pictures: uint8 (batch, height, width, channels).
    """
    mean, std = (np.asarray(values, np.float32) for values in (record.mean, record.std))
    return np.asarray((pictures.astype(np.float32) - mean) / std)


def engine_input(pictures: NDArray, record: Preprocessing) -> NDArray:
    """Return the same numbers as engines take them: float32 (batch, channels, height, width)."""
    return np.ascontiguousarray(normalise(pictures, record).transpose(0, 3, 1, 2))
