"""Quantised, fused and float16 ONNX files, by ONNX Runtime's own tools, against what they give."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from heads import HEADS, with_head
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mobilenetv2.checkpoints.containers.onnx import Graph, Node
from mobilenetv2.checkpoints.graphs.onnx.plain import plain
from mobilenetv2.checkpoints.graphs.onnx.reader import DIALECT
from mobilenetv2.checkpoints.importer import ImportOptions, read_checkpoint
from mobilenetv2.editions import numpy as reference
from mobilenetv2.errors import DialectError
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

quantization: Any = pytest.importorskip("onnxruntime.quantization")
SPEC = published("torchvision", width=0.35, size=64, classes=7)
PICTURES = np.random.default_rng(0).uniform(-1, 1, (6, 3, 64, 64)).astype(np.float32)


class Reader:
    """Pictures to calibrate on, one by one."""

    def __init__(self) -> None:
        self.left: Iterator[NDArray] = iter(PICTURES)

    def get_next(self) -> dict[str, NDArray] | None:
        picture = next(self.left, None)
        return None if picture is None else {"input": picture[None]}


quantization.CalibrationDataReader.register(Reader)


def bare(spec: NetworkSpec, path: Path) -> Path:
    """Our writer's file without the config."""
    model = onnx.load_from_string(write_onnx(lower(ModelConfig.default(spec), random_arrays(spec))))
    del model.metadata_props[:]
    onnx.save(model, path)
    return path


def run(path: Path, **options: Any) -> NDArray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    x = PICTURES.astype(np.float16) if given.type == "tensor(float16)" else PICTURES
    return np.asarray(np.concatenate([session.run(None, {given.name: one[None]})[0] for one in x]))


def imported(path: Path) -> tuple[ModelConfig, NDArray]:
    config, arrays = read_checkpoint(path)
    network = reference.build(config, dtype="float64")
    reference.load(network, arrays)
    return config, np.asarray(network(PICTURES))


def require_close(found: NDArray, expected: NDArray, share: float) -> None:
    """Logits apart by a share of their spread, and the same top-1 wherever it is clear."""
    apart = np.abs(found - expected).max()
    assert apart <= share * expected.std(1).max()
    best = np.sort(expected, 1)
    clear = best[:, -1] - best[:, -2] > 2 * apart
    np.testing.assert_array_equal(found.argmax(1)[clear], expected.argmax(1)[clear])


@pytest.mark.parametrize("head", [None, "hidden 100 without bias", "max pooling"])
def test_a_dynamically_quantised_file(head: str | None, tmp_path: Path) -> None:
    spec = SPEC if head is None else with_head(head, 64)
    source, made = bare(spec, tmp_path / "net.onnx"), tmp_path / "dynamic.onnx"
    quantization.quantize_dynamic(source, made, op_types_to_quantize=["Conv", "MatMul", "Gemm"])
    kinds = {node.op_type for node in onnx.load(made).graph.node}
    assert {"DynamicQuantizeLinear", "ConvInteger"} <= kinds
    config, logits = imported(made)
    assert config.spec.classifier.hidden == tuple(
        type(one)(one.units, one.activation, one.bias) for one in spec.classifier.hidden
    )
    require_close(logits, run(made), 0.3)


@pytest.mark.parametrize("per_channel", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("style", ["QOperator", "QDQ"])
@pytest.mark.parametrize("signed", [False, True])
def test_a_statically_quantised_file(
    style: str, per_channel: bool, signed: bool, tmp_path: Path
) -> None:
    source, made = bare(SPEC, tmp_path / "net.onnx"), tmp_path / "static.onnx"
    kind = quantization.QuantType
    quantization.quantize_static(
        source, made, Reader(), getattr(quantization.QuantFormat, style), per_channel=per_channel,
        activation_type=kind.QInt8 if signed else kind.QUInt8, weight_type=kind.QInt8,
    )  # fmt: skip
    kinds = {node.op_type for node in onnx.load(made).graph.node}
    assert ("QLinearConv" in kinds) == (style == "QOperator")
    config, logits = imported(made)
    assert config.spec == SPEC
    require_close(logits, run(made), 0.5)
    inside = DIALECT.open(DIALECT.read(made), made, ImportOptions()).inside
    # The calibrated range is no normalisation.
    assert inside.normalisation is None and inside.input_range is not None
    np.testing.assert_allclose(inside.input_range, (-1, 1), atol=0.02)


@pytest.mark.parametrize("style", ["QOperator", "QDQ"])
def test_a_hidden_layer_keeps_the_relu_that_a_quantiser_removes(style: str, tmp_path: Path) -> None:
    spec = with_head("hidden 100 without bias", 64)
    source, made = bare(spec, tmp_path / "net.onnx"), tmp_path / "static.onnx"
    quantization.quantize_static(
        source, made, Reader(), getattr(quantization.QuantFormat, style),
        weight_type=quantization.QuantType.QInt8,
    )  # fmt: skip
    config, logits = imported(made)
    assert [one.activation for one in config.spec.classifier.hidden] == ["relu"]
    require_close(logits, run(made), 0.5)


@pytest.mark.parametrize("inputs_too", [False, True])
def test_a_float16_file(inputs_too: bool, tmp_path: Path) -> None:
    """All constants as halves, behind a Cast or with an input of halves."""
    model = onnx.load(bare(SPEC, tmp_path / "net.onnx"))
    graph = model.graph
    halves = [
        numpy_helper.from_array(numpy_helper.to_array(one).astype(np.float16), one.name)
        for one in graph.initializer
    ]
    del graph.initializer[:]
    graph.initializer.extend(halves)
    if inputs_too:
        for end in (*graph.input, *graph.output):
            end.type.tensor_type.elem_type = TensorProto.FLOAT16
    else:
        for node in graph.node:
            node.input[:] = ["half" if name == "input" else name for name in node.input]
            node.output[:] = ["last" if name == "logits" else name for name in node.output]
        graph.node.insert(0, helper.make_node("Cast", ["input"], ["half"], to=TensorProto.FLOAT16))
        graph.node.append(helper.make_node("Cast", ["last"], ["logits"], to=TensorProto.FLOAT))
    onnx.save(model, tmp_path / "half.onnx")
    config, logits = imported(tmp_path / "half.onnx")
    assert config.spec == SPEC
    require_close(logits, run(tmp_path / "half.onnx").astype(np.float64), 0.1)


def test_a_file_that_onnx_runtime_optimised(tmp_path: Path) -> None:
    """Its fusions into one operator; layouts of one processor are another level."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    source = bare(SPEC, tmp_path / "net.onnx")
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    kinds = {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}
    assert "FusedConv" in kinds
    config, logits = imported(tmp_path / "optimised.onnx")
    assert config.spec == SPEC
    np.testing.assert_allclose(logits, run(source), atol=1e-4)


def test_every_head_in_floats(tmp_path: Path) -> None:
    for index, head in enumerate(HEADS):
        source = bare(with_head(head, 64), tmp_path / f"{index}.onnx")
        config, logits = imported(source)
        expected = with_head(head, 64).classifier
        assert config.spec.classifier.pooling == expected.pooling
        np.testing.assert_allclose(logits, run(source), atol=1e-4)


def graph_of(*nodes: Node) -> Graph:
    return Graph(nodes, {"w": np.ones((2, 2), np.int8)}, {"x": (1, 2)}, ("y",), 17)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (Node("ConvInteger", "", ("x", "w"), ("y",), {}), "no DynamicQuantizeLinear"),
        (Node("MatMulIntegerToFloat", "", ("x", "w", "s", "s"), ("y",), {}), "no Dynamic"),
        (Node("FusedConv", "", ("x", "w"), ("y",), {"activation": "Tanh"}), "activation 'Tanh'"),
        (Node("QLinearGlobalAveragePool", "", ("x",) * 5, ("y",), {"channels_last": 1}), "last"),
        (Node("QLinearConv", "", (), ("y",), {}), "damaged: QLinearConv"),
        (Node("DynamicQuantizeLinear", "", ("x",), ("y",), {}), "damaged"),
    ],
)  # fmt: skip
def test_what_would_be_another_network_is_refused(node: Node, message: str) -> None:
    with pytest.raises(DialectError, match=message):
        plain(graph_of(node))


def test_a_plain_graph_stays_as_it_is() -> None:
    graph = graph_of(Node("Relu", "", ("x",), ("y",), {}))
    assert plain(graph) is graph
