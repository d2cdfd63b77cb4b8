"""Operators of a foreign graph and what is between them: the ends of it tell how it is used.

The first operators scale the picture, if the graph does so itself; the last one says whether the
outputs are probabilities. ONNX and LiteRT have other names for the same operators, which do not
collide, so that one table has both.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.input_range import LEAST_SPAN, takes_pixels

MOST_VALUES = 16
"""Maximum number of values of a constant that scales a picture: one a channel."""
PASSING = frozenset({
    "Cast", "Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose",
    "QuantizeLinear", "DequantizeLinear", "Slice",
    "CAST", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "QUANTIZE", "DEQUANTIZE",
    "REVERSE_V2", "STRIDED_SLICE", "Pad", "PAD", "PADV2",
})  # fmt: skip
"""Operators that keep the values and change their order, shape or type only."""
SOFTMAX = frozenset({"Softmax", "SOFTMAX", "QLinearSoftmax"})
SIGMOID = frozenset({"Sigmoid", "LOGISTIC", "QLinearSigmoid"})
LINEAR = frozenset({
    "Gemm", "MatMul", "Conv", "Add", "LogSoftmax", "GlobalAveragePool", "AveragePool", "ReduceMean",
    "QLinearMatMul", "QGemm", "QLinearConv", "QLinearAdd", "FusedGemm", "FusedMatMul", "FusedConv",
    "MatMulInteger", "DynamicQuantizeMatMul",
    "FULLY_CONNECTED", "CONV_2D", "ADD", "MEAN", "AVERAGE_POOL_2D", "BATCH_MATMUL", "LOG_SOFTMAX",
})  # fmt: skip
"""Operators whose values have no bounds, so that as a last one they give logits."""
POOLING = frozenset({
    "GlobalAveragePool", "AveragePool", "ReduceMean", "GlobalMaxPool", "ReduceMax",
    "QLinearGlobalAveragePool", "QLinearAveragePool", "QLinearReduceMean",
    "MEAN", "AVERAGE_POOL_2D", "REDUCE_MAX", "MAX_POOL_2D",
})  # fmt: skip
"""Operators that pool a map."""
ACTIVATING = frozenset({
    "Relu", "Clip", "LeakyRelu", "PRelu", "Elu", "HardSwish", "Gelu", "Swish", "Mish",
    "QLinearLeakyRelu", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "PRELU", "ELU",
    "HARD_SWISH", "GELU", "CONV_2D with an activation", "ADD with an activation",
})  # fmt: skip
"""Operators whose values are activated: those of a hidden layer, and no scores of classes."""
CONVOLUTIONS = frozenset({
    "Conv", "FusedConv", "CONV_2D", "CONV_2D with an activation", "DEPTHWISE_CONV_2D",
})  # fmt: skip
WIDENING = frozenset({"DEQUANTIZE", "CAST", "Cast", "Identity"})
"""Operators between a stored constant and its use, such as from float16."""
ARITHMETIC = {
    "Add": "+", "Sub": "-", "Mul": "*", "Div": "/",
    "ADD": "+", "SUB": "-", "MUL": "*", "DIV": "/",
}  # fmt: skip
MOST_SPAN = 12.0
"""Maximum width of the range that a network's first convolution takes."""

Meaning = Literal["softmax", "sigmoid", "linear", "features", "unknown"]
"""Meaning of a graph's last operator; 'linear' gives logits, and 'features' a body's vector."""


@dataclass(frozen=True, slots=True)
class Node:
    """An operator, with the names of its tensors."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wiring:
    """Operators in order, and the constants that are small enough to scale a picture."""

    nodes: Sequence[Node]
    constants: Mapping[str, NDArray]


def last_operator(wiring: Wiring, output: str) -> tuple[Meaning, str]:
    """Return the meaning of an output by its last operator that computes, and that one's name."""
    makers = {name: node for node in wiring.nodes for name in node.outputs}
    node = _computing(wiring, makers, output)
    kind = node.kind if node else ""
    if node and kind in POOLING and node.inputs:
        before = _computing(wiring, makers, node.inputs[0])
        if before is not None and before.kind in ACTIVATING:
            return "features", kind
    kinds: dict[Meaning, frozenset[str]] = {
        "softmax": SOFTMAX, "sigmoid": SIGMOID, "linear": LINEAR,
    }  # fmt: skip
    for meaning, names in kinds.items():
        if kind in names:
            return meaning, kind
    return "unknown", kind


def _computing(wiring: Wiring, makers: Mapping[str, Node], name: str) -> Node | None:
    """Return the last operator that computes a tensor's values."""
    node = makers.get(name)
    for _ in wiring.nodes:  # a damaged graph may turn in circles
        if node is None or node.kind not in PASSING or not node.inputs:
            break
        node = makers.get(node.inputs[0])
    return node


@dataclass(frozen=True, slots=True)
class Front:
    """Beginning of a graph: what it does to its input before the first layer."""

    largest: float | None
    """Largest pixel value that the graph takes, 255 or 1; None if it does not scale its input, or
    to a range that no network has."""
    operators: tuple[str, ...]
    """Names of the operators that scale."""
    filters: str | None
    """Name of the tensor of the first convolution's weights."""

    @property
    def scaled(self) -> tuple[float, tuple[str, ...]] | None:
        """Largest pixel value and operators of a graph with scaling inside; None for others."""
        return None if self.largest is None else (self.largest, self.operators)


def front(wiring: Wiring, given: str) -> Front:
    """Return the beginning of a graph.

    Args:
        wiring: the graph.
        given: name of its input.
    """
    readers: dict[str, list[Node]] = defaultdict(list)
    for node in wiring.nodes:
        for name in node.inputs:
            readers[name].append(node)
    factor, shift, found, filters = np.ones(1), np.zeros(1), list[str](), None
    for _ in wiring.nodes:  # a damaged graph may turn in circles
        if len(readers[given]) != 1 or not readers[given][0].outputs:
            break
        node = readers[given][0]
        if node.kind in ARITHMETIC:
            with np.errstate(all="ignore"):  # any constant may be in it
                changed = _arithmetic(node, given, wiring, factor, shift)
            if changed is None:
                break
            factor, shift = changed
            found.append(node.kind)
        elif node.kind not in PASSING:
            if node.kind in CONVOLUTIONS and len(node.inputs) > 1:
                filters = node.inputs[1]
            break
        given = node.outputs[0]
    return Front(_largest(factor, shift) if found else None, tuple(found), filters)


def source(wiring: Wiring, name: str) -> str:
    """Return the stored tensor from which a constant is widened or dequantised."""
    makers = {made: node for node in wiring.nodes for made in node.outputs}
    node = makers.get(name)
    return node.inputs[0] if node and node.kind in WIDENING and node.inputs else name


def _arithmetic(
    node: Node, given: str, wiring: Wiring, factor: NDArray, shift: NDArray
) -> tuple[NDArray, NDArray] | None:
    others = [wiring.constants.get(source(wiring, n)) for n in node.inputs if n != given]
    if len(others) != 1 or others[0] is None or (node.inputs[0] != given and node.kind[0] in "SD"):
        return None
    (value,) = (np.asarray(other, np.float64).ravel() for other in others if other is not None)
    if value.size not in (1, factor.size) and factor.size != 1:
        return None
    sign = ARITHMETIC[node.kind]
    if sign in "+-":
        return factor, shift + (value if sign == "+" else -value)
    if sign == "/" and not value.all():
        return None
    scale = value if sign == "*" else 1 / value
    return factor * scale, shift * scale


def _largest(factor: NDArray, shift: NDArray) -> float | None:
    most = float(np.abs(factor).max())
    if LEAST_SPAN <= 255 * most <= MOST_SPAN:
        return 255.0
    if not LEAST_SPAN <= most <= MOST_SPAN:
        return None
    return 255.0 if takes_pixels(factor, shift) else 1.0
