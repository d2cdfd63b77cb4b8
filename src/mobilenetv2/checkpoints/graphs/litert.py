"""Reader of LiteRT (TensorFlow Lite) classifiers, float or quantised, as a :class:`Chain`.

BatchNorm is already folded into weights and biases, so it is imported as an identity that carries
the bias. Files of :mod:`mobilenetv2.graph.litert` have their whole config in the zip archive after
the flatbuffer; other files have at most a list of labels.
"""

import dataclasses
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.litert import Graph, Operator, read_litert
from mobilenetv2.checkpoints.description import (
    Description,
    describe_config,
    parse_config,
)
from mobilenetv2.checkpoints.graphs.chain import (
    ACTIVATIONS,
    NOT_OURS,
    PICTURE,
    PLAIN_HEAD,
    UNBOUNDED,
    Chain,
    Linear,
    Pads,
    Place,
    Step,
    padding_rule,
)
from mobilenetv2.checkpoints.graphs.network import GraphCheckpoint, GraphDialect
from mobilenetv2.checkpoints.labels import labels_among
from mobilenetv2.errors import DialectError
from mobilenetv2.formats import FORMATS
from mobilenetv2.graph.litert import CONFIG, write_litert
from mobilenetv2.graph.lowering import lower
from mobilenetv2.model.arrays import LITERT_CONVOLUTION, LITERT_DEPTHWISE
from mobilenetv2.spec.network import ClassifierSpec
from mobilenetv2.spec.published import SLIM

LARGEST_ENTRY = 4 * 1024**2
NOTE = "BatchNorm was folded in the LiteRT file."
SAME_VALUES = frozenset({"QUANTIZE", "DEQUANTIZE"})
SAME_VECTOR = SAME_VALUES | {"RESHAPE", "SQUEEZE"}
"""Operators allowed after the pooling, where reshaping does not change the vector."""
POOLING = {"average": ("MEAN", "AVERAGE_POOL_2D"), "max": ("REDUCE_MAX",)}
CLASSIFYING = frozenset({"CONV_2D", "FULLY_CONNECTED"})
BOUNDS = {
    "NONE": UNBOUNDED, "RELU": (0.0, math.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0),
}  # fmt: skip


def open_graph(graph: Graph, path: Path) -> GraphCheckpoint:
    """Follow the graph of a file, and read the config or labels in it.

    Raises:
        DialectError: another network, or a damaged config.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise DialectError("not a classifier: it must have one input and one output")
    texts = _embedded(path)
    config = parse_config(texts[CONFIG]) if CONFIG in texts else None
    head = config.spec.classifier if config else PLAIN_HEAD
    steps, linears = follow(graph, head)
    shape = graph.tensors[graph.inputs[0]].shape
    if len(shape) != 4:
        raise DialectError(f"not an image classifier: its input has shape {list(shape)}")
    size, channels = shape[1:3], shape[3]
    if config:
        inside = describe_config(config)
    else:
        lists = {name: text for name, text in texts.items() if name.endswith(".txt")}
        found = labels_among(lists, len(linears[-1].bias))
        labels = found[0] if found else None
        mean, std = _normalisation(graph)
        inside = Description(labels=labels, normalisation=((mean,) * channels, (std,) * channels))
    inside = dataclasses.replace(inside, folded=True)
    return GraphCheckpoint(
        DIALECT, steps, linears, size, channels, "same", inside, NOTE, head.pooling
    )


def _normalisation(graph: Graph) -> tuple[float, float]:
    """Return (mean, std) of a raw pixel from the input's quantisation, or TensorFlow's -1 to 1."""
    tensor = graph.tensors[graph.inputs[0]]
    if tensor.scale is None or tensor.zero_point is None:
        return 127.5, 127.5
    mean, std = float(tensor.zero_point[0]), float(1 / tensor.scale[0])
    mean += 128 if mean < 0 else 0  # int8 inputs hold pixel - 128
    return mean, 127.5 if math.isclose(std, 127.5, rel_tol=1e-4) else std


def _embedded(path: Path) -> dict[str, str]:
    """Return the texts in the zip archive after the flatbuffer, by name."""
    if not zipfile.is_zipfile(path):
        return {}
    found: dict[str, str] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                wanted = entry.filename.endswith(".txt") or entry.filename == CONFIG
                if wanted and entry.file_size <= LARGEST_ENTRY and len(found) < 8:
                    found[entry.filename] = archive.read(entry).decode("utf-8")
    except (
        zipfile.BadZipFile, zlib.error, ValueError, RuntimeError, OSError, NotImplementedError
    ) as error:  # fmt: skip
        raise DialectError(f"the list of labels in it is damaged ({error})") from None
    return found


def follow(graph: Graph, head: ClassifierSpec = PLAIN_HEAD) -> tuple[list[Step], list[Linear]]:
    """Return all convolutions in order, and the linear layers of a head after the pooling.

    Raises:
        DialectError: the graph is another network.
    """
    chain, places, pads = Chain(), {graph.inputs[0]: PICTURE}, dict[int, Pads]()
    vectors = ["features", *(f"hidden.{i}" for i in range(len(head.hidden))), "logits"]
    """Names of the tensors before, between and after the linear layers."""
    tails = dict[int, str]()
    """Content of each tensor after the pooling: one of ``vectors``, or 'probabilities'."""
    steps: list[Step] | None = None
    linears: list[Linear] = []
    for operator in _from_input_to_output(graph):
        kind, source, end = operator.kind, operator.inputs[0], operator.outputs[0]
        if source in tails:
            tails[end] = before = tails[source]
            if kind == "SOFTMAX" and before == "logits":
                tails[end] = "probabilities"
            elif kind in CLASSIFYING and before in vectors[:-1]:
                if before != vectors[len(linears)]:
                    raise DialectError(f"{NOT_OURS}: two classifiers")
                linears.append(_linear(graph, operator, hidden=len(linears) < len(head.hidden)))
                tails[end] = vectors[len(linears)]
            elif kind not in SAME_VECTOR:
                raise DialectError(f"{NOT_OURS}: unexpected operator {kind} after the {before}")
            continue
        place = places.get(source)
        if place is None or steps is not None:
            raise DialectError(f"{NOT_OURS}: {kind} leaves the chain")
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            place = _convolution(graph, operator, chain, place, pads.pop(source, None))
        elif kind == "ADD" and operator.activation == "NONE":
            place = _addition(operator, chain, places)
        elif kind in ("PAD", "PADV2"):
            pads[end] = _explicit_padding(graph, operator)
        elif kind in ("RELU", "RELU6"):
            place = chain.bound(place, *BOUNDS[kind])
        elif kind in POOLING[head.pooling]:
            _require_whole_map(graph, operator)
            steps, tails[end] = chain.finish(place), "features"
        elif kind not in SAME_VALUES:
            raise DialectError(f"{NOT_OURS}: unexpected operator {kind} before the pooling")
        if source in pads:
            raise DialectError(f"{NOT_OURS}: {kind} after a PAD")
        places[end] = place
    if steps is None or not linears or tails.get(graph.outputs[0]) in (None, *vectors[:-1]):
        raise DialectError(f"{NOT_OURS}: no classifier after the pooling")
    return steps, linears


def _from_input_to_output(graph: Graph) -> Iterator[Operator]:
    """Yield the operators after a check that their tensors exist and the last one is the output."""
    for operator in graph.operators:
        where = {*operator.inputs, *operator.outputs}
        if not where <= set(range(-1, len(graph.tensors))) or len(operator.outputs) != 1:
            raise DialectError("damaged: an operator refers to a tensor that does not exist")
        if not operator.inputs:
            raise DialectError(f"damaged: {operator.kind} without inputs")
        yield operator
    if not graph.operators or graph.operators[-1].outputs[0] != graph.outputs[0]:
        raise DialectError("not a classifier: its output is not the end of the chain")


def _convolution(
    graph: Graph, operator: Operator, chain: Chain, source: Place, pads: Pads | None
) -> Place:
    kind = operator.kind
    if source == PICTURE and chain:
        raise DialectError(f"{NOT_OURS}: {kind} leaves the chain")
    weight, bias = _constants(graph, operator)
    depthwise = kind == "DEPTHWISE_CONV_2D"
    if weight.ndim != 4 or (depthwise and weight.shape[0] != 1):
        raise DialectError(f"{kind} with weights of shape {list(weight.shape)}")
    weight = (LITERT_DEPTHWISE if depthwise else LITERT_CONVOLUTION).to_canonical(weight)
    if operator.stride[0] != operator.stride[1] or operator.dilation != (1, 1):
        raise DialectError("a convolution with unequal strides or with dilation")
    if operator.activation not in BOUNDS:
        raise DialectError(f"activations {operator.activation}; MobileNetV2 has RELU6 throughout")
    stride, shape = operator.stride[0], graph.tensors[operator.inputs[0]].shape
    if len(shape) != 4:
        raise DialectError(f"{kind} of a tensor of shape {list(shape)}")
    before = pads or ((0, 0), (0, 0))
    height, width = (side - sum(pad) for side, pad in zip(shape[1:3], before, strict=True))
    kernel = max(weight.shape[2:])
    rule = ""
    if operator.padding == "SAME" and pads is None:
        # SAME is defined for every size.
        rule = "" if stride == 1 else "either" if height % 2 and width % 2 else "same"
    elif operator.padding == "VALID":
        rule = padding_rule(kernel, stride, before, (height, width))
    else:
        raise DialectError(f"a convolution padded {operator.padding} after zeros {pads}")
    bounds = BOUNDS[operator.activation]
    return chain.convolve(Step(source, depthwise, weight, bias, stride, rule, bounds))


def _require_whole_map(graph: Graph, operator: Operator) -> None:
    """Raise unless the pooling covers the whole map; other poolings give other features."""
    kind = operator.kind
    shape, left = (graph.tensors[at].shape for at in (operator.inputs[0], operator.outputs[0]))
    if len(shape) != 4 or operator.activation != "NONE":
        raise DialectError(
            f"{kind} of a tensor of shape {list(shape)} with activation {operator.activation}; "
            "MobileNetV2 takes the plain mean of a map"
        )
    if kind != "AVERAGE_POOL_2D":
        axes = _constant(graph, operator, 1)
        found = None if axes is None else axes.ravel().tolist()
        if found is None or {axis + 4 if axis < 0 else axis for axis in found} != {1, 2}:
            raise DialectError(
                f"{kind} over the axes {found}; MobileNetV2's is over height and width, [1, 2]"
            )
    elif operator.window != shape[1:3] or left[1:3] != (1, 1):
        raise DialectError(
            f"AVERAGE_POOL_2D with a window of {list(operator.window)} on a map of "
            f"{list(shape[1:3])} gives {list(left[1:3])}; MobileNetV2's window is the whole map"
        )


def _linear(graph: Graph, operator: Operator, hidden: bool) -> Linear:
    if operator.activation not in (BOUNDS if hidden else ("NONE",)):
        raise DialectError(
            f"{NOT_OURS}: {operator.kind} with activation {operator.activation} as "
            + ("a hidden layer" if hidden else "the classifier, whose logits have no bounds")
        )
    activation = ACTIVATIONS.get(BOUNDS[operator.activation], operator.activation)
    weight, bias = _constants(graph, operator)
    if weight.shape[1:-1] != ((1, 1) if operator.kind == "CONV_2D" else ()):
        raise DialectError(f"a classifier, {operator.kind}, with weights {list(weight.shape)}")
    return Linear(weight.reshape(weight.shape[0], -1), bias, activation)


def _constant(graph: Graph, operator: Operator, position: int) -> NDArray | None:
    """Return the constant input at a position, or None."""
    index = operator.inputs[position] if len(operator.inputs) > position else -1
    return graph.tensors[index].values if index >= 0 else None


def _constants(graph: Graph, operator: Operator) -> tuple[NDArray, NDArray]:
    values = [graph.tensors[index].values for index in operator.inputs[1:3] if index >= 0]
    if not values or any(value is None for value in values):
        raise DialectError(f"{operator.kind} without constant weights")
    weight = np.asarray(values[0], np.float32)
    if weight.ndim < 2:
        raise DialectError(f"{operator.kind} with weights of shape {list(weight.shape)}")
    channels = weight.shape[3 if operator.kind == "DEPTHWISE_CONV_2D" and weight.ndim == 4 else 0]
    bias = np.zeros(channels, np.float32)
    if len(values) == 2:
        bias = np.asarray(values[1], np.float32)
    if bias.shape != (channels,):
        raise DialectError(f"{operator.kind} of {channels} channels with {bias.size} biases")
    return weight, bias


def _addition(operator: Operator, chain: Chain, places: dict[int, Place]) -> Place:
    if len(operator.inputs) != 2 or not set(operator.inputs) <= places.keys():
        raise DialectError(f"{NOT_OURS}: ADD of a tensor outside the chain")
    first, second = (places[index] for index in operator.inputs)
    return chain.add(first, second)


def _explicit_padding(graph: Graph, operator: Operator) -> Pads:
    values = _constant(graph, operator, 1)
    if values is None or values.shape != (4, 2) or values[0].any() or values[3].any():
        raise DialectError("a PAD of other axes than height and width")
    (_, (top, bottom), (left, right), _) = values.tolist()
    return (int(top), int(bottom)), (int(left), int(right))


DIALECT = GraphDialect(
    "litert", (FORMATS["litert"].suffix,), read_litert, open_graph,
    lambda config, arrays: write_litert(lower(config, arrays)),
    {"same": SLIM, "symmetric": dataclasses.replace(SLIM, padding="symmetric")},
)  # fmt: skip
