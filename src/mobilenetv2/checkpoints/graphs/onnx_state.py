"""What is known while an ONNX graph is followed: its tensors, the chain, how far it has come."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.onnx import Graph
from mobilenetv2.checkpoints.graphs.chain import NOT_OURS, PICTURE, Chain, Pads, Place, Step
from mobilenetv2.checkpoints.graphs.onnx_constants import Constants
from mobilenetv2.errors import DialectError

UNPADDED: Pads = ((0, 0), (0, 0))
UNKNOWN_AXES = "0123"


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """What is known of a tensor that depends on the picture."""

    place: Place
    shape: tuple[int, ...]
    axes: str
    """'NCHW' in the tensor's own order; of the picture, whose layout only the first convolution
    tells, the digits of its axes; '?' for what is left behind the pooling."""
    pads: Pads = UNPADDED
    """Zeros that a Pad put around it, for the convolution to take up."""
    factor: NDArray | float = 1.0
    """Of the picture: it holds ``pixel * factor + offset``, float64, to be broadcast."""
    offset: NDArray | float = 0.0
    stage: str = "map"
    """'map', 'pooled' or 'logits'."""

    def normalised(self, factor: NDArray, offset: NDArray) -> "Tensor":
        """The picture after ``y * factor + offset``."""
        return dataclasses.replace(
            self, factor=self.factor * factor, offset=self.offset * factor + offset
        )

    def by_channel(self) -> tuple[NDArray, NDArray]:
        """(factor, offset) of the picture, each (channels,).

        Raises:
            DialectError: they vary over the picture.
        """
        channels, found = self.shape[1], []
        for values in (self.factor, self.offset):
            array = np.asarray(values, np.float64)
            wide = array.reshape((1,) * (4 - array.ndim) + array.shape)
            if wide.shape[1] not in (1, channels) or wide.size not in (1, channels):
                raise DialectError("the picture is normalised by values that vary over it")
            found.append(np.broadcast_to(wide.ravel(), channels))
        return found[0], found[1]


class State:
    """A graph half followed."""

    def __init__(self, graph: Graph, size: tuple[int, int]) -> None:
        """``size`` is taken where the graph leaves height and width open."""
        self.chain, self.constants = Chain(), Constants(graph)
        ((name, shape),) = graph.inputs.items()
        self.tensors = {name: Tensor(PICTURE, closed(shape, size), UNKNOWN_AXES)}
        self.steps: list[Step] | None = None
        """From the stem to the head, once they are pooled."""
        self.classifier: tuple[NDArray, NDArray] | None = None
        """(classes, features) and (classes,)."""
        self.picture: Tensor | None = None
        """What the first convolution takes."""

    def pooled(self, tensor: Tensor) -> Tensor:
        """The chain ends here. A map of one pixel counts as pooled: its mean is itself.

        Raises:
            DialectError: more pixels are left.
        """
        if tensor.stage != "map":
            return tensor
        sides = [side for side, axis in zip(tensor.shape, tensor.axes, strict=True) if axis in "HW"]
        if set(sides) - {1} or tensor.place == PICTURE or self.steps is not None:
            raise DialectError(f"{NOT_OURS}: a tensor of shape {list(tensor.shape)} is not pooled")
        self.steps = self.chain.finish(tensor.place)
        return dataclasses.replace(tensor, stage="pooled")

    def classify(self, tensor: Tensor, weight: NDArray, bias: NDArray | None) -> Tensor:
        """The classifier, weight (classes, features).

        Raises:
            DialectError: there is one already, or it does not fit.
        """
        tensor = self.pooled(tensor)
        if tensor.stage != "pooled" or self.classifier is not None:
            raise DialectError(f"{NOT_OURS}: a second linear layer")
        classes, features = weight.shape
        if features != math.prod(tensor.shape[1:]):
            raise DialectError(f"{features} features are taken of a tensor {list(tensor.shape)}")
        bias = np.zeros(classes) if bias is None else bias
        if bias.size not in (1, classes):
            raise DialectError(f"{bias.size} biases for {classes} outputs")
        bias = np.broadcast_to(bias.ravel(), classes).astype(np.float32)
        self.classifier = (np.ascontiguousarray(weight, np.float32), bias)
        ones = (1,) * (len(tensor.shape) - 2)
        shape = (tensor.shape[0], classes, *ones)
        return dataclasses.replace(tensor, stage="logits", shape=shape, axes="?" * len(shape))

    def at(self, tensor: Tensor, place: Place) -> Tensor:
        """The same tensor after something happened to it on the chain."""
        if tensor.stage != "map":
            raise DialectError(f"{NOT_OURS}: an operator of the chain behind the pooling")
        return dataclasses.replace(tensor, place=place)


def closed(shape: tuple[int | None, ...], size: tuple[int, int]) -> tuple[int, ...]:
    """The input's shape; where sides are open, a batch of one and ``size``.

    Raises:
        DialectError: it is not (batch, channels, height, width) in some order.
    """
    if len(shape) != 4:
        raise DialectError(f"not a picture classifier: its input has shape {list(shape)}")
    last = shape[3] in (1, 3) and shape[1] not in (1, 3)
    usual = (1, *size, 3) if last else (1, 3, *size)
    return tuple(side or filled for side, filled in zip(shape, usual, strict=True))
