"""State while an ONNX graph is followed: its constants, tensors and layers so far.

Exporters leave arithmetic on constants in the graph: paddings computed from the image's size,
weights that are dequantised or transposed. It is computed here, after a check of the result's size.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.onnx import Graph, Node
from mobilenetv2.checkpoints.graphs.chain import (
    ACTIVATIONS,
    NOT_OURS,
    PICTURE,
    PLAIN_HEAD,
    UNPADDED,
    Chain,
    Linear,
    Pads,
    Place,
    Step,
)
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.network import ClassifierSpec, Size

ROOM = 64 * 1024**2
"""Bytes that may be computed, beside four times those of the constants."""
ELEMENTWISE = frozenset(
    "Add Sub Mul Div Mod Pow Max Min Neg Sqrt Reciprocal Floor Cast CastLike Identity".split()
)
COMPUTED = ELEMENTWISE | set(
    "Shape Gather Slice Concat Unsqueeze Squeeze Reshape Transpose ConstantOfShape Expand "
    "DequantizeLinear QuantizeLinear".split()
)
"""Operators that are computed if all their inputs are constant."""
HALVES = (10, 16)
"""Numbers of float16 and bfloat16 in TensorProto.DataType; such values are kept as float32."""
CASTS = (1, 2, 3, 6, 7, 9, 11, *HALVES)
"""Numbers of the types allowed in a Cast, of at most eight bytes, for which results are counted."""


class Constants:
    """Constants of the graph, and values computed from them."""

    def __init__(self, graph: Graph) -> None:
        self.known: dict[str, NDArray] = dict(graph.constants)
        self._left = ROOM + 4 * sum(array.nbytes for array in self.known.values())
        self._opset = graph.opset

    def __contains__(self, name: str) -> bool:
        return name in self.known

    def __getitem__(self, name: str) -> NDArray:
        if name not in self.known:
            raise DialectError(f"{name!r} is computed where a constant should be")
        return self.known[name]

    def option(self, node: Node, name: str, place: int, default: Any = None) -> Any:
        """Return a value that is an input in newer opsets and an attribute in older ones."""
        if name in node.attributes:
            return node.attributes[name]
        if len(node.inputs) > place and node.inputs[place]:
            return self[node.inputs[place]]
        return default

    def compute(self, node: Node) -> bool:
        """Compute a node whose inputs are all known; return False if they are not."""
        given = [name for name in node.inputs if name]
        if node.kind == "CastLike":
            given = given[:1]  # the second input only gives the type, which is a float
        if not all(name in self.known for name in given) or node.kind not in COMPUTED:
            return False
        inputs = [self.known[name] for name in given]
        try:
            if node.kind == "Cast" and node.attributes["to"] not in CASTS:
                raise DialectError("a Cast of constants to an unsupported type")
            self._left -= 8 * _elements(node, inputs)
            if self._left < 0:
                raise DialectError("constants would become much larger than the file")
            self.known[node.outputs[0]] = self._value(node, inputs)
        except (DialectError, MemoryError):
            raise
        except Exception as error:  # the evaluator and NumPy raise errors of many types
            raise DialectError(f"{node.kind} of constants cannot be computed ({error})") from None
        return True

    def _value(self, node: Node, inputs: Sequence[NDArray]) -> NDArray:
        if node.kind == "DequantizeLinear":
            return dequantised(node, inputs)
        if node.kind == "CastLike" or (node.kind == "Cast" and node.attributes["to"] in HALVES):
            return inputs[0].astype(np.float32)
        from onnx import helper, numpy_helper
        from onnx.reference import ReferenceEvaluator

        attributes = {
            name: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
            for name, value in node.attributes.items()
        }
        feeds = {name: self.known[name] for name in node.inputs if name}
        made = helper.make_node(node.kind, node.inputs, node.outputs[:1], **attributes)
        ends = ([helper.make_empty_tensor_value_info(name) for name in names]
                for names in (feeds, made.output))  # fmt: skip
        graph = helper.make_graph([made], "one", *ends)
        with np.errstate(all="ignore"):
            evaluator = ReferenceEvaluator(graph, opsets={"": self._opset})
            found = np.asarray(evaluator.run(None, feeds)[0])
        if found.dtype.kind not in "fiub":
            raise TypeError(f"it gives {found.dtype}")
        return found


def _elements(node: Node, inputs: Sequence[NDArray]) -> int:
    """Return an upper bound of the number of elements in the result."""
    if node.kind in ELEMENTWISE:
        return math.prod(np.broadcast_shapes(*(array.shape for array in inputs)))
    total = sum(array.size for array in inputs)
    if node.kind == "ConstantOfShape":
        return math.prod(_whole(inputs[0]))
    if node.kind == "Expand":
        return math.prod(np.broadcast_shapes(inputs[0].shape, tuple(_whole(inputs[1]))))
    if node.kind == "Gather":
        return inputs[1].size * inputs[0].size
    return total


def _whole(values: Any) -> list[int]:
    found = [int(value) for value in np.ravel(values)]
    if len(found) > 16:
        raise DialectError(f"a shape or list of axes with {len(found):,} entries")
    return found


def shape_of(node: Node, shape: Sequence[int]) -> NDArray:
    """Return the output of Shape: all sides of a tensor, or some of them."""
    start, end = node.attributes.get("start", 0), node.attributes.get("end", len(shape))
    return np.array(shape[start:end], np.int64)


def target_shape(shape: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    """Return the output shape of a Reshape to ``wanted``: 0 keeps a side, -1 takes the rest.

    Raises:
        DialectError: the numbers of elements differ.
    """
    sides = [shape[i] if side == 0 and i < len(shape) else side for i, side in enumerate(wanted)]
    if sides.count(-1) == 1:
        rest = math.prod(side for side in sides if side != -1)
        sides[sides.index(-1)] = math.prod(shape) // rest if rest else 0
    if math.prod(sides) != math.prod(shape) or min(sides, default=1) < 0:
        raise DialectError(f"a tensor of shape {list(shape)} cannot become {list(wanted)}")
    return tuple(sides)


def dequantised(node: Node, inputs: Sequence[NDArray]) -> NDArray:
    """Return (stored - zero point) x scale, computed in float64 and rounded once to float32."""
    stored, scale = inputs[0].astype(np.int64), inputs[1].astype(np.float64)
    zero = inputs[2].astype(np.int64) if len(inputs) > 2 else np.int64(0)
    if scale.size > 1:
        shape = [1] * stored.ndim
        shape[node.attributes.get("axis", 1)] = -1
        scale, zero = scale.reshape(shape), np.reshape(np.broadcast_to(zero, scale.shape), shape)
    return np.asarray((stored - zero.reshape(np.shape(scale))) * scale, np.float32)


UNKNOWN_AXES = "0123"


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """State of a tensor that depends on the image."""

    place: Place
    shape: tuple[int, ...]
    axes: str
    """Axes in the tensor's order: 'NCHW', digits for the image, or '?' after the pooling.

    The first convolution determines the layout of the image; until then its axes are digits.
    """
    pads: Pads = UNPADDED
    """Zeros that a Pad added, for the next convolution."""
    factor: NDArray | float = 1.0
    """Factor of the image, whose values are ``pixel * factor + offset``, float64, broadcast."""
    offset: NDArray | float = 0.0
    stage: str = "map"
    """Part of the network: 'map', 'pooled' (until the last hidden layer), or 'logits'."""

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

    def __init__(self, graph: Graph, size: Size, head: ClassifierSpec = PLAIN_HEAD) -> None:
        """Start with the image; ``size`` is used if the graph does not fix it."""
        self.head = head
        self.chain, self.constants = Chain(), Constants(graph)
        ((name, shape),) = graph.inputs.items()
        self.picture = Tensor(PICTURE, closed(shape, size), UNKNOWN_AXES)
        """Input of the first convolution, or before it the graph's input."""
        self.tensors = {name: self.picture}
        self.steps: list[Step] = []
        """Convolutions from the stem to the head, after the pooling."""
        self.linears: list[Linear] = []
        """Linear layers after the pooling."""

    def pooled(self, tensor: Tensor) -> Tensor:
        """End the chain; a map of one pixel counts as pooled, because it is its own mean."""
        if tensor.stage != "map":
            return tensor
        sides = [side for side, axis in zip(tensor.shape, tensor.axes, strict=True) if axis in "HW"]
        if set(sides) - {1} or tensor.place == PICTURE or self.steps:
            raise DialectError(f"{NOT_OURS}: a tensor of shape {list(tensor.shape)} is not pooled")
        self.steps = self.chain.finish(tensor.place)
        return dataclasses.replace(tensor, stage="pooled")

    def classify(self, tensor: Tensor, weight: NDArray, bias: NDArray | None) -> Tensor:
        """Add a linear layer, weight (classes, features)."""
        tensor = self.pooled(tensor)
        if tensor.stage != "pooled":
            raise DialectError(f"{NOT_OURS}: a second linear layer")
        classes, features = weight.shape
        if features != math.prod(tensor.shape[1:]):
            raise DialectError(f"{features} features are taken of a tensor {list(tensor.shape)}")
        bias = np.zeros(classes) if bias is None else bias
        if bias.size not in (1, classes):
            raise DialectError(f"{bias.size} biases for {classes} outputs")
        bias = np.broadcast_to(bias.ravel(), classes).astype(np.float32)
        stage = "pooled" if len(self.linears) < len(self.head.hidden) else "logits"
        self.linears.append(Linear(np.ascontiguousarray(weight, np.float32), bias))
        ones = (1,) * (len(tensor.shape) - 2)
        shape = (tensor.shape[0], classes, *ones)
        return dataclasses.replace(tensor, stage=stage, shape=shape, axes="?" * len(shape))

    def bound(self, tensor: Tensor, low: float, high: float) -> Tensor:
        """Limit values to bounds, after a hidden layer or on the chain."""
        if tensor.stage != "pooled" or not self.linears or self.linears[-1].activation:
            return self.at(tensor, self.chain.bound(tensor.place, low, high))
        activation = ACTIVATIONS.get((low, high), f"bounds {low:g} to {high:g}")
        self.linears[-1] = dataclasses.replace(self.linears[-1], activation=activation)
        return tensor

    def at(self, tensor: Tensor, place: Place) -> Tensor:
        """Return the tensor at another place of the chain."""
        if tensor.stage != "map":
            raise DialectError(f"{NOT_OURS}: an operator of the chain after the pooling")
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


def reshape(state: State, node: Node, tensor: Tensor) -> Tensor:
    """Flatten, reshape, squeeze or unsqueeze a tensor that has only batch and channels left."""
    shape, option = tensor.shape, state.constants.option
    if node.kind == "Reshape":
        shape = target_shape(shape, [int(side) for side in np.ravel(option(node, "shape", 1, []))])
    elif node.kind == "Flatten":
        shape = target_shape(shape, [math.prod(shape[: node.attributes.get("axis", 1)]), -1])
    else:
        axes = option(node, "axes", 1)
        rank = len(shape) + (0 if node.kind == "Squeeze" or axes is None else np.size(axes))
        places = {int(axis) % rank for axis in np.ravel([] if axes is None else axes)}
        if node.kind == "Unsqueeze":
            if rank - len(places) != len(shape):
                raise DialectError(f"an Unsqueeze {sorted(places)} of shape {list(shape)}")
            sides = iter(shape)
            shape = tuple(1 if place in places else next(sides) for place in range(rank))
        else:
            # The first axis is the batch, whatever its size here.
            gone = places or {p for p, side in enumerate(shape) if side == 1 and p}
            if any(shape[place] != 1 for place in gone):
                raise DialectError(f"a Squeeze {sorted(gone)} of shape {list(shape)}")
            shape = tuple(side for place, side in enumerate(shape) if place not in gone)
    if shape == tensor.shape:
        return tensor
    return dataclasses.replace(state.pooled(tensor), shape=shape, axes="?" * len(shape))
