"""Single LiteRT operators: their constants, and the layers that they are in a head."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.litert import Graph, Operator
from mobilenetv2.checkpoints.graphs.head import HeadBuilder, no_head
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.network import Pooling

SAME_VALUES = frozenset({"QUANTIZE", "DEQUANTIZE", "CAST"})
"""Operators that give the values that they take, in another type."""
ARITHMETIC = frozenset({"ADD", "SUB", "MUL", "DIV"})
POOLS: dict[str, Pooling] = {
    "MEAN": "average", "AVERAGE_POOL_2D": "average", "REDUCE_MAX": "max", "MAX_POOL_2D": "max",
}  # fmt: skip
RESHAPES = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})
LINEAR = frozenset({"CONV_2D", "FULLY_CONNECTED"})
ACTIVATIONS = {
    "NONE": "", "RELU": "relu", "RELU6": "relu6", "SOFTMAX": "softmax", "LOGISTIC": "sigmoid",
    "LOG_SOFTMAX": "log_softmax",
}  # fmt: skip
"""Names in a head of operators, and of the activations that are fused into one."""
STARTS = frozenset(POOLS) | RESHAPES | {"FULLY_CONNECTED"}
"""Operators that begin the head where they take a map."""


def constant(graph: Graph, operator: Operator, position: int) -> NDArray | None:
    """Return the constant input at a position, or None."""
    index = operator.inputs[position] if len(operator.inputs) > position else -1
    return graph.tensors[index].values if index >= 0 else None


def weights(graph: Graph, operator: Operator) -> tuple[NDArray, NDArray | None]:
    """Return the float32 weight and bias of a convolution or a linear layer.

    Raises:
        DialectError: they are computed, or do not fit each other.
    """
    values = [graph.tensors[index].values for index in operator.inputs[1:3] if index >= 0]
    if not values or any(value is None for value in values):
        raise DialectError(f"{operator.kind} without constant weights")
    weight = np.asarray(values[0], np.float32)
    if weight.ndim < 2:
        raise DialectError(f"{operator.kind} with weights of shape {list(weight.shape)}")
    channels = weight.shape[3 if operator.kind == "DEPTHWISE_CONV_2D" and weight.ndim == 4 else 0]
    if len(values) < 2:
        return weight, None
    bias = np.asarray(values[1], np.float32)
    if bias.shape != (channels,):
        raise DialectError(f"{operator.kind} of {channels} channels with {bias.size} biases")
    return weight, bias


def affine(graph: Graph, operator: Operator) -> tuple[NDArray, NDArray] | None:
    """Return factor and offset of an ADD, SUB, MUL or DIV with a constant; None without one.

    Raises:
        DialectError: a constant is divided by the tensor, or by 0.
    """
    if len(operator.inputs) != 2:
        return None
    first, second = constant(graph, operator, 0), constant(graph, operator, 1)
    if (first is None) == (second is None):
        return None
    values = np.asarray(second if first is None else first, np.float64)
    one, zero, kind = np.ones(1), np.zeros(1), operator.kind
    if kind == "MUL":
        return values, zero
    if kind == "DIV":
        if first is not None or not values.all():
            raise DialectError("a DIV by the image, or by 0")
        return 1 / values, zero
    if kind == "ADD":
        return one, values
    return (one, -values) if first is None else (-one, values)


# ---------------------------------------------------------------- layers of a head


def take(graph: Graph, operator: Operator, head: HeadBuilder) -> None:
    """Add an operator to a head.

    Raises:
        DialectError: it has no place in a head that can be described.
    """
    kind = operator.kind
    given, made = (graph.tensors[at].shape for at in (operator.inputs[0], operator.outputs[0]))
    if kind in SAME_VALUES:
        return
    if kind in POOLS:
        _pool(graph, operator, head)
    elif kind in RESHAPES:
        _reshape(head, made)
    elif kind in LINEAR:
        _linear(graph, operator, head)
    elif kind in ARITHMETIC:
        _scale(graph, operator, head, given)
    elif kind in ACTIVATIONS:
        head.activate(ACTIVATIONS[kind])
    else:
        raise no_head(f"the operator {kind}")
    if operator.activation != "NONE":
        head.activate(ACTIVATIONS.get(operator.activation, operator.activation))


def _pool(graph: Graph, operator: Operator, head: HeadBuilder) -> None:
    kind = operator.kind
    given, made = (graph.tensors[at].shape for at in (operator.inputs[0], operator.outputs[0]))
    if kind in ("MEAN", "REDUCE_MAX"):
        axes = constant(graph, operator, 1)
        found = None if axes is None else axes.ravel().tolist()
        rank = len(given)
        places = {axis + rank if axis < 0 else axis for axis in found or ()}
        if head.pooled and found and all(0 < at < rank and given[int(at)] == 1 for at in places):
            return
        if rank != 4 or places != {1, 2}:
            raise no_head(f"{kind} over the axes {found} of a map of shape {list(given)}")
        head.pool(POOLS[kind])
        return
    whole = len(given) == 4 and operator.window == given[1:3] and made[1:3] == (1, 1)
    if not whole:
        raise no_head(
            f"{kind} with a window of {list(operator.window)} on a map of {list(given[1:3])} gives "
            f"{list(made[1:3])}, where a MobileNetV2 pools the whole map"
        )
    head.pool(POOLS[kind], operator.window)


def _reshape(head: HeadBuilder, made: Sequence[int]) -> None:
    total = math.prod(made)
    if head.pooled:
        if total != head.channels:
            raise no_head(f"a reshape of {head.channels:,} values into {list(made)}")
    elif made[-1:] != (head.channels,) or made[:1] != (1,):
        head.flatten()


def _linear(graph: Graph, operator: Operator, head: HeadBuilder) -> None:
    weight, bias = weights(graph, operator)
    ones = (1, 1) if operator.kind == "CONV_2D" else ()
    if weight.shape[1:-1] != ones or operator.stride != (1, 1):
        raise no_head(f"a linear layer, {operator.kind}, with weights {list(weight.shape)}")
    flat = weight.reshape(len(weight), -1)
    if not head.pooled and flat.shape[1] != head.channels:
        head.flatten()
    head.linear(flat, bias)


def _scale(graph: Graph, operator: Operator, head: HeadBuilder, shape: Sequence[int]) -> None:
    found = affine(graph, operator)
    if found is None:
        raise no_head(f"{operator.kind} of two tensors")
    factor, offset = (_by_channel(values, shape) for values in found)
    if not head.pooled and max(factor.size, offset.size) > 1:
        raise no_head(f"{operator.kind} with a constant for each channel before the pooling")
    head.scale(factor, offset)


def _by_channel(values: NDArray, shape: Sequence[int]) -> NDArray:
    if values.size > 1 and (values.shape[-1] != values.size or values.size != shape[-1]):
        raise no_head(f"a constant of shape {list(values.shape)} that varies over the map")
    return np.ravel(values)
