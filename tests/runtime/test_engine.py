"""Parts of exactly one batch, in order, whatever the number of pictures."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenetv2.runtime.engine import in_fixed_batches

COUNTS = [(0, 1), (1, 1), (5, 1), (5, 2), (4, 4), (3, 8), (9, 4)]


@pytest.mark.parametrize(("count", "batch"), COUNTS)
def test_every_picture_comes_back_once_and_in_order(count: int, batch: int) -> None:
    x = np.arange(count * 6, dtype=np.float32).reshape(count, 2, 3)
    sizes = []

    def run(part: NDArray) -> NDArray:
        sizes.append(len(part))
        return part.sum((1, 2))[:, None] * 2

    found = in_fixed_batches(run, x, batch)
    np.testing.assert_array_equal(found, x.sum((1, 2))[:, None] * 2)
    assert set(sizes) == {batch} and len(sizes) == max(1, -(-count // batch))
