"""Weights as int8 with a scale for each output channel, from which float32 weights are computed."""

import numpy as np
from numpy.typing import NDArray

MOST = 127
"""Largest integer; the smallest is its negative, so that zero is the integer 0."""
SMALLEST = float(np.finfo(np.float32).tiny)
"""Smallest scale: that of a channel of zeros, which has none of its own."""


def channel_integers(weight: NDArray) -> tuple[NDArray, NDArray]:
    """Return a weight's nearest integers, and the scales that make numbers of them.

    Args:
        weight: (out, in, kernel, kernel) or (out, in), finite.

    Returns:
        int8 in the same shape, and float32 (out,): the largest absolute weight of a channel / 127.
    """
    exact = weight.astype(np.float64).reshape(len(weight), -1)
    scales = np.maximum(np.abs(exact).max(1) / MOST, SMALLEST).astype(np.float32)
    # float32 may have rounded a scale down, which would make the largest weight 128.
    levels = np.clip(np.rint(exact / scales[:, None]), -MOST, MOST)
    return levels.astype(np.int8).reshape(weight.shape), scales
