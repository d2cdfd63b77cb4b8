"""LiteRT graphs of one convolution and whatever a test puts behind it, operator by operator."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.litert import Graph, Operator, Tensor

random = np.random.default_rng(0)
STEM = random.normal(size=(8, 3, 3, 3)).astype(np.float32)
WEIGHT = random.normal(size=(5, 8)).astype(np.float32)
BIAS = random.normal(size=5).astype(np.float32)
MAP, VECTOR = (1, 7, 7, 8), (1, 1, 1, 8)


class Builder:
    """A stem on a picture of 14 x 14, and whatever a test puts behind it."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.start = self.end = self.tensor((1, 14, 14, 3))
        self.then(
            "CONV_2D", MAP, STEM, np.zeros(8, np.float32), stride=(2, 2), padding="SAME",
            activation="RELU6",
        )  # fmt: skip

    def tensor(self, shape: tuple[int, ...], values: NDArray | None = None) -> int:
        self.tensors.append(Tensor("", shape, values, None, None))
        return len(self.tensors) - 1

    def then(self, kind: str, shape: tuple[int, ...], *constants: Any, **options: Any) -> "Builder":
        inputs = [self.tensor(np.shape(values), np.asarray(values)) for values in constants]
        source, self.end = self.end, self.tensor(shape)
        self.operators.append(Operator(kind, (source, *inputs), (self.end,), **options))
        return self

    def pooled(self) -> "Builder":
        return self.then("MEAN", VECTOR, [1, 2])

    def classified(self) -> "Builder":
        return self.then("FULLY_CONNECTED", (1, 5), WEIGHT, BIAS)

    @property
    def graph(self) -> Graph:
        return Graph(tuple(self.tensors), tuple(self.operators), (self.start,), (self.end,))
