"""What an ONNX graph computes from constants alone, worked out: shapes, paddings, weights.

Exporters leave such arithmetic in: paddings computed from the picture's size, weights that are
dequantised or transposed on the way. Sizes are counted before anything is computed.
"""

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.onnx import Graph, Node
from mobilenetv2.errors import DialectError

ROOM = 64 * 1024**2
"""Bytes that may be computed beside four times those of the constants."""
Formula = Callable[[Node, Sequence[NDArray]], NDArray]


class Constants:
    """The graph's constants and what follows from them."""

    def __init__(self, graph: Graph) -> None:
        self.known: dict[str, NDArray] = dict(graph.constants)
        self._left = ROOM + 4 * sum(array.nbytes for array in self.known.values())

    def __contains__(self, name: str) -> bool:
        return name in self.known

    def __getitem__(self, name: str) -> NDArray:
        if name not in self.known:
            raise DialectError(f"{name!r} is computed where a constant should be")
        return self.known[name]

    def option(self, node: Node, name: str, place: int, default: Any = None) -> Any:
        """What newer operators take as an input and older ones as an attribute."""
        if name in node.attributes:
            return node.attributes[name]
        if len(node.inputs) > place and node.inputs[place]:
            return self[node.inputs[place]]
        return default

    def compute(self, node: Node) -> bool:
        """Work out a node whose inputs are all known; False if they are not.

        Raises:
            DialectError: it takes more memory than such a network needs, or cannot be computed.
        """
        given = [name for name in node.inputs if name]
        if node.kind == "CastLike":
            given = given[:1]  # to the type of a tensor on the way, which is a float
        if not all(name in self.known for name in given) or node.kind not in FORMULAS:
            return False
        inputs = [self.known[name] for name in given]
        try:
            self._left -= 8 * _elements(node, inputs)
            if self._left < 0:
                raise DialectError("constants are blown up beyond the file's own size")
            with np.errstate(all="ignore"):
                self.known[node.outputs[0]] = np.asarray(FORMULAS[node.kind](node, inputs))
        except (ValueError, IndexError, TypeError, KeyError, OverflowError) as error:
            raise DialectError(f"{node.kind} of constants cannot be computed ({error})") from None
        return True


def _elements(node: Node, inputs: Sequence[NDArray]) -> int:
    """At least as many as the result has."""
    if node.kind in ELEMENTWISE:
        return math.prod(np.broadcast_shapes(*(array.shape for array in inputs)))
    total = sum(array.size for array in inputs)
    if node.kind == "ConstantOfShape":
        return math.prod(_whole(inputs[0]))
    if node.kind == "Expand":
        return math.prod(_expanded(inputs))
    if node.kind == "Gather":
        return inputs[1].size * inputs[0].size
    return total


def _whole(values: Any) -> list[int]:
    found = [int(value) for value in np.ravel(values)]
    if len(found) > 16:
        raise DialectError(f"a shape or list of axes with {len(found):,} entries")
    return found


def _expanded(inputs: Sequence[NDArray]) -> tuple[int, ...]:
    return np.broadcast_shapes(inputs[0].shape, tuple(_whole(inputs[1])))


def _axes(node: Node, inputs: Sequence[NDArray]) -> tuple[int, ...] | None:
    if "axes" in node.attributes:
        return tuple(_whole(node.attributes["axes"]))
    return tuple(_whole(inputs[1])) if len(inputs) > 1 else None


def shape_of(node: Node, shape: Sequence[int]) -> NDArray:
    """What Shape gives of a tensor: all sides, or some of them."""
    start, end = node.attributes.get("start", 0), node.attributes.get("end", len(shape))
    return np.array(shape[start:end], np.int64)


def target_shape(shape: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    """What Reshape makes of ``wanted``: 0 keeps a side, -1 takes what is left.

    Raises:
        DialectError: the number of values would change.
    """
    sides = [shape[i] if side == 0 and i < len(shape) else side for i, side in enumerate(wanted)]
    if sides.count(-1) == 1:
        rest = math.prod(side for side in sides if side != -1)
        sides[sides.index(-1)] = math.prod(shape) // rest if rest else 0
    if math.prod(sides) != math.prod(shape) or min(sides, default=1) < 0:
        raise DialectError(f"a tensor of shape {list(shape)} cannot become {list(wanted)}")
    return tuple(sides)


def _slice(node: Node, inputs: Sequence[NDArray]) -> NDArray:
    parts = [_whole(part) for part in inputs[1:]]
    if len(inputs) == 1:
        parts = [node.attributes[name] for name in ("starts", "ends")]
        parts += [node.attributes["axes"]] if "axes" in node.attributes else []
    starts, ends = parts[:2]
    axes = parts[2] if len(parts) > 2 else range(len(starts))
    steps = parts[3] if len(parts) > 3 else [1] * len(starts)
    places = [slice(None)] * inputs[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # A backward slice to before the first element ends at -infinity, written as a huge number.
        beyond = step < 0 and end < -inputs[0].shape[axis]
        places[axis] = slice(start, None if beyond else end, step)
    return inputs[0][tuple(places)]


def dequantised(node: Node, inputs: Sequence[NDArray]) -> NDArray:
    """(stored - zero point) x scale, in float64, rounded once."""
    stored, scale = inputs[0].astype(np.int64), inputs[1].astype(np.float64)
    zero = inputs[2].astype(np.int64) if len(inputs) > 2 else np.int64(0)
    if scale.size > 1:
        shape = [1] * stored.ndim
        shape[node.attributes.get("axis", 1)] = -1
        scale, zero = scale.reshape(shape), np.reshape(np.broadcast_to(zero, scale.shape), shape)
    return np.asarray((stored - zero.reshape(np.shape(scale))) * scale, np.float32)


def _quantised(node: Node, inputs: Sequence[NDArray]) -> NDArray:
    values, scale = inputs[0].astype(np.float64), inputs[1].astype(np.float64)
    zero = inputs[2] if len(inputs) > 2 else np.uint8(0)
    limits = np.iinfo(zero.dtype)
    shape = [1] * values.ndim
    if scale.size > 1:
        shape[node.attributes.get("axis", 1)] = -1
    if scale.size > 1 or values.ndim:
        scale, zero = scale.reshape(shape), np.reshape(zero, shape)
    levels = np.rint(values / scale) + zero
    return np.asarray(np.clip(levels, limits.min, limits.max), limits.dtype)


def _divide(_: Node, inputs: Sequence[NDArray]) -> NDArray:
    whole = inputs[0].dtype.kind in "iu"
    return np.asarray(inputs[0] // inputs[1] if whole else inputs[0] / inputs[1])


TYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_,
         10: np.float32, 11: np.float64, 16: np.float32}  # fmt: skip
"""Of Cast: numbers of TensorProto.DataType; half precision is kept as float32."""

ELEMENTWISE: dict[str, Formula] = {
    "Add": lambda _, x: x[0] + x[1],
    "Sub": lambda _, x: x[0] - x[1],
    "Mul": lambda _, x: x[0] * x[1],
    "Div": _divide,
    "Mod": lambda _, x: np.mod(x[0], x[1]),
    "Pow": lambda _, x: np.power(x[0], x[1]),
    "Max": lambda _, x: reduce(np.maximum, x),
    "Min": lambda _, x: reduce(np.minimum, x),
    "Neg": lambda _, x: -x[0],
    "Sqrt": lambda _, x: np.sqrt(x[0]),
    "Reciprocal": lambda _, x: 1 / x[0],
    "Floor": lambda _, x: np.floor(x[0]),
    "Cast": lambda node, x: x[0].astype(TYPES[node.attributes["to"]]),
    "CastLike": lambda _, x: x[0].astype(np.float32),
    "Identity": lambda _, x: x[0],
}

FORMULAS: dict[str, Formula] = ELEMENTWISE | {
    "Shape": lambda node, x: shape_of(node, x[0].shape),
    "Gather": lambda node, x: np.take(x[0], x[1].astype(np.int64), node.attributes.get("axis", 0)),
    "Slice": _slice,
    "Concat": lambda node, x: np.concatenate(x, node.attributes["axis"]),
    "Unsqueeze": lambda node, x: np.expand_dims(x[0], _axes(node, x) or ()),
    "Squeeze": lambda node, x: np.squeeze(x[0], _axes(node, x)),
    "Reshape": lambda node, x: x[0].reshape(target_shape(x[0].shape, _whole(x[1]))),
    "Transpose": lambda node, x: x[0].transpose(node.attributes.get("perm")),
    "ConstantOfShape": lambda node, x: np.full(
        _whole(x[0]), np.ravel(node.attributes.get("value", np.float32(0)))[0]
    ),
    "Expand": lambda _, x: np.broadcast_to(x[0], _expanded(x)),
    "DequantizeLinear": dequantised,
    "QuantizeLinear": _quantised,
}
