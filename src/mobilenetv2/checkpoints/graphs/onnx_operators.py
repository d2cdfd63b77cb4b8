"""ONNX operators that are no layers: arithmetic, bounds, paddings, shapes."""

import dataclasses
import math

import numpy as np

from mobilenetv2.checkpoints.containers.onnx import Node
from mobilenetv2.checkpoints.graphs.chain import NOT_OURS, PICTURE
from mobilenetv2.checkpoints.graphs.onnx_constants import target_shape
from mobilenetv2.checkpoints.graphs.onnx_state import State, Tensor
from mobilenetv2.errors import DialectError

LARGEST_PAD = 8
ALMOST_SIX = 6.01


def arithmetic(state: State, node: Node, tensor: Tensor) -> Tensor:
    """Add, Sub, Mul, Div: a shortcut, a bias, a BatchNorm written out, a normalisation."""
    both = [state.tensors[name] for name in node.inputs if name in state.tensors]
    if len(both) == 2:
        if both[0].shape != both[1].shape or node.kind != "Add":
            raise DialectError(f"{NOT_OURS}: {node.kind} of two tensors")
        return state.at(tensor, state.chain.add(both[0].place, both[1].place))
    first = node.inputs[0] in state.tensors
    constant = state.constants[node.inputs[1 if first else 0]].astype(np.float64)
    if not first and node.kind in ("Sub", "Div"):
        raise DialectError(f"{NOT_OURS}: {node.kind} of a constant and a tensor")
    factor, offset = np.ones(()), np.zeros(())
    if node.kind in ("Add", "Sub"):
        offset = constant if node.kind == "Add" else -constant
    else:
        with np.errstate(all="ignore"):
            factor = constant if node.kind == "Mul" else 1 / constant
    if tensor.stage == "logits" and state.classifier and node.kind in ("Add", "Sub"):
        weight, bias = state.classifier
        if offset.size not in (1, bias.size):
            raise DialectError(f"{offset.size} biases for {bias.size} outputs")
        state.classifier = (weight, (bias + offset.ravel()).astype(np.float32))
        return tensor
    if tensor.stage != "map" or constant.ndim > len(tensor.shape):
        raise DialectError(f"{NOT_OURS}: {node.kind} with a constant behind the pooling")
    if tensor.place == PICTURE:
        return tensor.normalised(factor, offset)
    axes = tensor.axes[len(tensor.axes) - constant.ndim :]
    if any(side > 1 and axis != "C" for side, axis in zip(constant.shape, axes, strict=True)):
        raise DialectError(f"{node.kind} with a constant that varies over the picture")
    return state.at(tensor, state.chain.affine(tensor.place, factor, offset))


def activation(state: State, node: Node, tensor: Tensor) -> Tensor:
    """Relu, Clip, Max, Min: bounds."""
    low, high = -math.inf, math.inf
    if node.kind == "Relu":
        low = 0.0
    elif node.kind == "Clip":
        low = _number(state.constants.option(node, "min", 1, low), node)
        high = _number(state.constants.option(node, "max", 2, high), node)
    else:
        known = [state.constants[name] for name in node.inputs if name in state.constants]
        if len(known) != 1:
            raise DialectError(f"{NOT_OURS}: {node.kind} of two tensors")
        bound = _number(known[0], node)
        low, high = (bound, high) if node.kind == "Max" else (low, bound)
    return state.at(tensor, state.chain.bound(tensor.place, low, high))


def _number(value: object, node: Node) -> float:
    array = np.asarray(value)
    if array.size != 1:
        raise DialectError(f"{node.kind} with a bound of {array.size} values")
    return float(array.item())


def quantisation(state: State, node: Node, tensor: Tensor) -> Tensor:
    """QuantizeLinear and DequantizeLinear on the way: rounding, which is left out.

    A range that begins at 0 stands for the ReLU that quantisers leave out in front of it.
    """
    scale = state.constants[node.inputs[1]].astype(np.float64)
    zero = np.zeros((), np.uint8)
    if len(node.inputs) > 2 and node.inputs[2]:
        zero = state.constants[node.inputs[2]]
    if scale.size != 1 or zero.size != 1 or zero.dtype.kind not in "iu" or not scale.all():
        raise DialectError(f"{node.kind} of the picture with more than one scale")
    step, zero_point = float(scale.item()), int(zero.item())
    if tensor.place == PICTURE:
        if node.kind == "QuantizeLinear":
            return tensor.normalised(np.array(1 / step), np.array(float(zero_point)))
        return tensor.normalised(np.array(step), np.array(-step * zero_point))
    limits = np.iinfo(zero.dtype)
    bare = tensor.stage == "map" and state.chain[tensor.place].added is None
    if node.kind == "DequantizeLinear" or zero_point != limits.min or not bare:
        return tensor
    # Calibration may have seen less than 6; six is then the bound that nothing reached.
    high = 6.0 if (limits.max - zero_point) * step < ALMOST_SIX else math.inf
    return state.at(tensor, state.chain.bound(tensor.place, 0.0, high))


def pad(state: State, node: Node, tensor: Tensor) -> Tensor:
    """Zeros around height and width, for the next convolution."""
    values = [int(value) for value in np.ravel(state.constants.option(node, "pads", 1, []))]
    fill = _number(state.constants.option(node, "value", 2, 0.0), node)
    axes = range(4)
    if len(node.inputs) > 3 and node.inputs[3]:
        axes = [int(axis) % 4 for axis in np.ravel(state.constants[node.inputs[3]])]  # type: ignore[assignment]
    count, mode = len(axes), node.attributes.get("mode", "constant")
    if len(values) != 2 * count or len(tensor.shape) != 4 or mode != "constant" or fill:
        raise DialectError("a Pad that is not of zeros around a picture")
    around = dict.fromkeys(range(4), (0, 0))
    around |= {a: (values[i], values[i + count]) for i, a in enumerate(axes)}
    spatial = [tensor.axes.index(name) if name in tensor.axes else place
               for name, place in (("H", 2), ("W", 3))]  # fmt: skip
    outside = set(range(4)) - set(spatial)
    if any(around[a] != (0, 0) for a in outside) or not 0 <= min(values) <= max(values) <= LARGEST_PAD:  # fmt: skip # noqa: E501
        raise DialectError(f"a Pad of {values}, not of height and width alone")
    shape = tuple(side + sum(around[a]) for a, side in enumerate(tensor.shape))
    return dataclasses.replace(tensor, shape=shape, pads=(around[spatial[0]], around[spatial[1]]))


def transpose(state: State, node: Node, tensor: Tensor) -> Tensor:
    """Another order of the axes."""
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
    """Flatten, Reshape, Squeeze, Unsqueeze: nothing but the batch and the channels are left."""
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
