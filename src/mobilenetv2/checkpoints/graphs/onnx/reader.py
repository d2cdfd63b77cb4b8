"""Reader of ONNX classifiers from any exporter, node by node, as a ``Chain``.

It reads files of PyTorch's exporters, tf2onnx, the model zoo's from MXNet, and
:mod:`mobilenetv2.graph.onnx`, whose files contain their whole config. A BatchNorm in the file is
imported bit for bit; a folded one becomes an identity that carries the bias.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.onnx import Graph, Node, parse_onnx, read_onnx
from mobilenetv2.checkpoints.description import (
    METADATA,
    Description,
    ImportOptions,
    describe_config,
    parse_config,
)
from mobilenetv2.checkpoints.foreign.onnx_metadata import Metadata
from mobilenetv2.checkpoints.graphs import picture
from mobilenetv2.checkpoints.graphs.chain import (
    NOT_OURS,
    PICTURE,
    UNPADDED,
    BatchNorm,
    Pads,
    Step,
    add_pads,
    padding_rule,
    same_pads,
    size_after,
)
from mobilenetv2.checkpoints.graphs.head import Head
from mobilenetv2.checkpoints.graphs.network import (
    GraphCheckpoint,
    GraphDialect,
    is_folded,
    linear_arrays,
    with_bias,
)
from mobilenetv2.checkpoints.graphs.onnx import head as onnx_head
from mobilenetv2.checkpoints.graphs.onnx.constants import shape_of
from mobilenetv2.checkpoints.graphs.onnx.plain import plain
from mobilenetv2.checkpoints.graphs.onnx.state import UNKNOWN_AXES, State, Tensor, transpose
from mobilenetv2.errors import DialectError
from mobilenetv2.formats import FORMATS
from mobilenetv2.graph.graph import MAP
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.onnx import CONFIG_KEY, write_onnx
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.network import NetworkSpec, Size
from mobilenetv2.spec.published import PYTORCH, SLIM

USUAL_SIZE = (224, 224)
FOLDED = "BatchNorm was folded in the ONNX file."
OPEN = f"The ONNX file takes any size; {USUAL_SIZE[0]} x {USUAL_SIZE[1]} is assumed."
PASSED_OVER = frozenset({"Identity", "Cast", "CastLike", "Dropout"})
DAMAGE = (TypeError, ValueError, IndexError, KeyError, AttributeError, OverflowError)
"""Errors that missing inputs and attributes of wrong types cause."""
LARGEST_PAD = 8
ALMOST_SIX = 6.01
POOLS = {"average": "GlobalAveragePool", "max": "GlobalMaxPool"}
FLOAT = 1
"""Number of TensorProto.FLOAT."""


def open_graph(graph: Graph, _: Path, options: ImportOptions) -> GraphCheckpoint:
    """Follow a graph, and read the config in it.

    Raises:
        DialectError: another network, or a damaged config.
    """
    text = graph.metadata.get(CONFIG_KEY)
    config = None if text is None else parse_config(text)
    state, head = follow(graph, config.spec.size if config else USUAL_SIZE, options.body)
    image = state.picture
    channels_last = image.axes != UNKNOWN_AXES
    folded = is_folded(state.steps)
    notes = [FOLDED] if folded else []
    steps = state.steps
    if config:
        folded = folded or (config.origin is not None and config.origin.folded)
        inside = describe_config(config)
    else:
        (shape,) = graph.inputs.values()
        notes += [OPEN] if None in (shape[1:3] if channels_last else shape[2:]) else []
        steps, inside = _described(state, Metadata(graph.metadata), head.classes)
    return GraphCheckpoint(
        DIALECT, steps, with_bias(head), image.size, image.shape[1],
        "same" if channels_last else "symmetric",
        dataclasses.replace(inside, folded=folded), " ".join(notes),
    )  # fmt: skip


def _described(state: State, said: Metadata, classes: int | None) -> tuple[list[Step], Description]:
    """Return what the graph and its metadata say of picture and classes, and steps that fit it."""
    factor, offset = state.picture.by_channel()
    metadata, _ = said.normalisation(len(factor))
    steps, found = picture.describe(
        state.steps, factor, offset, state.scalings, state.input_range, metadata
    )
    if metadata is not None and found.normalisation is None and state.input_range is None:
        # Neither operators nor the stem scale them: pixels it is.
        found = dataclasses.replace(found, normalisation=metadata, preprocessing_from=METADATA)
    labels, _ = said.labels(classes)
    return steps, dataclasses.replace(
        found, labels=labels, licence=said.licence, bgr=said.bgr and len(factor) == 3
    )


def follow(graph: Graph, size: Size, body: bool = False) -> tuple[State, Head]:
    """Follow a graph to the end of its head.

    Args:
        size: height and width that are used if the graph does not fix them.
        body: leave the head out, whatever it is.

    Returns:
        The state at the end, and the head.

    Raises:
        DialectError: the graph is another network, or has a head that cannot be described.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise DialectError("not a classifier: it must have one input and one output")
    graph = plain(graph)
    state = State(graph, size)
    for node in _needed(graph):
        try:
            if not state.constants.compute(node):
                _take(state, node)
        except DialectError as error:
            reason = DialectError(f"{error} (at {_words(node)})")
        except DAMAGE as error:
            reason = DialectError(f"damaged: {_words(node)} cannot be read ({error})")
        else:
            continue
        if body and state.head is not None:
            return state, Head()
        raise reason
    end = state.tensors.get(graph.outputs[0])
    if end is None or end.place == PICTURE:
        raise DialectError(f"{NOT_OURS}: its output is not the end of its layers")
    try:
        head = state.finished(end)
    except DialectError:
        if body and state.head is not None:
            return state, Head()
        raise
    if body:
        return state, Head(outputs=len(head.linears[-1].bias) if head.linears else None)
    return state, head


def _words(node: Node) -> str:
    name = node.name or node.outputs[0]
    return f"the {node.kind} {name!r}"


def _needed(graph: Graph) -> Iterator[Node]:
    """Return the nodes that the output depends on, in the order in which they run."""
    makers = {name: node for node in graph.nodes for name in node.outputs if name}
    waiting, needed = [*graph.outputs], set[int]()
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and id(node) not in needed:
            needed.add(id(node))
            waiting += node.inputs
    return (node for node in graph.nodes if id(node) in needed and node.outputs)


def _take(state: State, node: Node) -> None:
    known = [state.tensors[name] for name in node.inputs if name in state.tensors]
    if not known:
        raise DialectError(f"{NOT_OURS}: {node.kind} has no input from the chain")
    tensor, kind = known[0], node.kind
    if kind == "Shape":
        state.constants.known[node.outputs[0]] = shape_of(node, tensor.shape)
        return
    if kind in PASSED_OVER:
        state.tensors[node.outputs[0]] = tensor
        return
    if tensor.pads != UNPADDED and kind != "Conv":
        raise DialectError(f"{NOT_OURS}: {kind} after a Pad")
    starts = kind in onnx_head.STARTS or (kind == "Conv" and _leaves(state, node, tensor))
    if tensor.layer is not None or (starts and tensor.place != PICTURE):
        state.tensors[node.outputs[0]] = onnx_head.take(state, node, tensor)
        return
    if kind not in HANDLERS:
        raise DialectError(f"{NOT_OURS}: unexpected operator {kind}")
    if len(known) > 1 and kind != "Add":
        raise DialectError(f"{NOT_OURS}: {kind} of two tensors")
    state.tensors[node.outputs[0]] = HANDLERS[kind](state, node, tensor)


def _leaves(state: State, node: Node, tensor: Tensor) -> bool:
    """Return True for a convolution behind the body: a linear layer at every position."""
    return node.attributes.get("group", 1) == 1 and state.chain.ends_body(tensor.place)


# ---------------------------------------------------------------- layers


def convolution(state: State, node: Node, tensor: Tensor) -> Tensor:
    """Add a convolution to the chain."""
    weight = np.asarray(state.constants[node.inputs[1]], np.float32)
    bias = state.constants.option(node, "B", 2)
    bias = None if bias is None else np.asarray(bias, np.float32)
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
    if tensor.place == PICTURE:
        state.picture = tensor
    elif tensor.axes != "NCHW":
        raise DialectError(f"{NOT_OURS}: a convolution of other axes")
    strides, dilations = (
        [int(x) for x in node.attributes.get(name, [1, 1])] for name in ("strides", "dilations")
    )
    stride, kernel = strides[0], weight.shape[2]
    if strides != [stride] * 2 or dilations != [1, 1] or stride < 1 or weight.shape[3] != kernel:
        raise DialectError("a convolution with unequal strides or sides, or with dilation")
    pads = _pads(node, kernel, stride, tensor)
    rule = padding_rule(kernel, stride, pads, tensor.size)
    step = Step(tensor.place, depthwise, weight, bias, stride, rule)
    sides = size_after(kernel, stride, pads, tensor.size)
    return Tensor(state.chain.convolve(step), (tensor.shape[0], weight.shape[0], *sides), "NCHW")


def _pads(node: Node, kernel: int, stride: int, tensor: Tensor) -> Pads:
    """Return all zeros around height and width: the convolution's, and those of a Pad before it."""
    auto = node.attributes.get("auto_pad", "NOTSET")
    own = UNPADDED
    if auto == "NOTSET":
        values = [int(value) for value in node.attributes.get("pads", [0, 0, 0, 0])]
        if len(values) != 4:
            raise DialectError(f"a convolution with the pads {values}")
        own = (values[0], values[2]), (values[1], values[3])
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        own = same_pads(kernel, stride, tensor.shape[2:])
        if auto == "SAME_LOWER":
            own = own[0][::-1], own[1][::-1]
    elif auto != "VALID":
        raise DialectError(f"a convolution with auto_pad {auto!r}")
    return add_pads(tensor.pads, own)


def batch_norm(state: State, node: Node, tensor: Tensor) -> Tensor:
    """Add a BatchNorm after a convolution; on the image it is the normalisation."""
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
        return state.scaled(tensor, node, factor, shift - mean * factor)


# ---------------------------------------------------------------- operators that are no layers


def arithmetic(state: State, node: Node, tensor: Tensor) -> Tensor:
    """Add a shortcut, a bias, a BatchNorm or a normalisation from Add, Sub, Mul or Div."""
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
    if constant.ndim > len(tensor.shape):
        raise DialectError(f"{NOT_OURS}: {node.kind} with a constant of more axes")
    if tensor.place == PICTURE:
        return state.scaled(tensor, node, factor, offset)
    axes = tensor.axes[len(tensor.axes) - constant.ndim :]
    if any(side > 1 and axis != "C" for side, axis in zip(constant.shape, axes, strict=True)):
        raise DialectError(f"{node.kind} with a constant that varies over the image")
    return state.at(tensor, state.chain.affine(tensor.place, factor, offset))


def activation(state: State, node: Node, tensor: Tensor) -> Tensor:
    """Add the bounds of a Relu, Clip, Max or Min."""
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
    """Handle QuantizeLinear and DequantizeLinear, without their rounding.

    A range that begins at 0 represents the ReLU that quantisers remove before it.
    """
    scale = state.constants[node.inputs[1]].astype(np.float64)
    zero = np.asarray(state.constants.option(node, "zero_point", 2, np.uint8(0)))
    if scale.size != 1 or zero.size != 1 or zero.dtype.kind not in "iu" or not scale.all():
        raise DialectError(f"{node.kind} of the image with more than one scale")
    step, zero_point = float(scale.item()), int(zero.item())
    if tensor.place == PICTURE:
        return _quantised_picture(state, node, tensor, step, zero)
    limits = np.iinfo(zero.dtype)
    bare = state.chain[tensor.place].added is None
    if node.kind == "DequantizeLinear" or zero_point != limits.min or not bare:
        return tensor
    # If calibration saw no value of 6, the range ends below; the activation is still ReLU6.
    high = 6.0 if (limits.max - zero_point) * step < ALMOST_SIX else math.inf
    return state.at(tensor, state.chain.bound(tensor.place, 0.0, high))


def _quantised_picture(
    state: State, node: Node, tensor: Tensor, step: float, zero: NDArray
) -> Tensor:
    """Handle the image's own integers, whose scale says what was calibrated, not what is fed."""
    zero_point = int(zero.item())
    if state.input_range is None and not tensor.quantised:
        state.input_range = picture.integer_range(step, zero_point, zero.dtype)
    if node.kind == "QuantizeLinear":
        made = tensor.normalised(np.array(1 / step), np.array(float(zero_point)))
        return dataclasses.replace(made, quantised=True)
    if tensor.quantised:
        made = tensor.normalised(np.array(step), np.array(-step * zero_point))
        return dataclasses.replace(made, quantised=False)
    return tensor


def pad(state: State, node: Node, tensor: Tensor) -> Tensor:
    """Record zeros around height and width for the next convolution."""
    values = [int(value) for value in np.ravel(state.constants.option(node, "pads", 1, []))]
    fill = _number(state.constants.option(node, "value", 2, 0.0), node)
    axes = [int(axis) % 4 for axis in np.ravel(state.constants.option(node, "axes", 3, range(4)))]
    count, mode = len(axes), node.attributes.get("mode", "constant")
    if len(values) != 2 * count or len(tensor.shape) != 4 or mode != "constant" or fill:
        raise DialectError("a Pad that is not of zeros around an image")
    around = dict.fromkeys(range(4), (0, 0))
    around |= {a: (values[i], values[i + count]) for i, a in enumerate(axes)}
    spatial = [tensor.axes.index(name) if name in tensor.axes else place
               for name, place in (("H", 2), ("W", 3))]  # fmt: skip
    outside = set(range(4)) - set(spatial)
    bounded = 0 <= min(values) <= max(values) <= LARGEST_PAD
    if not bounded or any(around[a] != (0, 0) for a in outside):
        raise DialectError(f"a Pad of {values}, not only of height and width")
    shape = tuple(side + sum(around[a]) for a, side in enumerate(tensor.shape))
    return dataclasses.replace(tensor, shape=shape, pads=(around[spatial[0]], around[spatial[1]]))


def unshaped(state: State, node: Node, tensor: Tensor) -> Tensor:
    """Pass an image whose shape stays the same."""
    if onnx_head.shape_after(state.constants, node, tensor.shape) != tensor.shape:
        raise DialectError(f"{NOT_OURS}: {node.kind} of the image")
    return tensor


Handler = Callable[[State, Node, Tensor], Tensor]
HANDLERS: dict[str, Handler] = {
    "Conv": convolution,
    "BatchNormalization": batch_norm,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), arithmetic),
    **dict.fromkeys(("Relu", "Clip", "Max", "Min"), activation),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), quantisation),
    "Pad": pad,
    "Transpose": transpose,
    **dict.fromkeys(onnx_head.RESHAPES, unshaped),
}


def with_map(data: bytes, spec: NetworkSpec) -> tuple[bytes, Arrays]:
    """Return a graph of this package with another output, ``map``: the last feature map.

    Args:
        data: an ONNX file, float or int8, whose first output is the logits.
        spec: the spec in its config.

    Returns:
        The file without a seal, whose new output is float32 (batch, channels, height, width); and
        the canonical arrays of its classifier.

    Raises:
        WeightsError: not an ONNX file, or damaged.
        DialectError: another network, or another pooling.
    """
    from onnx import ModelProto, helper

    graph = parse_onnx(data)
    kind = POOLS[spec.classifier.pooling]
    pools = [node for node in graph.nodes if node.kind == kind]
    if len(pools) != 1 or not pools[0].inputs:
        raise DialectError(f"it has {len(pools)} operators {kind}, where one is expected")
    first = dataclasses.replace(graph, outputs=graph.outputs[:1])
    _, head = follow(first, spec.size)
    model = ModelProto.FromString(data)
    # The cast is for graphs that compute in float16; on float32 it does nothing.
    model.graph.node.append(helper.make_node("Cast", [pools[0].inputs[0]], [MAP], MAP, to=FLOAT))
    model.graph.output.append(helper.make_tensor_value_info(MAP, FLOAT, [None] * 4))
    return model.SerializeToString(), linear_arrays(spec, head.linears)


DIALECT = GraphDialect(
    "onnx", (FORMATS["onnx"].suffix,), read_onnx, open_graph,
    # BatchNorm is not folded, so that every tensor can be imported again.
    lambda config, arrays: write_onnx(lower(config, arrays, folded=False)),
    {"same": SLIM, "symmetric": PYTORCH},
)  # fmt: skip
