"""Parts of exactly one batch, in order, whatever the number of pictures."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, OutputError
from mobilenetv2.runtime.engines.engine import Engine, Output, in_fixed_batches

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


class Made(Engine):
    """Engine that gives what it was made with."""

    def __init__(self, made: NDArray) -> None:
        super().__init__("m.onnx")
        self.made, self.channels = made, {"logits": 3}

    def compute(self, x: NDArray, output: Output) -> NDArray:
        return self.made


def test_outputs_of_another_shape_than_the_config_says_are_refused() -> None:
    x = np.zeros((2, 3, 4, 4), np.float32)
    good = np.ones((2, 3), np.float32)
    assert Made(good).run(x, "logits") is good
    for shape in ((2, 4), (2, 2), (1, 3), (3, 3), (2, 3, 1), (2,)):
        with pytest.raises(ArtifactError, match=r"m\.onnx: its logits have shape .*\[2, 3\]"):
            Made(np.ones(shape, np.float32)).run(x, "logits")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite_are_refused(value: float) -> None:
    x, bad = np.zeros((2, 3, 4, 4), np.float32), np.ones((2, 3), np.float32)
    bad[1, 2] = value
    with pytest.raises(OutputError, match=r"m\.onnx: .*not finite"):
        Made(bad).run(x, "logits")
