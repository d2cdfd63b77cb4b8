"""Any number of pictures through a graph whose batch is fixed."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def in_fixed_batches(run: Callable[[NDArray], NDArray], x: NDArray, batch: int) -> NDArray:
    """``run`` on parts of exactly ``batch`` pictures; the last is filled up with zeros.

    Args:
        run: (batch, ...) -> (batch, n).
        x: (pictures, ...).

    Returns:
        (pictures, n), in order.
    """
    missing = -len(x) % batch
    filled = np.concatenate([x, np.zeros((missing, *x.shape[1:]), x.dtype)]) if missing else x
    parts = [run(filled[i : i + batch]) for i in range(0, len(filled), batch)]
    return np.concatenate(parts)[: len(x)] if len(parts) > 1 or missing else parts[0]
