"""Walk through a LiteRT graph, operator by operator: image, convolutions, head."""

from collections.abc import Iterator
from dataclasses import dataclass

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
from mobilenetv2.checkpoints.graphs.head import Head, HeadBuilder, no_head
from mobilenetv2.checkpoints.graphs.litert import operators as litert_operators
from mobilenetv2.checkpoints.graphs.litert.operators import (
    ARITHMETIC,
    SAME_VALUES,
    affine,
    constant,
    weights,
)
from mobilenetv2.errors import DialectError
from mobilenetv2.model.arrays import LITERT_CONVOLUTION, LITERT_DEPTHWISE

SHAPES = frozenset(
    "SHAPE STRIDED_SLICE SLICE PACK CONCATENATION GATHER REDUCE_PROD MUL CAST RESHAPE".split()
)
"""Operators that compute a shape, where the file takes any batch, if all inputs are shapes."""
BOUNDS = {
    "NONE": UNBOUNDED, "RELU": (0.0, np.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0),
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """Scaling of the image: ``value * factor + offset``, one of each for each channel."""

    factor: NDArray
    offset: NDArray
    operators: tuple[str, ...] = ()
    """Operators that do it, in order."""


@dataclass(frozen=True, slots=True, eq=False)
class Walked:
    """Content of a graph."""

    steps: list[Step]
    """Convolutions from the stem to the last feature map."""
    head: Head
    scaling: Scaling


def walk(graph: Graph, body: bool = False) -> Walked:
    """Return the convolutions, the head, and the scaling of the image before them.

    Args:
        body: leave the head out, whatever it is.

    Raises:
        DialectError: the graph is another network, or has a head that cannot be described.
    """
    walked = _Walk(graph)
    try:
        for operator in _from_input_to_output(graph):
            walked.take(operator)
        head = walked.finish()
    except DialectError:
        if not body or walked.head is None:
            raise
        head = Head()
    if body:
        head = Head(outputs=len(head.linears[-1].bias) if head.linears else None)
    return Walked(walked.steps, head, walked.scaling)


class _Walk:
    """State of the walk."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.chain = graph, Chain()
        start = graph.inputs[0]
        channels = graph.tensors[start].shape[-1:]
        self.pictures = {start: Scaling(np.ones(channels), np.zeros(channels))}
        """Scaling of each tensor before the first convolution."""
        self.scaling = self.pictures[start]
        """Scaling of the image that the first convolution takes."""
        self.places: dict[int, Place] = {}
        self.pads: dict[int, Pads] = {}
        self.shapes: set[int] = set()
        """Tensors that hold a shape."""
        self.steps: list[Step] = []
        self.head: HeadBuilder | None = None
        self.end = -1
        """Latest tensor of the head."""

    def take(self, operator: Operator) -> None:
        """Add an operator."""
        kind, source, end = operator.kind, operator.inputs[0], operator.outputs[0]
        if kind == "SHAPE" or self.is_shape(operator):
            self.shapes.add(end)
            return
        inputs = {index for index in operator.inputs if index >= 0}
        if source not in self.pictures | self.places and self.end != source:
            # Arithmetic may have its constant first.
            source = next(
                (i for i in operator.inputs if i in self.pictures or i in self.places), source
            )
        if self.head is not None:
            if self.end not in inputs:
                raise no_head(f"it has two classifiers, or a branch, at {kind}")
            litert_operators.take(self.graph, operator, self.head)
            self.end = end
        elif source in self.pictures:
            self.take_picture(operator, source)
        elif source in self.places:
            self.take_map(operator, source)
        else:
            raise DialectError(f"{NOT_OURS}: {kind} leaves the chain")

    def is_shape(self, operator: Operator) -> bool:
        """Return True if an operator computes a shape from shapes and constants."""
        if operator.kind not in SHAPES:
            return False
        computed = [i for i in operator.inputs if i >= 0 and self.graph.tensors[i].values is None]
        return bool(computed) and self.shapes.issuperset(computed)

    def take_picture(self, operator: Operator, source: int) -> None:
        """Add an operator before the first convolution, or this one."""
        kind, end, scaling = operator.kind, operator.outputs[0], self.pictures[source]
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            if self.chain:
                raise DialectError(f"{NOT_OURS}: {kind} leaves the chain")
            self.scaling = scaling
            pads = self.pads.pop(source, None)
            self.places[end] = convolution(self.graph, operator, self.chain, PICTURE, pads)
            return
        if source in self.pads:
            raise DialectError(f"{NOT_OURS}: {kind} after a PAD")
        if kind in ("PAD", "PADV2"):
            self.pads[end] = _explicit_padding(self.graph, operator)
        elif kind in ARITHMETIC:
            scaling = _scaled(self.graph, operator, scaling)
        elif kind not in SAME_VALUES and not self.keeps_shape(operator):
            raise DialectError(
                f"{NOT_OURS}: unexpected operator {kind} before the first convolution"
            )
        self.pictures[end] = scaling

    def keeps_shape(self, operator: Operator) -> bool:
        """Return True for a RESHAPE that changes nothing."""
        before, after = (
            self.graph.tensors[at].shape for at in (operator.inputs[0], operator.outputs[0])
        )
        return operator.kind == "RESHAPE" and before == after

    def take_map(self, operator: Operator, source: int) -> None:
        """Add an operator of the chain, or the first one of the head."""
        kind, end, place = operator.kind, operator.outputs[0], self.places[source]
        leaves = kind == "CONV_2D" and self.chain.ends_body(place)
        if kind in litert_operators.STARTS or leaves:
            self.begin(source)
            assert self.head is not None
            litert_operators.take(self.graph, operator, self.head)
            self.end = end
            return
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            pads = self.pads.pop(source, None)
            place = convolution(self.graph, operator, self.chain, place, pads)
        elif kind == "ADD" and operator.activation == "NONE":
            place = self.addition(operator)
        elif kind in ("PAD", "PADV2"):
            self.pads[end] = _explicit_padding(self.graph, operator)
        elif kind in ("RELU", "RELU6"):
            place = self.chain.bound(place, *BOUNDS[kind])
        elif kind not in SAME_VALUES:
            raise DialectError(f"{NOT_OURS}: unexpected operator {kind} before the pooling")
        if source in self.pads:
            raise DialectError(f"{NOT_OURS}: {kind} after a PAD")
        self.places[end] = place

    def addition(self, operator: Operator) -> Place:
        """Add a shortcut."""
        if len(operator.inputs) != 2 or not set(operator.inputs) <= self.places.keys():
            raise DialectError(f"{NOT_OURS}: ADD of a tensor outside the chain")
        first, second = (self.places[index] for index in operator.inputs)
        return self.chain.add(first, second)

    def begin(self, source: int) -> None:
        """End the chain at a map, where the head begins."""
        shape = self.graph.tensors[source].shape
        if source in self.pads or len(shape) != 4:
            raise DialectError(f"{NOT_OURS}: a tensor of shape {list(shape)} is no map")
        self.steps = self.chain.finish(self.places[source])
        self.head = HeadBuilder(self.steps[-1].weight.shape[0], (shape[1], shape[2]))
        self.end = source

    def finish(self) -> Head:
        """Return the head; a graph that ends in a map has one without layers."""
        end = self.graph.outputs[0]
        if self.head is None:
            if end not in self.places:
                raise DialectError(f"{NOT_OURS}: no convolutions between its input and its output")
            self.begin(end)
        assert self.head is not None
        if self.end != end:
            raise DialectError("not a classifier: its output is not the end of the chain")
        return self.head.finish()


def _from_input_to_output(graph: Graph) -> Iterator[Operator]:
    """Yield the operators after a check that their tensors exist and the last one is the output."""
    for operator in graph.operators:
        where = {*operator.inputs, *operator.outputs}
        if not where <= set(range(-1, len(graph.tensors))) or len(operator.outputs) != 1:
            raise DialectError("damaged: an operator refers to a tensor that does not exist")
        if not operator.inputs or operator.inputs[0] < 0:
            raise DialectError(f"damaged: {operator.kind} without inputs")
        yield operator
    if not graph.operators or graph.operators[-1].outputs[0] != graph.outputs[0]:
        raise DialectError("not a classifier: its output is not the end of the chain")


def _scaled(graph: Graph, operator: Operator, before: Scaling) -> Scaling:
    """Return the scaling of the image after an ADD, SUB, MUL or DIV."""
    found, channels = affine(graph, operator), len(before.factor)
    if found is None or operator.activation != "NONE":
        raise DialectError(f"{NOT_OURS}: {operator.kind} of the image with another tensor")
    for values in found:
        if values.size > 1 and (values.size, values.shape[-1]) != (channels, channels):
            raise DialectError("the image is normalised by values that vary over it")
    factor, offset = (np.broadcast_to(np.ravel(values), channels) for values in found)
    kinds = dict.fromkeys((*before.operators, operator.kind))
    return Scaling(before.factor * factor, before.offset * factor + offset, tuple(kinds))


def convolution(
    graph: Graph, operator: Operator, chain: Chain, source: Place, pads: Pads | None
) -> Place:
    """Add a convolution to a chain.

    Raises:
        DialectError: it is none of a MobileNetV2.
    """
    kind = operator.kind
    weight, bias = weights(graph, operator)
    depthwise = kind == "DEPTHWISE_CONV_2D"
    if weight.ndim != 4 or (depthwise and weight.shape[0] != 1):
        raise DialectError(f"{kind} with weights of shape {list(weight.shape)}")
    weight = (LITERT_DEPTHWISE if depthwise else LITERT_CONVOLUTION).to_canonical(weight)
    if bias is None:
        bias = np.zeros(weight.shape[0], np.float32)
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


def _explicit_padding(graph: Graph, operator: Operator) -> Pads:
    values = constant(graph, operator, 1)
    if values is None or values.shape != (4, 2) or values[0].any() or values[3].any():
        raise DialectError("a PAD of other axes than height and width")
    (_, (top, bottom), (left, right), _) = values.tolist()
    return (int(top), int(bottom)), (int(left), int(right))
