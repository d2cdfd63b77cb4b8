"""An ONNX graph told to a :class:`Chain`, node by node; what is constant is worked out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.onnx import Graph, Node
from mobilenetv2.checkpoints.graphs import onnx_layers, onnx_operators
from mobilenetv2.checkpoints.graphs.chain import NOT_OURS, Step
from mobilenetv2.checkpoints.graphs.onnx_constants import shape_of
from mobilenetv2.checkpoints.graphs.onnx_state import UNKNOWN_AXES, UNPADDED, State, Tensor
from mobilenetv2.errors import DialectError

PASSED_OVER = frozenset({"Identity", "Cast", "CastLike", "Dropout"})
ENDS = frozenset({"Softmax", "LogSoftmax"})
DAMAGE = (TypeError, ValueError, IndexError, KeyError, AttributeError, OverflowError)
"""What inputs that are missing and attributes of other types than ONNX's end in."""
Handler = Callable[[State, Node, Tensor], Tensor]
HANDLERS: dict[str, Handler] = {
    "Conv": onnx_layers.convolution,
    "BatchNormalization": onnx_layers.batch_norm,
    **dict.fromkeys(("GlobalAveragePool", "AveragePool", "ReduceMean"), onnx_layers.pool),
    **dict.fromkeys(("Gemm", "MatMul"), onnx_layers.linear),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), onnx_operators.arithmetic),
    **dict.fromkeys(("Relu", "Clip", "Max", "Min"), onnx_operators.activation),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), onnx_operators.quantisation),
    "Pad": onnx_operators.pad,
    "Transpose": onnx_operators.transpose,
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), onnx_operators.reshape),
}


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """What a graph came down to."""

    steps: list[Step]
    """From the stem to the head."""
    weight: NDArray
    """(classes, features)."""
    bias: NDArray
    size: tuple[int, int]
    factor: NDArray
    """(channels,): the network sees ``pixel * factor + offset``."""
    offset: NDArray
    channels_last: bool


def follow(graph: Graph, size: tuple[int, int]) -> Classifier:
    """Every convolution in order, and the classifier.

    Args:
        size: taken where the graph leaves height and width open.

    Raises:
        DialectError: another network; with the node where it shows.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise DialectError("not a classifier: it must have one input and one output")
    state = State(graph, size)
    for node in _needed(graph):
        try:
            if not state.constants.compute(node):
                _take(state, node)
        except DialectError as error:
            raise DialectError(f"{error} (at {_words(node)})") from None
        except DAMAGE as error:
            raise DialectError(f"damaged: {_words(node)} cannot be read ({error})") from None
    end, picture = state.tensors.get(graph.outputs[0]), state.picture
    if state.steps is None or state.classifier is None or picture is None or end is None:
        raise DialectError(f"{NOT_OURS}: no classifier after the pooling")
    if end.stage != "logits":
        raise DialectError("not a classifier: its output is not the end of the chain")
    _, _, height, width = picture.shape
    before = [sum(pad) for pad in picture.pads]
    factor, offset = picture.by_channel()
    return Classifier(
        state.steps, *state.classifier, (height - before[0], width - before[1]), factor, offset,
        picture.axes != UNKNOWN_AXES,
    )  # fmt: skip


def _words(node: Node) -> str:
    name = node.name or node.outputs[0]
    return f"the {node.kind} {name!r}"


def _needed(graph: Graph) -> Iterator[Node]:
    """The nodes that the output depends on, in the order in which they run."""
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
        raise DialectError(f"{NOT_OURS}: {node.kind} takes nothing of the chain")
    tensor, kind = known[0], node.kind
    if kind == "Shape":
        state.constants.known[node.outputs[0]] = shape_of(node, tensor.shape)
        return
    if kind in PASSED_OVER or (kind in ENDS and tensor.stage == "logits"):
        state.tensors[node.outputs[0]] = tensor
        return
    if kind not in HANDLERS:
        raise DialectError(f"{NOT_OURS}: unexpected operator {kind}")
    if len(known) > 1 and kind != "Add":
        raise DialectError(f"{NOT_OURS}: {kind} of two tensors")
    if tensor.pads != UNPADDED and kind != "Conv":
        raise DialectError(f"{NOT_OURS}: {kind} behind a Pad")
    state.tensors[node.outputs[0]] = HANDLERS[kind](state, node, tensor)
