"""Layers of an ONNX graph behind the last feature map: pooling, linear layers, outputs."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.onnx import Node
from mobilenetv2.checkpoints.graphs.head import HeadBuilder, no_head
from mobilenetv2.checkpoints.graphs.onnx.constants import Constants, target_shape
from mobilenetv2.checkpoints.graphs.onnx.state import State, Tensor, transpose
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.network import Pooling

POOLS: dict[str, Pooling] = {
    "GlobalAveragePool": "average", "ReduceMean": "average", "AveragePool": "average",
    "GlobalMaxPool": "max", "ReduceMax": "max", "MaxPool": "max",
}  # fmt: skip
RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
STARTS = frozenset(POOLS) | RESHAPES | {"Gemm", "MatMul"}
"""Operators that begin the head where they take a map."""
ALMOST_SIX = (5.99, 6.01)


def take(state: State, node: Node, tensor: Tensor) -> Tensor:
    """Add an operator to the head, which begins with it if ``tensor`` is still a map.

    Raises:
        DialectError: it has no place in a head that can be described.
    """
    head, tensor = state.headed(tensor)
    if node.kind not in HANDLERS:
        raise no_head(f"the operator {node.kind}")
    if len({name for name in node.inputs if name in state.tensors}) > 1:
        raise no_head(f"{node.kind} of two tensors")
    return HANDLERS[node.kind](state, node, tensor, head)


def _pool(state: State, node: Node, tensor: Tensor, head: HeadBuilder) -> Tensor:
    kind, rank = POOLS[node.kind], len(tensor.shape)
    keep, places = bool(node.attributes.get("keepdims", 1)), [*range(2, rank)]
    if node.kind.startswith("Reduce"):
        axes = state.constants.option(node, "axes", 1, [*range(rank)])
        places = [int(axis) % rank for axis in np.ravel(axes)]
    elif not node.kind.startswith("Global"):
        window, pads = node.attributes.get("kernel_shape"), node.attributes.get("pads", [])
        if window != list(tensor.shape[2:]) or any(pads):
            raise no_head(f"{kind} pooling over {window} of {list(tensor.shape[2:])} positions")
    left = [
        (1 if place in places else side, axis)
        for place, (side, axis) in enumerate(zip(tensor.shape, tensor.axes, strict=True))
        if keep or place not in places
    ]
    shape, names = tuple(side for side, _ in left), "".join(axis for _, axis in left)
    if head.pooled:
        if any(tensor.shape[place] != 1 for place in places):
            raise no_head(f"{node.kind} over the pooled features")
        return state.through(tensor, shape=shape, axes=names)
    if not {tensor.axes[place] for place in places} <= {"H", "W"}:
        raise no_head(f"{node.kind} over other axes than height and width")
    if tensor.reduced not in ("", kind):
        raise no_head("a mean along one side and a maximum along the other")
    if all(side == 1 for side, axis in left if axis in "HW"):
        head.pool(kind)
        kind_left = ""
    else:
        kind_left = kind
    return state.through(tensor, shape=shape, axes=names, reduced=kind_left)


def _linear(state: State, node: Node, tensor: Tensor, head: HeadBuilder) -> Tensor:
    weight = np.asarray(state.constants[node.inputs[1]], np.float32)
    options, bias = node.attributes, None
    if node.kind == "Gemm" and len(node.inputs) > 2 and node.inputs[2]:
        bias = state.constants[node.inputs[2]] * options.get("beta", 1.0)
    if weight.ndim != 2 or options.get("transA"):
        raise no_head(f"a linear layer with weights of shape {list(weight.shape)}")
    weight = weight if options.get("transB") else weight.T
    if options.get("alpha", 1.0) != 1.0:
        weight = weight * np.float32(options["alpha"])
    if tensor.shape[-1] != head.channels or (head.pooled and math.prod(tensor.shape[1:-1]) != 1):
        if not head.pooled:
            head.flatten()
        raise no_head(
            f"a linear layer {list(weight.shape)} of a tensor of shape {list(tensor.shape)}"
        )
    _add_linear(head, tensor, weight, bias)
    return state.through(tensor, shape=(*tensor.shape[:-1], head.channels), floor="")


def _convolution(state: State, node: Node, tensor: Tensor, head: HeadBuilder) -> Tensor:
    weight = np.asarray(state.constants[node.inputs[1]], np.float32)
    bias = state.constants.option(node, "B", 2)
    if weight.shape[2:] != (1, 1) or node.attributes.get("group", 1) != 1:
        raise no_head(f"a convolution with weights of shape {list(weight.shape)}")
    if len(tensor.shape) != 4 or tensor.shape[1] != head.channels:
        raise no_head(f"a convolution of a tensor of shape {list(tensor.shape)}")
    _add_linear(head, tensor, weight[:, :, 0, 0], bias)
    return state.through(
        tensor, shape=(tensor.shape[0], head.channels, *tensor.shape[2:]), floor=""
    )


def _add_linear(head: HeadBuilder, tensor: Tensor, weight: NDArray, bias: NDArray | None) -> None:
    head.activate(tensor.floor)
    if bias is not None and np.size(bias) == 1:
        bias = np.broadcast_to(np.ravel(bias), len(weight))
    head.linear(weight, None if bias is None else np.ravel(bias))


def _arithmetic(state: State, node: Node, tensor: Tensor, head: HeadBuilder) -> Tensor:
    first = node.inputs[0] in state.tensors
    constant = np.asarray(state.constants[node.inputs[1 if first else 0]], np.float64)
    if constant.ndim > len(tensor.shape) or (not first and node.kind == "Div"):
        raise no_head(f"{node.kind} with a constant of shape {list(constant.shape)}")
    aligned = tensor.shape[len(tensor.shape) - constant.ndim :]
    if any(side not in (1, whole) for side, whole in zip(constant.shape, aligned, strict=True)):
        raise no_head(f"{node.kind} with a constant of shape {list(constant.shape)}")
    factor, offset = np.ones(1), np.zeros(1)
    if node.kind in ("Add", "Sub"):
        offset = constant if node.kind == "Add" or not first else -constant
        factor = factor if node.kind == "Add" or first else -factor
    else:
        with np.errstate(all="ignore"):
            factor = constant if node.kind == "Mul" else 1 / constant
    _scale(head, tensor, factor, offset)
    return state.through(tensor)


def _batch_norm(state: State, node: Node, tensor: Tensor, head: HeadBuilder) -> Tensor:
    scale, shift, mean, variance = (
        np.asarray(state.constants[name], np.float64) for name in node.inputs[1:5]
    )
    factor = scale / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
    _scale(head, tensor, factor, shift - mean * factor)
    return state.through(tensor)


def _scale(head: HeadBuilder, tensor: Tensor, factor: NDArray, offset: NDArray) -> None:
    if not head.pooled and max(factor.size, offset.size) > 1:
        raise no_head("a scaling of each channel before the pooling")
    head.scale(factor, offset)


def _activation(state: State, node: Node, tensor: Tensor, head: HeadBuilder) -> Tensor:
    head.activate(_named(state.constants, node))
    return state.through(tensor)


def _named(constants: Constants, node: Node) -> str:
    """Return the name of an activation: 'relu', 'relu6', or its bounds in words."""
    low, high = 0.0, math.inf
    if node.kind == "Clip":
        low, high = (
            float(np.asarray(constants.option(node, name, place, limit)).item())
            for name, place, limit in (("min", 1, -math.inf), ("max", 2, math.inf))
        )
    elif node.kind in ("Max", "Min"):
        bounds = [np.asarray(constants[x]) for x in node.inputs if x in constants]
        if len(bounds) != 1 or bounds[0].size != 1:
            raise no_head(f"{node.kind} of two tensors")
        bound = float(bounds[0].item())
        low, high = (bound, high) if node.kind == "Max" else (low, bound)
    if low == 0:
        return {math.inf: "relu", 6.0: "relu6"}.get(high, f"with values of 0 to {high:g}")
    return f"with values of {low:g} to {high:g}"


def _probabilities(state: State, node: Node, tensor: Tensor, head: HeadBuilder) -> Tensor:
    if node.kind != "Sigmoid":
        axis = int(node.attributes.get("axis", -1 if state.constants.opset >= 13 else 1))
        sides = tensor.shape[axis % len(tensor.shape) :]
        if state.constants.opset >= 13:
            sides = sides[:1]
        if math.prod(sides) != head.channels:
            raise no_head(f"a {node.kind} over axis {axis} of a tensor {list(tensor.shape)}")
    names = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}
    head.activate(names[node.kind])
    return state.through(tensor)


def _quantisation(state: State, node: Node, tensor: Tensor, head: HeadBuilder) -> Tensor:
    """Restore the ReLU of a hidden layer, which quantisers leave to the range of its integers."""
    zero = np.asarray(state.constants.option(node, "zero_point", 2, np.uint8(0)))
    scale = np.asarray(state.constants[node.inputs[1]], np.float64)
    if scale.size != 1 or zero.size != 1 or zero.dtype.kind not in "iu":
        raise no_head(f"{node.kind} with {scale.size} scales")
    limits = np.iinfo(zero.dtype)
    if node.kind == "QuantizeLinear" and int(zero.item()) == limits.min:
        high = (limits.max - limits.min) * float(scale.item())
        low, almost = ALMOST_SIX
        return dataclasses.replace(tensor, floor="relu6" if low < high < almost else "relu")
    return tensor


def _reshape(state: State, node: Node, tensor: Tensor, head: HeadBuilder) -> Tensor:
    shape = shape_after(state.constants, node, tensor.shape)
    if shape == tensor.shape:
        return tensor
    squeezed = [side for side in tensor.shape if side != 1] == [side for side in shape if side != 1]
    if not head.pooled and not (node.kind in ("Squeeze", "Unsqueeze") and squeezed):
        head.flatten()
    return state.through(tensor, shape=shape, axes="?" * len(shape))


def shape_after(constants: Constants, node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the output shape of a Reshape, Flatten, Squeeze or Unsqueeze."""
    option = constants.option
    if node.kind == "Reshape":
        return target_shape(shape, [int(side) for side in np.ravel(option(node, "shape", 1, []))])
    if node.kind == "Flatten":
        return target_shape(shape, [math.prod(shape[: node.attributes.get("axis", 1)]), -1])
    axes = option(node, "axes", 1)
    rank = len(shape) + (0 if node.kind == "Squeeze" or axes is None else np.size(axes))
    places = {int(axis) % rank for axis in np.ravel([] if axes is None else axes)}
    if node.kind == "Unsqueeze":
        if rank - len(places) != len(shape):
            raise DialectError(f"an Unsqueeze {sorted(places)} of shape {list(shape)}")
        sides = iter(shape)
        return tuple(1 if place in places else next(sides) for place in range(rank))
    # The first axis is the batch, whatever its size here.
    gone = places or {p for p, side in enumerate(shape) if side == 1 and p}
    if any(shape[place] != 1 for place in gone):
        raise DialectError(f"a Squeeze {sorted(gone)} of shape {list(shape)}")
    return tuple(side for place, side in enumerate(shape) if place not in gone)


def _transpose(state: State, node: Node, tensor: Tensor, head: HeadBuilder) -> Tensor:
    return transpose(state, node, tensor)


Handler = Callable[[State, Node, Tensor, HeadBuilder], Tensor]
HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(POOLS, _pool),
    **dict.fromkeys(RESHAPES, _reshape),
    **dict.fromkeys(("Gemm", "MatMul"), _linear),
    "Conv": _convolution,
    "BatchNormalization": _batch_norm,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _arithmetic),
    **dict.fromkeys(("Relu", "Clip", "Max", "Min"), _activation),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Sigmoid"), _probabilities),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _quantisation),
    "Transpose": _transpose,
}
