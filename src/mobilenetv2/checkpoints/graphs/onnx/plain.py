"""Rewriting of quantised and fused ONNX operators as plain ones, before a graph is followed.

Quantisers write one network in three ways. QDQ has QuantizeLinear and DequantizeLinear around plain
operators, and is what the others become here. In QOperator every operator has integers in and out
(QLinearConv). Dynamic quantisation has integers inside of single layers (ConvInteger), whose scale
is measured for each image. ONNX Runtime's optimisations add fused operators.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.onnx import Graph, Node
from mobilenetv2.errors import DialectError

ONE = "1 (of dynamic quantisation)"
"""Name of the scale that stands for one that is measured for each image."""
ACTIVATIONS = {"Relu": [], "Clip": ["min", "max"]}
"""Activations of fused operators, with the names of their parameters."""


def plain(graph: Graph) -> Graph:
    """Return a graph of ONNX's own float operators, with QuantizeLinear and DequantizeLinear.

    Raises:
        DialectError: a quantised or fused operator lacks inputs, or is none that is read.
    """
    if not any(node.kind in REWRITES for node in graph.nodes):
        return graph
    rewriting = _Rewriting(graph)
    for node in graph.nodes:
        rewrite = REWRITES.get(node.kind)
        if rewrite is None:
            rewriting.nodes.append(node)
            continue
        try:
            rewrite(rewriting, node)
        except (IndexError, TypeError, ValueError) as error:
            raise DialectError(
                f"damaged: {node.kind} {node.outputs[:1]} cannot be read ({error})"
            ) from None
    return dataclasses.replace(graph, nodes=tuple(rewriting.nodes), constants=rewriting.constants)


class _Rewriting:
    """Nodes and constants of the new graph so far."""

    def __init__(self, graph: Graph) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, NDArray] = {**graph.constants, ONE: np.ones((), np.float32)}
        self.measured: set[str] = set()
        """Names of tensors that were quantised with a measured scale, and of their zero points."""

    def add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append a node, and return the name of its output."""
        self.nodes.append(Node(kind, output, tuple(inputs), (output,), attributes))
        return output

    def real(self, node: Node, place: int, axis: int = 0) -> str:
        """Dequantise the input at ``place``, which scale and zero point follow."""
        made, given = f"{node.outputs[0]}/{place}", node.inputs[place : place + 3]
        if len(given) < 3:
            raise ValueError(f"it has {len(node.inputs)} inputs")
        return self.add("DequantizeLinear", given, made, axis=axis)

    def bias(self, node: Node, place: int, scales: tuple[int, int]) -> list[str]:
        """Dequantise the int32 bias at ``place``, if there is one, by the product of two scales."""
        if len(node.inputs) <= place or not node.inputs[place]:
            return []
        made = f"{node.outputs[0]}/bias"
        product = self.add("Mul", [node.inputs[i] for i in scales], f"{made} scale")
        return [self.add("DequantizeLinear", [node.inputs[place], product], made, axis=0)]

    def quantised(self, node: Node, made: str, place: int) -> None:
        """Quantise ``made`` as the node's output; its scale and zero point are at ``place``."""
        self.add("QuantizeLinear", [made, *node.inputs[place : place + 2]], node.outputs[0])

    def require_measured(self, node: Node) -> None:
        """Raise unless the first input was quantised with a measured scale.

        Such a scale is 1 here, so that a constant one would be left out without a word.
        """
        if node.inputs[0] not in self.measured:
            raise DialectError(
                f"{node.kind} {node.outputs[0]!r} of integers that no DynamicQuantizeLinear made"
            )


def _qlinear_conv(to: _Rewriting, node: Node) -> None:
    given = [to.real(node, 0), to.real(node, 3), *to.bias(node, 8, (1, 4))]
    made = to.add("Conv", given, f"{node.outputs[0]}/real", **node.attributes)
    to.quantised(node, made, 6)


def _qlinear_two(to: _Rewriting, node: Node) -> None:
    kind, axis = node.kind.removeprefix("QLinear"), 1 if node.kind == "QLinearMatMul" else 0
    made = to.add(kind, [to.real(node, 0), to.real(node, 3, axis)], f"{node.outputs[0]}/real")
    to.quantised(node, made, 6)


def _qlinear_one(to: _Rewriting, node: Node) -> None:
    if node.attributes.get("channels_last"):
        raise DialectError(f"{node.kind} {node.outputs[0]!r} with channels last")
    kept = {
        name: value for name, value in node.attributes.items()
        if name not in ("channels_last", "opset")
    }  # fmt: skip
    kind = node.kind.removeprefix("QLinear")
    to.quantised(node, to.add(kind, [to.real(node, 0)], f"{node.outputs[0]}/real", **kept), 3)


def _qgemm(to: _Rewriting, node: Node) -> None:
    weight = to.real(node, 3, 0 if node.attributes.get("transB") else 1)
    given = [to.real(node, 0), weight, *to.bias(node, 6, (1, 4))]
    # The bias has the scale of the product, which includes alpha.
    kept = {**node.attributes, "beta": node.attributes.get("alpha", 1.0)}
    integers = len(node.inputs) > 7 and node.inputs[7]
    end = f"{node.outputs[0]}/real" if integers else node.outputs[0]
    made = to.add("Gemm", given, end, **kept)
    if integers:
        to.quantised(node, made, 7)


def _dynamic_quantize(to: _Rewriting, node: Node) -> None:
    values, scale, zero = node.outputs
    to.add("Identity", node.inputs[:1], values)
    to.constants[scale] = to.constants[ONE]
    to.constants[zero] = np.zeros((), np.uint8)
    to.measured |= {values, zero}


def _integer_layer(to: _Rewriting, node: Node) -> None:
    to.require_measured(node)
    kind, axis = ("Conv", 0) if node.kind == "ConvInteger" else ("MatMul", 1)
    zero = node.inputs[3:4]
    weight = to.add(
        "DequantizeLinear", [node.inputs[1], ONE, *zero], f"{node.outputs[0]}/weight", axis=axis
    )
    to.add(kind, [node.inputs[0], weight], node.outputs[0], **node.attributes)


def _dynamic_matmul(to: _Rewriting, node: Node) -> None:
    """Rewrite DynamicQuantizeMatMul, and MatMulIntegerToFloat, by ONNX Runtime's fusions."""
    if node.kind == "MatMulIntegerToFloat":
        to.require_measured(node)
        places = (1, 3, 5, 6)
    else:
        places = (1, 2, 3, 4)
    weight, scale, zero, bias = (
        node.inputs[place] if len(node.inputs) > place else "" for place in places
    )
    end = node.outputs[0]
    given = [weight, scale, *([zero] if zero else [])]
    made = to.add("DequantizeLinear", given, f"{end}/weight", axis=1)
    product = to.add("MatMul", [node.inputs[0], made], f"{end}/product" if bias else end)
    if bias:
        to.add("Add", [product, bias], end)


def _fused(to: _Rewriting, node: Node) -> None:
    """Rewrite FusedConv and FusedGemm: a layer, a shortcut's addition, an activation."""
    kind, end = node.kind.removeprefix("Fused"), node.outputs[0]
    word = node.attributes.get("activation", "Relu")
    if word not in ACTIVATIONS:
        raise DialectError(f"{node.kind} {end!r} with the activation {word!r}")
    kept = {
        name: value for name, value in node.attributes.items() if not name.startswith("activation")
    }
    made = to.add(kind, node.inputs[:3], f"{end}/linear", **kept)
    if kind == "Conv" and len(node.inputs) > 3 and node.inputs[3]:
        made = to.add("Add", [made, node.inputs[3]], f"{end}/sum")
    bounds = dict(
        zip(ACTIVATIONS[word], node.attributes.get("activation_params", []), strict=False)
    )
    to.add(word, [made], end, **bounds)


REWRITES: dict[str, Callable[[_Rewriting, Node], None]] = {
    "QLinearConv": _qlinear_conv,
    **dict.fromkeys(("QLinearAdd", "QLinearMul", "QLinearMatMul"), _qlinear_two),
    **dict.fromkeys(
        ("QLinearGlobalAveragePool", "QLinearAveragePool", "QLinearSigmoid", "QLinearSoftmax"),
        _qlinear_one,
    ),
    "QGemm": _qgemm,
    "DynamicQuantizeLinear": _dynamic_quantize,
    **dict.fromkeys(("ConvInteger", "MatMulInteger"), _integer_layer),
    **dict.fromkeys(("DynamicQuantizeMatMul", "MatMulIntegerToFloat"), _dynamic_matmul),
    **dict.fromkeys(("FusedConv", "FusedGemm"), _fused),
}
