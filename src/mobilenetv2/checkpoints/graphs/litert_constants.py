"""Constants of LiteRT operators: weights, biases, axes, and numbers that scale a tensor."""

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.litert import Graph, Operator
from mobilenetv2.errors import DialectError

SAME_VALUES = frozenset({"QUANTIZE", "DEQUANTIZE", "CAST"})
"""Operators that give the values that they take, in another type."""
ARITHMETIC = frozenset({"ADD", "SUB", "MUL", "DIV"})


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
