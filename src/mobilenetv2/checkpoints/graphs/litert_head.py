"""Layers of a LiteRT graph behind the last feature map: pooling, linear layers, outputs."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.litert import Graph, Operator
from mobilenetv2.checkpoints.graphs.head import HeadBuilder, no_head
from mobilenetv2.checkpoints.graphs.litert_constants import (
    ARITHMETIC,
    SAME_VALUES,
    affine,
    constant,
    weights,
)
from mobilenetv2.spec.network import Pooling

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
