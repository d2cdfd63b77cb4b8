"""QDQ files: their operators, all integers in ONNX Runtime, and the numbers they stand for."""

import collections
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from graph_forms import sources, tensors
from numpy.typing import NDArray

from mobilenetv2.editions.numpy import operations
from mobilenetv2.graph.lowering import lower_folded
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.quantization.scheme import Range, Scheme
from mobilenetv2.runtime import predictor
from mobilenetv2.runtime.engines.onnxruntime import session_options
from mobilenetv2.spec.blocks import Convolution, resolve
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

SPECS = {
    "same, odd": NetworkSpec(width=0.1, size=(65, 48), classes=5, numerics=Numerics("same", 1e-3)),
    "projection shortcuts": published("article-keras", width=0.1, size=64, classes=5),
    "small, grey": published("small", width=0.1, classes=4, input_channels=1),
}
LEVELS = onnxruntime.GraphOptimizationLevel


def run(data: bytes, x: NDArray, outputs: list[str], level: Any = LEVELS.ORT_ENABLE_ALL) -> Any:
    options = session_options()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(outputs, {"input": x})


def picture(spec: NetworkSpec, number: int = 4) -> NDArray:
    shape = (number, spec.input_channels, *spec.size)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def scheme_of(spec: NetworkSpec, **changes: Any) -> Scheme:
    """Ranges from the float network's tensors on :func:`picture`, those of ReLU6 up to 6."""
    config, folded = ModelConfig.default(spec), fold(spec, random_arrays(spec))
    names = [name for name in tensors(spec) if name != "input"]
    data = write_onnx(lower_folded(config, folded).with_intermediates())
    found = dict(zip(names, run(data, picture(spec), names), strict=True))
    ranges = {name: Range(float(y.min()), float(y.max())) for name, y in found.items()}
    return Scheme(config, folded, {"input": Range(-1.0, 1.0), **ranges}, **changes)


def reference(scheme: Scheme, x: NDArray) -> NDArray:
    """The logits with every tensor and weight rounded as the scheme says, in float64."""
    taken, held = sources(scheme.config.spec), {}
    spec = scheme.config.spec

    def settled(name: str, y: NDArray) -> None:
        given = scheme.ranges[name]
        integers = np.clip(np.rint(y / given.scale) + given.zero_point, 0, 255)
        held[name] = given.scale * (integers - given.zero_point)

    def parameters(name: str) -> tuple[NDArray, NDArray]:
        scales, given = scheme.weight_scales(name).astype(np.float64), scheme.ranges[taken[name]]
        integers = scheme.integers(name)
        weight = integers * scales.reshape(-1, *[1] * (integers.ndim - 1))
        return weight, scheme.bias_integers(name) * scales * given.scale

    def layer(step: Convolution) -> None:
        weight, bias = parameters(step.name)
        depthwise = step.role == "depthwise"
        convolve = operations.depthwise_convolution if depthwise else operations.convolution
        y = convolve(held[taken[step.name]], weight, step.stride, step.padding)
        y = y + bias[:, None, None]
        settled(step.name, y if step.linear else np.clip(y, 0, 6))

    settled("input", x.astype(np.float64))
    network = resolve(spec)
    layer(network.stem)
    for block in network.blocks:
        for step in block.convolutions:
            layer(step)
        if block.residual:
            other = block.shortcut.name if block.shortcut else taken[block.steps[0].name]
            settled(f"blocks.{block.index}", held[block.steps[-1].name] + held[other])
    assert network.head
    layer(network.head)
    settled("features", operations.global_average_pool(held["head"]))
    weight, bias = parameters("classifier")
    settled("logits", held["features"] @ weight.T + bias)
    return held["logits"]


@pytest.mark.parametrize("changes", [{}, {"per_channel": False}, {"weight_bits": 7}])
@pytest.mark.parametrize("name", SPECS)
def test_the_file_stands_for_the_schemes_numbers(name: str, changes: dict[str, Any]) -> None:
    scheme = scheme_of(SPECS[name], **changes)
    data = write_onnx(scheme.quantised())
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    x = picture(SPECS[name])
    expected, step = reference(scheme, x), scheme.ranges["logits"].scale
    # One float rounding on the other side of a half moves an integer: a few of the last steps.
    for level in (LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_ALL):
        (found,) = run(data, x, ["logits"], level)
        assert np.abs(found - expected).max() <= 12 * step
        assert np.abs(found - expected).mean() <= 2.5 * step
    assert len(np.unique(np.rint(found / step))) > 10


def test_it_is_near_the_float_network_and_better_with_a_scale_a_channel() -> None:
    spec = SPECS["same, odd"]
    scheme = scheme_of(spec)
    (expected,) = run(
        write_onnx(lower_folded(scheme.config, scheme.folded)), picture(spec), ["logits"]
    )

    def noise(changed: Scheme) -> float:
        (found,) = run(write_onnx(changed.quantised()), picture(spec), ["logits"])
        return float(((found - expected) ** 2).mean() / (expected**2).mean())

    best = noise(scheme)
    assert best < 0.01
    assert best < noise(dataclasses.replace(scheme, weight_bits=7))
    assert best < noise(dataclasses.replace(scheme, per_channel=False))


@pytest.mark.parametrize("per_channel", [True, False])
def test_onnx_runtime_makes_integer_operators_of_all(per_channel: bool, tmp_path: Path) -> None:
    spec = NetworkSpec(width=0.35, size=(64, 64), classes=7)
    options, path = onnxruntime.SessionOptions(), tmp_path / "optimised.onnx"
    options.log_severity_level, options.optimized_model_filepath = 3, str(path)
    data = write_onnx(scheme_of(spec, per_channel=per_channel).quantised())
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    kinds = collections.Counter(node.op_type for node in onnx.load(path).graph.node)
    assert kinds["QLinearConv"] == 52 and kinds["QLinearAdd"] == 10
    assert kinds["QLinearGlobalAveragePool"] == kinds["QGemm"] == 1
    assert not {"Conv", "Clip", "Add", "Gemm", "GlobalAveragePool"} & set(kinds)
    assert kinds["QuantizeLinear"] == kinds["DequantizeLinear"] == 1


def test_the_operators_of_the_float_file_are_all_there() -> None:
    spec = NetworkSpec(width=0.35, size=(64, 64), classes=7)
    graph = onnx.load_from_string(write_onnx(scheme_of(spec).quantised())).graph
    kinds = collections.Counter(node.op_type for node in graph.node)
    expected = {"Conv": 52, "Clip": 35, "Add": 10, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    assert {kind: kinds[kind] for kind in expected} == expected
    types = {
        tensor.name: tensor.data_type
        for tensor in graph.initializer if tensor.name.endswith(".integers")
    }  # fmt: skip
    assert collections.Counter(types.values()) == {
        onnx.TensorProto.INT8: 53, onnx.TensorProto.INT32: 53,
    }  # fmt: skip


def test_it_runs_as_an_exported_file_with_its_config(tmp_path: Path) -> None:
    spec, path = SPECS["same, odd"], tmp_path / "net.onnx"
    scheme = scheme_of(spec)
    path.write_bytes(write_onnx(scheme.quantised()))
    assert path.read_bytes() == write_onnx(scheme.quantised())
    loaded = predictor.load_artifact(path)
    assert loaded.config == scheme.config
    found = predictor.create_engine(loaded).run(picture(spec), "logits")
    np.testing.assert_array_equal(
        found, run(write_onnx(scheme.quantised()), picture(spec), ["logits"])[0]
    )


def test_pictures_can_go_in_and_features_come_out() -> None:
    spec = SPECS["same, odd"]
    scheme = scheme_of(spec)
    record = scheme.config.preprocessing
    pixels = np.random.default_rng(1).integers(0, 256, (3, *spec.size, 3), np.uint8)
    x = engine_input(pixels, record)
    scheme = dataclasses.replace(
        scheme, ranges={**scheme.ranges, "input": Range(float(x.min()), float(x.max()))}
    )
    inside = run(
        write_onnx(scheme.quantised().with_outputs("features").with_normalisation()),
        pixels,
        ["features", "logits"],
    )
    outside = run(
        write_onnx(scheme.quantised().with_outputs("features")), x, ["features", "logits"]
    )
    for one, other, name in zip(inside, outside, ("features", "logits"), strict=True):
        step = scheme.ranges[name].scale
        np.testing.assert_allclose(one, other, atol=2.01 * step)
        np.testing.assert_allclose(one / step, np.rint(one / step), atol=1e-2)


def test_a_part_alone_leaves_the_rest_in_float() -> None:
    spec = SPECS["projection shortcuts"]
    scheme, x = scheme_of(spec), picture(spec)
    off = LEVELS.ORT_DISABLE_ALL
    (exact,) = run(write_onnx(lower_folded(scheme.config, scheme.folded)), x, ["logits"])
    (none,) = run(write_onnx(scheme.quantised(())), x, ["logits"], off)
    assert np.abs(none - exact).max() <= 1e-4 * max(1, np.abs(exact).max())
    data = write_onnx(scheme.quantised({"blocks.1.project"}))
    kinds = collections.Counter(node.op_type for node in onnx.load_from_string(data).graph.node)
    assert (kinds["QuantizeLinear"], kinds["DequantizeLinear"]) == (1, 2)
    (part,) = run(data, x, ["logits"], off)
    (whole,) = run(write_onnx(scheme.quantised()), x, ["logits"], off)
    few, all_ = ((found - exact).std() for found in (part, whole))
    assert 1e-6 < few < all_
    every = {*tensors(spec), *sources(spec)}
    np.testing.assert_array_equal(
        run(write_onnx(scheme.quantised(every)), x, ["logits"], off)[0], whole
    )
