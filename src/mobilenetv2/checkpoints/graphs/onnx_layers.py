"""ONNX operators that are layers: convolution, BatchNorm, pooling, classifier."""

import dataclasses

import numpy as np

from mobilenetv2.checkpoints.containers.onnx import Node
from mobilenetv2.checkpoints.graphs.chain import (
    NOT_OURS,
    PICTURE,
    BatchNorm,
    Pads,
    Step,
    padding_rule,
)
from mobilenetv2.checkpoints.graphs.onnx_state import State, Tensor
from mobilenetv2.errors import DialectError


def convolution(state: State, node: Node, tensor: Tensor) -> Tensor:
    """A step of the chain, or the classifier where it is one over the pooled features."""
    weight = np.asarray(state.constants[node.inputs[1]], np.float32)
    bias = None
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = np.asarray(state.constants[node.inputs[2]], np.float32)
    if weight.ndim != 4 or len(tensor.shape) != 4:
        raise DialectError(f"a convolution with weights of shape {list(weight.shape)}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise DialectError(f"{bias.size} biases for {weight.shape[0]} channels")
    group, channels = node.attributes.get("group", 1), tensor.shape[1]
    depthwise = group > 1 and group == channels == weight.shape[0]
    if (not depthwise and group != 1) or weight.shape[1] != channels // group:
        raise DialectError(
            f"a convolution in {group} groups of {channels} channels, its weights "
            f"{list(weight.shape)}"
        )
    if tensor.stage != "map" and weight.shape[2:] == (1, 1):
        return state.classify(tensor, weight[:, :, 0, 0], bias)
    if tensor.place == PICTURE:
        state.picture = tensor
    elif tensor.axes != "NCHW":
        raise DialectError(f"{NOT_OURS}: a convolution behind the pooling or of other axes")
    strides, dilations = (
        [int(x) for x in node.attributes.get(name, [1, 1])] for name in ("strides", "dilations")
    )
    stride, kernel = strides[0], weight.shape[2]
    if strides != [stride] * 2 or dilations != [1, 1] or stride < 1 or weight.shape[3] != kernel:
        raise DialectError("a convolution with unequal strides or sides, or with dilation")
    height, width = (
        side - sum(pad) for side, pad in zip(tensor.shape[2:], tensor.pads, strict=True)
    )
    pads = _pads(node, kernel, stride, tensor)
    rule = padding_rule(kernel, stride, pads, (height, width))
    step = Step(tensor.place, depthwise, weight, bias, stride, rule)
    sides = [
        (side + sum(pad) - kernel) // stride + 1
        for side, pad in zip((height, width), pads, strict=True)
    ]
    if min(sides) < 1:
        raise DialectError(f"a convolution that leaves {sides} pixels")
    return Tensor(state.chain.convolve(step), (tensor.shape[0], weight.shape[0], *sides), "NCHW")


def _pads(node: Node, kernel: int, stride: int, tensor: Tensor) -> Pads:
    """All zeros around height and width: the convolution's own and a Pad's before it."""
    auto = node.attributes.get("auto_pad", "NOTSET")
    top, left, bottom, right = 0, 0, 0, 0
    if auto == "NOTSET":
        values = [int(value) for value in node.attributes.get("pads", [0, 0, 0, 0])]
        if len(values) != 4:
            raise DialectError(f"a convolution with the pads {values}")
        top, left, bottom, right = values
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        needed = [
            max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in tensor.shape[2:]
        ]
        small, large = [n // 2 for n in needed], [n - n // 2 for n in needed]
        if auto == "SAME_LOWER":
            small, large = large, small
        (top, left), (bottom, right) = small, large
    elif auto != "VALID":
        raise DialectError(f"a convolution with auto_pad {auto!r}")
    (above, below), (before, after) = tensor.pads
    return (above + top, below + bottom), (before + left, after + right)


def batch_norm(state: State, node: Node, tensor: Tensor) -> Tensor:
    """BatchNorm behind a convolution; on the picture it is its normalisation."""
    parts = [np.asarray(state.constants[name], np.float32) for name in node.inputs[1:5]]
    channels = tensor.shape[1] if len(tensor.shape) > 1 else 0
    if len(parts) != 4 or any(part.shape != (channels,) for part in parts):
        raise DialectError(f"a BatchNorm that does not fit {channels} channels")
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    norm = BatchNorm(
        parts[0], parts[1], parts[2], parts[3], epsilon, node.attributes.get("momentum")
    )
    if tensor.place != PICTURE:
        return state.at(tensor, state.chain.normalise(tensor.place, norm))
    scale, shift, mean, variance = (part.astype(np.float64)[:, None, None] for part in parts)
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + epsilon)
        return tensor.normalised(factor, shift - mean * factor)


def pool(state: State, node: Node, tensor: Tensor) -> Tensor:
    """The mean over height and width, at once or one after the other."""
    if tensor.stage == "pooled":
        return tensor
    rank, keep = len(tensor.shape), bool(node.attributes.get("keepdims", 1))
    places = [*range(2, rank)]
    if node.kind == "ReduceMean":
        axes = state.constants.option(node, "axes", 1, [*range(rank)])
        places = [int(axis) % rank for axis in np.ravel(axes)]
    elif node.kind == "AveragePool":
        window, pads = node.attributes.get("kernel_shape"), node.attributes.get("pads", [])
        if window != list(tensor.shape[2:]) or any(pads):
            raise DialectError(f"an average over {window} of {list(tensor.shape[2:])} pixels")
    if not {tensor.axes[place] for place in places} <= {"H", "W"}:
        raise DialectError(f"a mean over other axes than height and width ({places})")
    left = [
        (1 if place in places else side, axis)
        for place, (side, axis) in enumerate(zip(tensor.shape, tensor.axes, strict=True))
        if keep or place not in places
    ]
    shape, names = tuple(side for side, _ in left), "".join(axis for _, axis in left)
    tensor = dataclasses.replace(tensor, shape=shape, axes=names)
    done = all(side == 1 for side, axis in left if axis in "HW")
    return state.pooled(tensor) if done else tensor


def linear(state: State, node: Node, tensor: Tensor) -> Tensor:
    """The classifier as Gemm or MatMul."""
    weight = np.asarray(state.constants[node.inputs[1]], np.float32)
    options, bias = node.attributes, None
    if node.kind == "Gemm" and len(node.inputs) > 2 and node.inputs[2]:
        bias = state.constants[node.inputs[2]] * options.get("beta", 1.0)
    if weight.ndim != 2 or options.get("transA"):
        raise DialectError(f"a classifier with weights of shape {list(weight.shape)}")
    weight = weight if options.get("transB") else weight.T
    if options.get("alpha", 1.0) != 1.0:
        weight = weight * np.float32(options["alpha"])
    return state.classify(tensor, weight, bias)
