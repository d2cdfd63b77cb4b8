"""State while an ONNX graph is followed: its constants, tensors and layers so far."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.onnx import Graph, Node
from mobilenetv2.checkpoints.graphs.chain import (
    NOT_OURS,
    PICTURE,
    UNPADDED,
    Chain,
    Pads,
    Place,
    Step,
)
from mobilenetv2.checkpoints.graphs.head import Head, HeadBuilder, no_head
from mobilenetv2.checkpoints.graphs.onnx.constants import Constants
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.network import Size

UNKNOWN_AXES = "0123"


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """State of a tensor that depends on the image."""

    place: Place
    shape: tuple[int, ...]
    axes: str
    """Axes in the tensor's order: 'NCHW', digits for the image, or '?' after a reshape.

    The first convolution determines the layout of the image; until then its axes are digits.
    """
    pads: Pads = UNPADDED
    """Zeros that a Pad added, for the next convolution."""
    factor: NDArray | float = 1.0
    """Factor of the image, whose values are ``pixel * factor + offset``, float64, broadcast."""
    offset: NDArray | float = 0.0
    quantised: bool = False
    """True for an image of integers that a QuantizeLinear made."""
    layer: int | None = None
    """Number of layers of the head that it went through; None before the head."""
    reduced: str = ""
    """Pooling that was done along one of height and width."""
    floor: str = ""
    """Activation that the range of integers stands for, in the head."""

    @property
    def size(self) -> Size:
        """Height and width in pixels without ``pads``, if the axes are known."""
        height, width = (
            side - sum(pad) for side, pad in zip(self.shape[2:], self.pads, strict=True)
        )
        return height, width

    def normalised(self, factor: NDArray, offset: NDArray) -> "Tensor":
        """Return the image after ``y * factor + offset``."""
        return dataclasses.replace(
            self, factor=self.factor * factor, offset=self.offset * factor + offset
        )

    def by_channel(self) -> tuple[NDArray, NDArray]:
        """Return (factor, offset) of the image, each (channels,).

        Raises:
            DialectError: they vary over the image.
        """
        channels, found = self.shape[1], []
        for values in (self.factor, self.offset):
            array = np.asarray(values, np.float64)
            wide = array.reshape((1,) * (4 - array.ndim) + array.shape)
            if wide.shape[1] not in (1, channels) or wide.size not in (1, channels):
                raise DialectError("the image is normalised by values that vary over it")
            found.append(np.broadcast_to(wide.ravel(), channels))
        return found[0], found[1]


class State:
    """State of a graph while it is followed."""

    def __init__(self, graph: Graph, size: Size) -> None:
        """Start with the image; ``size`` is used if the graph does not fix it."""
        self.chain, self.constants = Chain(), Constants(graph)
        ((name, shape),) = graph.inputs.items()
        self.picture = Tensor(PICTURE, closed(shape, size), UNKNOWN_AXES)
        """Input of the first convolution, or before it the graph's input."""
        self.tensors = {name: self.picture}
        self.input_range: tuple[float, float] | None = None
        """Lowest and highest value of an input of integers."""
        self.scalings: list[str] = []
        """Operators that scale the image."""
        self.steps: list[Step] = []
        """Convolutions from the stem to the last feature map, once the head begins."""
        self.head: HeadBuilder | None = None
        self._layers = 0

    def scaled(self, tensor: Tensor, node: Node, factor: NDArray, offset: NDArray) -> Tensor:
        """Return the image after a node that computes ``y * factor + offset``."""
        if node.kind not in self.scalings:
            self.scalings.append(node.kind)
        return tensor.normalised(factor, offset)

    def begin(self, tensor: Tensor) -> HeadBuilder:
        """End the chain at a map, and return its head, which begins there."""
        if self.head is not None:
            raise DialectError(f"{NOT_OURS}: two classifiers")
        if tensor.place == PICTURE or not {"C", "H", "W"} <= set(tensor.axes):
            raise DialectError(f"{NOT_OURS}: a tensor of shape {list(tensor.shape)} is no map")
        self.steps = self.chain.finish(tensor.place)
        height, width = (tensor.shape[tensor.axes.index(axis)] for axis in "HW")
        self.head = HeadBuilder(self.steps[-1].weight.shape[0], (height, width))
        return self.head

    def headed(self, tensor: Tensor) -> tuple[HeadBuilder, Tensor]:
        """Return the head, begun if needed, and the tensor as its latest one.

        Raises:
            DialectError: the tensor was used by another layer of the head.
        """
        if tensor.layer is None:
            return self.begin(tensor), dataclasses.replace(tensor, layer=self._layers)
        if self.head is None or tensor.layer != self._layers:
            raise no_head("it has two classifiers, or a branch")
        return self.head, tensor

    def through(self, tensor: Tensor, **changes: Any) -> Tensor:
        """Return the tensor behind one more layer of the head."""
        self._layers += 1
        return dataclasses.replace(tensor, layer=self._layers, **changes)

    def finished(self, end: Tensor) -> Head:
        """Return the head of a graph that ends at ``end``."""
        if end.layer is None:
            return self.begin(end).finish()
        head, _ = self.headed(end)
        return head.finish()

    def at(self, tensor: Tensor, place: Place) -> Tensor:
        """Return the tensor at another place of the chain."""
        return dataclasses.replace(tensor, place=place)


def closed(shape: tuple[int | None, ...], size: Size) -> tuple[int, ...]:
    """Return the input's shape, with a batch of one and ``size`` for sides that are not fixed."""
    if len(shape) != 4:
        raise DialectError(f"not an image classifier: its input has shape {list(shape)}")
    last = shape[3] in (1, 3) and shape[1] not in (1, 3)
    usual = (1, *size, 3) if last else (1, 3, *size)
    return tuple(side or filled for side, filled in zip(shape, usual, strict=True))


def transpose(state: State, node: Node, tensor: Tensor) -> Tensor:
    """Return the tensor with another order of the axes."""
    rank = len(tensor.shape)
    order = [int(axis) for axis in node.attributes.get("perm", [*range(rank)][::-1])]
    if sorted(order) != [*range(rank)]:
        raise DialectError(f"a Transpose {order} of {rank} axes")
    shape = tuple(tensor.shape[i] for i in order)
    axes = "".join(tensor.axes[i] for i in order)
    if tensor.place != PICTURE:
        return dataclasses.replace(tensor, shape=shape, axes=axes)
    factor, offset = (
        np.reshape(values, (1,) * (4 - np.ndim(values)) + np.shape(values)).transpose(order)
        for values in (tensor.factor, tensor.offset)
    )
    return dataclasses.replace(tensor, shape=shape, axes=axes, factor=factor, offset=offset)
