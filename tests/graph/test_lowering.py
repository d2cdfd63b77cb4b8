"""Tensors and who takes them, held against the graph that the ONNX writer makes."""

import numpy as np
import onnx
import pytest
from graph_forms import Form, sources, tensors

from mobilenetv2.editions import numpy as plain
from mobilenetv2.graph.lowering import lower_folded
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

SPECS = {
    "same, odd": NetworkSpec(width=0.1, size=(65, 48), classes=5, numerics=Numerics("same", 1e-3)),
    "projection shortcuts": published("article-keras", width=0.1, size=64, classes=5),
    "relu6 projections": NetworkSpec(width=0.1, size=(64, 64), classes=5, projection="relu6"),
    "small, grey": published("small", width=0.1, classes=4, input_channels=1),
}


@pytest.mark.parametrize("name", SPECS)
def test_layers_take_what_they_take_in_the_graph(name: str) -> None:
    spec = SPECS[name]
    form = Form(intermediates=True)
    data = form.onnx(lower_folded(ModelConfig.default(spec), fold(spec, random_arrays(spec))))
    nodes = onnx.load_from_string(data).graph.node
    taken = {
        node.output[0].removesuffix(".conv"): node.input[0]
        for node in nodes if node.op_type == "Conv"
    }  # fmt: skip
    gemm = next(node for node in nodes if node.op_type == "Gemm")
    assert sources(spec) == taken | {"classifier": gemm.input[0]}


@pytest.mark.parametrize("name", SPECS)
def test_shapes_and_bounds_are_those_of_the_plain_network(name: str) -> None:
    spec = SPECS[name]
    network = plain.build(spec, dtype="float64")
    plain.load(network, random_arrays(spec))
    x = 3 * np.random.default_rng(0).normal(size=(2, spec.input_channels, *spec.size))
    seen = network.intermediates(x)
    found = tensors(spec)
    assert {"input", "features", "logits", *sources(spec)} - {"classifier"} <= set(found)
    reached = 0
    for tensor in found.values():
        if tensor.name not in seen:
            continue
        values = seen[tensor.name]
        assert values[0].size == tensor.channels * tensor.pixels, tensor.name
        assert values.shape[1] == tensor.channels
        assert tensor.low <= values.min() and values.max() <= tensor.high
        reached += values.min() == tensor.low
    assert reached > 10
