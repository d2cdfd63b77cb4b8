"""A LiteRT graph told to a :class:`Chain`, operator by operator."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.litert import Graph, Operator
from mobilenetv2.checkpoints.graphs.chain import (
    NOT_OURS,
    PICTURE,
    UNBOUNDED,
    Chain,
    Pads,
    Place,
    Step,
    padding_rule,
)
from mobilenetv2.errors import DialectError
from mobilenetv2.model.layout import LITERT_CONVOLUTION, LITERT_DEPTHWISE

SAME_VALUES = frozenset({"QUANTIZE", "DEQUANTIZE"})
SAME_VECTOR = SAME_VALUES | {"RESHAPE", "SQUEEZE"}
"""Behind the pooling, where there is one vector left to reshape."""
POOLING = frozenset({"MEAN", "AVERAGE_POOL_2D"})
CLASSIFYING = frozenset({"CONV_2D", "FULLY_CONNECTED"})
Tail = Literal["features", "logits", "probabilities"]
"""What a tensor behind the pooling holds."""
BOUNDS = {
    "NONE": UNBOUNDED, "RELU": (0.0, math.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0),
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """What a graph came down to."""

    steps: list[Step]
    """From the stem to the head."""
    weight: NDArray
    """(classes, features)."""
    bias: NDArray


def follow(graph: Graph) -> Classifier:
    """Every convolution in order, and the classifier.

    Raises:
        DialectError: another network.
    """
    chain, places, pads = Chain(), {graph.inputs[0]: PICTURE}, dict[int, Pads]()
    tails = dict[int, Tail]()
    steps: list[Step] | None = None
    classifier: tuple[NDArray, NDArray] | None = None
    for operator in _from_input_to_output(graph):
        kind, source, end = operator.kind, operator.inputs[0], operator.outputs[0]
        if source in tails:
            tails[end] = _behind_the_pooling(operator, tails[source])
            if kind in CLASSIFYING:
                if classifier is not None:
                    raise DialectError(f"{NOT_OURS}: two classifiers")
                classifier = _classifier(graph, operator)
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
        elif kind in POOLING:
            _require_whole_map(graph, operator)
            steps, tails[end] = chain.finish(place), "features"
        elif kind not in SAME_VALUES:
            raise DialectError(f"{NOT_OURS}: unexpected operator {kind} before the pooling")
        if source in pads:
            raise DialectError(f"{NOT_OURS}: {kind} behind a PAD")
        places[end] = place
    if steps is None or classifier is None or tails.get(graph.outputs[0], "features") == "features":
        raise DialectError(f"{NOT_OURS}: no classifier after the pooling")
    return Classifier(steps, *classifier)


def _from_input_to_output(graph: Graph) -> Iterator[Operator]:
    """The operators, each checked to take a tensor that is there and to give one."""
    for operator in graph.operators:
        where = {*operator.inputs, *operator.outputs}
        if not where <= set(range(-1, len(graph.tensors))) or len(operator.outputs) != 1:
            raise DialectError("damaged: an operator refers to a tensor that is not there")
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
        # By definition, at every size.
        rule = "" if stride == 1 else "either" if height % 2 and width % 2 else "same"
    elif operator.padding == "VALID":
        rule = padding_rule(kernel, stride, before, (height, width))
    else:
        raise DialectError(f"a convolution padded {operator.padding} behind zeros {pads}")
    bounds = BOUNDS[operator.activation]
    return chain.convolve(Step(source, depthwise, weight, bias, stride, rule, bounds))


def _require_whole_map(graph: Graph, operator: Operator) -> None:
    """One mean for every channel: anything else gives a classifier other features."""
    kind = operator.kind
    shape, left = (graph.tensors[at].shape for at in (operator.inputs[0], operator.outputs[0]))
    if len(shape) != 4 or operator.activation != "NONE":
        raise DialectError(
            f"{kind} of a tensor of shape {list(shape)} with activation {operator.activation}; "
            "MobileNetV2 takes the plain mean of a map"
        )
    if kind == "MEAN":
        axes = _constant(graph, operator, 1)
        found = None if axes is None else axes.ravel().tolist()
        if found is None or {axis + 4 if axis < 0 else axis for axis in found} != {1, 2}:
            raise DialectError(
                f"MEAN over the axes {found}; MobileNetV2's is over height and width, [1, 2]"
            )
    elif operator.window != shape[1:3] or left[1:3] != (1, 1):
        raise DialectError(
            f"AVERAGE_POOL_2D with a window of {list(operator.window)} on a map of "
            f"{list(shape[1:3])} gives {list(left[1:3])}; MobileNetV2's window is the whole map"
        )


def _behind_the_pooling(operator: Operator, before: Tail) -> Tail:
    """What an operator makes of the features, the logits or the probabilities."""
    kind = operator.kind
    if kind in SAME_VECTOR:
        return before
    if kind == "SOFTMAX" and before == "logits":
        return "probabilities"
    if kind not in CLASSIFYING or before != "features":
        raise DialectError(f"{NOT_OURS}: unexpected operator {kind} behind the {before}")
    if operator.activation != "NONE":
        raise DialectError(
            f"{NOT_OURS}: {kind} with activation {operator.activation} as the classifier, whose "
            "logits have no bounds"
        )
    return "logits"


def _classifier(graph: Graph, operator: Operator) -> tuple[NDArray, NDArray]:
    """Weights (classes, features) and biases (classes,)."""
    weight, bias = _constants(graph, operator)
    if weight.shape[1:-1] != ((1, 1) if operator.kind == "CONV_2D" else ()):
        raise DialectError(f"a classifier, {operator.kind}, with weights {list(weight.shape)}")
    return weight.reshape(weight.shape[0], -1), bias


def _constant(graph: Graph, operator: Operator, position: int) -> NDArray | None:
    """The input at a position, where it is there and constant."""
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
        raise DialectError("a PAD of more than height and width")
    (_, (top, bottom), (left, right), _) = values.tolist()
    return (int(top), int(bottom)), (int(left), int(right))
