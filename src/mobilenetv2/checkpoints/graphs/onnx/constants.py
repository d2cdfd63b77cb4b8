"""Arithmetic on constants in an ONNX graph.

Exporters leave it there: paddings computed from the image's size, weights that are dequantised or
transposed. It is computed here, after a check of the result's size.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.onnx import Graph, Node
from mobilenetv2.errors import DialectError

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
        self.opset = graph.opset

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
            evaluator = ReferenceEvaluator(graph, opsets={"": self.opset})
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
    zero = inputs[2].astype(np.int64) if len(inputs) > 2 else np.zeros((), np.int64)
    count = max(scale.size, zero.size)
    if count > 1:
        shape = [1] * stored.ndim
        shape[node.attributes.get("axis", 1)] = -1
        scale = np.broadcast_to(scale.ravel(), count).reshape(shape)
        zero = np.broadcast_to(zero.ravel(), count).reshape(shape)
    return np.asarray((stored - zero.reshape(np.shape(scale))) * scale, np.float32)
