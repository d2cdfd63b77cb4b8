"""Every head and every kind of block, through every writer, against the editions."""

import numpy as np
import pytest
import torch
from graph_forms import Form, graph_of
from heads import BLOCKS, HEADS, with_head
from numpy.typing import NDArray

from mobilenetv2.editions import numpy as plain
from mobilenetv2.editions import torch as edition
from mobilenetv2.graph.graph import Conv, Graph, Linear, real
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.torch import GraphModule
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.quantization.post_training import quantise
from mobilenetv2.runtime.engines.engine import Artifact
from mobilenetv2.runtime.predictor import create_engine
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

SPECS: dict[str, NetworkSpec] = {name: with_head(name) for name in HEADS} | BLOCKS


def pictures(spec: NetworkSpec, count: int = 8) -> NDArray:
    """uint8 (count, height, width, channels): flat colours with noise, so that logits differ."""
    random = np.random.default_rng(0)
    flat = random.integers(0, 256, (count, 1, 1, spec.input_channels))
    noise = random.integers(-60, 61, (count, *spec.size, spec.input_channels))
    return np.clip(flat + noise, 0, 255).astype(np.uint8)


def expected(spec: NetworkSpec, x: NDArray) -> dict[str, NDArray]:
    """Every intermediate of the edition, channels first."""
    if spec in BLOCKS.values():
        network = edition.build(spec, dtype="float64")
        edition.load(network, random_arrays(spec))
        network.eval()
        with torch.no_grad():
            found = network.intermediates(torch.from_numpy(x).double())
        return {name: value.numpy() for name, value in found.items()}
    reference = plain.build(spec, dtype="float64")
    plain.load(reference, random_arrays(spec))
    return reference.intermediates(x)


def near(found: NDArray, wanted: NDArray) -> None:
    assert np.abs(found - wanted).max() <= 1e-4 * max(1.0, np.abs(wanted).max())


@pytest.mark.parametrize("name", SPECS)
def test_every_float_writer_is_near_the_edition(name: str) -> None:
    spec = SPECS[name]
    graph, config = graph_of(spec), ModelConfig.default(spec)
    shown = pictures(spec)
    x = engine_input(shown, config.preprocessing)
    wanted = expected(spec, x)
    assert wanted["logits"].shape == (8, spec.logits) and wanted["logits"].std() > 1e-2
    near(GraphModule(graph)(torch.from_numpy(x)).numpy(), wanted["logits"])
    onnx = create_engine(
        Artifact(config, "onnx", Form(features=True, last_map=True).onnx(graph), "m")
    )
    near(onnx.run(x, "logits"), wanted["logits"])
    near(onnx.run(x, "features"), wanted["features"])
    near(onnx.run(x, "map"), wanted[graph.last_map])
    shows = create_engine(Artifact(config, "onnx", Form(pictures=True, batch=3).onnx(graph), "m"))
    near(shows.run(shown, "logits"), wanted["logits"])
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed (extra: litert)")
    lite = create_engine(
        Artifact(config, "litert", Form(features=True, last_map=True).litert(graph), "m")
    )
    near(lite.run(x, "logits"), wanted["logits"])
    near(lite.run(x, "map"), wanted[graph.last_map])


@pytest.mark.parametrize("name", SPECS)
def test_intermediates_in_onnx_are_the_editions(name: str) -> None:
    spec = SPECS[name]
    x = engine_input(pictures(spec, 2), ModelConfig.default(spec).preprocessing)
    wanted = expected(spec, x)
    data = Form(intermediates=True).onnx(graph_of(spec))
    engine = create_engine(Artifact(ModelConfig.default(spec), "onnx", data, "m"))
    for tensor in graph_of(spec).tensors:
        if tensor != "input":
            near(engine.compute(x, tensor), wanted[tensor])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SPECS)
def test_batch_norm_left_in_gives_the_same(name: str) -> None:
    spec = SPECS[name]
    config = ModelConfig.default(spec)
    x = engine_input(pictures(spec, 2), config.preprocessing)
    data = Form().onnx(lower(config, random_arrays(spec), folded=False))
    near(
        create_engine(Artifact(config, "onnx", data, "m")).run(x, "logits"),
        expected(spec, x)["logits"],
    )


@pytest.mark.parametrize("name", SPECS)
def test_int8_formats_agree_and_stay_near_float(name: str) -> None:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed (extra: litert)")
    spec = SPECS[name]
    config, shown = ModelConfig.default(spec), pictures(spec)
    scheme = quantise(config, random_arrays(spec), shown)
    assert set(scheme.ranges) == set(graph_of(spec).tensors)
    x = engine_input(shown, config.preprocessing)
    wanted = expected(spec, x)["logits"]
    graph = scheme.quantised()
    onnx = create_engine(Artifact(config, "onnx", Form().onnx(graph), "m")).run(x, "logits")
    lite = create_engine(Artifact(config, "litert", Form().litert(graph), "m")).run(x, "logits")
    step = scheme.ranges["logits"].scale
    # Each layer may fall on the other side of a half; the layers behind it make that some steps.
    assert np.abs(onnx - lite).mean() <= step and np.abs(onnx - lite).max() <= 6.1 * step
    signal = float((wanted**2).sum())
    for found in (onnx, lite):
        assert 10 * np.log10(signal / float(((found - wanted) ** 2).sum())) > 12


def test_a_layer_without_bias_has_none_until_int8_corrects_it() -> None:
    spec = SPECS["hidden 100 without bias"]
    graph = graph_of(spec)
    *_, hidden, last = graph.operations
    assert isinstance(last, Linear) and last.bias is None
    assert isinstance(hidden, Linear) and hidden.bias is not None
    scheme = quantise(ModelConfig.default(spec), random_arrays(spec), pictures(spec))
    assert isinstance(scheme.graph.operations[-1], Linear)
    assert scheme.graph.operations[-1].bias is not None


def test_max_pooling_hands_integers_on_as_they_are() -> None:
    spec = SPECS["max pooling"]
    scheme = quantise(ModelConfig.default(spec), random_arrays(spec), pictures(spec))
    assert scheme.ranges["features"] == scheme.ranges["head"]


def test_the_graph_says_what_the_network_is() -> None:
    graph: Graph = graph_of(BLOCKS["resnet-bottleneck"])
    kinds = {type(op).__name__ for op in graph.operations}
    assert kinds == {"Conv", "Add", "Pool", "Linear"}
    assert graph.tensors["blocks.0"].low == 0  # activated after the addition
    dense = [op for op in graph.operations if isinstance(op, Conv) and op.groups > 1]
    assert not dense
    for layer in graph.layers():
        assert real(layer.weight).dtype == np.float32
