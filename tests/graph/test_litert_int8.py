"""Full-integer LiteRT files against arithmetic on integers written out in NumPy.

One step that falls on the other side of a half grows through the layers behind it, so that kernels
are held to NumPy layer by layer, each on the integers that the kernel itself was given.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_forms import Form, pictures, scheme_of, sources, tensors
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers import litert as container
from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.editions import numpy as plain
from mobilenetv2.editions.numpy import operations
from mobilenetv2.graph.litert import write_litert
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.model.outputs import softmax
from mobilenetv2.quantization.scheme import Range, Scheme
from mobilenetv2.runtime.engines.engine import Artifact
from mobilenetv2.runtime.engines.litert import create_engine as litert
from mobilenetv2.runtime.engines.litert import read_artifact
from mobilenetv2.runtime.predictor import create_engine
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

interpreters = pytest.importorskip(
    "ai_edge_litert.interpreter", reason="ai-edge-litert is not installed (extra: litert)"
)

TINY: Any = {"width": 0.1, "classes": 5}
SPECS = {
    "symmetric": NetworkSpec(size=(48, 64), **TINY),
    "same, odd": NetworkSpec(size=(65, 48), numerics=Numerics("same", 1e-3), **TINY),
    "projection shortcuts": published("article-keras", size=64, **TINY),
    "small, grey": published("small", input_channels=1, **TINY),
}


def integers(scheme: Scheme, x: NDArray, given: dict[str, NDArray] | None = None) \
        -> dict[str, NDArray]:  # fmt: skip
    """Every tensor's uint8 integers: sums exact, rescaled in float32, rounded once, halves to even.

    Args:
        given: what each layer takes instead of what was computed here.
    """
    spec, ranges, found = scheme.config.spec, scheme.ranges, dict[str, NDArray]()
    network, taken = resolve(spec), sources(spec)
    six = 6.0 if spec.numerics.activation == "relu6" else np.inf

    def settle(name: str, levels: NDArray, low: float = -np.inf, high: float = np.inf) -> None:
        scale, zero = ranges[name].scale, ranges[name].zero_point
        bounds = np.clip(np.rint(np.array([low, high]) / scale) + zero, 0, 255)
        found[name] = np.clip(np.rint(levels) + zero, *bounds)

    def centred(name: str) -> NDArray:
        return (given or found)[name] - float(ranges[name].zero_point)

    def rescaled(name: str, sums: NDArray, end: str) -> NDArray:
        source = taken[name]
        sums = sums + scheme.bias_integers(name).reshape(1, -1, *[1] * (sums.ndim - 2))
        factor = scheme.weight_scales(name) * np.float32(ranges[source].scale)
        factor = (factor / np.float32(ranges[end].scale)).reshape(1, -1, *[1] * (sums.ndim - 2))
        return np.asarray(sums.astype(np.float32) * factor)

    settle("input", x / np.float32(ranges["input"].scale))
    for step in network.convolutions:
        convolve = (
            operations.depthwise_convolution if step.role == "depthwise" else operations.convolution
        )
        weight = scheme.integers(step.name).astype(np.float64)
        sums = convolve(centred(taken[step.name]), weight, step.stride, step.padding)
        bounds = () if step.linear else (0.0, six)
        settle(step.name, rescaled(step.name, sums, step.name), *bounds)
        for block in network.blocks:
            if block.residual and step is block.convolutions[-1]:
                name = f"blocks.{block.index}"
                first = block.shortcut.name if block.shortcut else taken[block.steps[0].name]
                ends = (first, block.project.name)
                one, other = (centred(end) * ranges[end].scale for end in ends)
                settle(name, (one + other) / ranges[name].scale)
    ratio = ranges["head"].scale / ranges["features"].scale
    settle("features", centred("head").mean((2, 3)) * ratio)
    sums = centred("features") @ scheme.integers("classifier").astype(np.float64).T
    settle("logits", rescaled("classifier", sums, "logits"))
    return found


def kernels(scheme: Scheme, x: NDArray, xnnpack: bool) -> dict[str, NDArray]:
    """Every tensor's uint8 integers in LiteRT, with XNNPACK or in its own reference kernels.

    Args:
        x: one picture.
    """
    kinds = interpreters.OpResolverType
    interpreter = interpreters.Interpreter(
        model_content=write_litert(scheme.quantised().with_intermediates()),
        experimental_op_resolver_type=kinds.AUTO if xnnpack else kinds.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    first = integers(scheme, x)["input"]
    taken = (first - 128).astype(np.int8).transpose(0, 2, 3, 1)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], taken)
    interpreter.invoke()
    found = {"input": first}
    for tensor in interpreter.get_output_details():
        values = interpreter.get_tensor(tensor["index"]).astype(np.float64) + 128
        found[tensor["name"]] = values.transpose(0, 3, 1, 2) if values.ndim == 4 else values
    return found


def run(
    scheme: Scheme, x: NDArray, output: Any = "logits", features: bool = False,
    unsigned: bool = False,
) -> NDArray:  # fmt: skip
    data = Form(features=features).litert(scheme.quantised(), unsigned)
    return litert(Artifact(scheme.config, "litert", data, "m")).run(x, output)


@pytest.mark.parametrize("xnnpack", [True, False])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("name", SPECS)
def test_every_layer_is_within_a_step_of_integer_arithmetic(
    name: str, per_channel: bool, xnnpack: bool
) -> None:
    scheme = scheme_of(SPECS[name], per_channel)
    for x in pictures(SPECS[name]):
        found = kernels(scheme, x[None], xnnpack)
        expected = integers(scheme, x[None], given=found)
        assert expected.keys() == found.keys() == scheme.ranges.keys()
        for tensor, values in found.items():
            away = np.abs(values - expected[tensor])
            assert away.max() <= 1, tensor
            # LiteRT's own kernels round twice, away from 0; XNNPACK differs in ties alone.
            assert not xnnpack or (away > 0).mean() < 0.01, tensor
            assert len(np.unique(values)) > 2, tensor  # not all at one end


@pytest.mark.parametrize("name", SPECS)
def test_it_is_the_onnx_file_of_the_same_scheme_and_near_the_float_network(name: str) -> None:
    # Seven bits: eight saturate in ONNX Runtime on processors without VNNI.
    spec, scheme = SPECS[name], dataclasses.replace(scheme_of(SPECS[name]), weight_bits=7)
    x = pictures(spec)
    found = run(scheme, x)
    same = create_engine(Artifact(scheme.config, "onnx", write_onnx(scheme.quantised()), "m")).run(
        x, "logits"
    )
    # A tie that falls to the other side in one addition may move a logit by some steps.
    assert np.abs(found - same).mean() <= scheme.ranges["logits"].scale
    network = plain.build(spec, dtype="float64")
    plain.load(network, random_arrays(spec))
    expected = network(x)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98


def test_a_changed_bias_changes_the_logits() -> None:
    """Two runtimes that agree to the bit would also agree if both ignored the scheme."""
    scheme = scheme_of(SPECS["symmetric"])
    weight, bias = scheme.folded["blocks.5.project"]
    folded = {**scheme.folded, "blocks.5.project": (weight, bias + 1)}
    x = pictures(SPECS["symmetric"])
    assert (run(scheme, x) != run(dataclasses.replace(scheme, folded=folded), x)).mean() > 0.2


def test_features_are_a_second_output_and_unsigned_ends_change_nothing() -> None:
    scheme = scheme_of(SPECS["symmetric"])
    x = pictures(SPECS["symmetric"])
    for output in ("logits", "features"):
        signed = run(scheme, x, output, features=True)
        np.testing.assert_array_equal(signed, run(scheme, x, output, True, unsigned=True))
        assert len(np.unique(signed)) > 4


def test_everything_is_an_integer_with_the_ranges_of_the_scheme(tmp_path: Path) -> None:
    import tflite

    scheme, path = scheme_of(SPECS["symmetric"]), tmp_path / "m.tflite"
    path.write_bytes(write_litert(scheme.quantised()))
    assert read_artifact(path).config == scheme.config
    graph = tflite.Model.GetRootAs(path.read_bytes(), 0).Subgraphs(0)
    described = {}
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        described[tensor.Name().decode()] = tensor
        assert tensor.Type() in (tflite.TensorType.INT8, tflite.TensorType.INT32)
    for name, given in scheme.ranges.items():
        record = described[name].Quantization()
        assert record.ScaleAsNumpy().tolist() == [given.scale]
        assert record.ZeroPointAsNumpy().tolist() == [given.zero_point - 128]
    layers = {step.name: step.role for step in resolve(scheme.config.spec).convolutions}
    for name, role in (layers | {"classifier": "classifier"}).items():
        record = described[f"{name}.weight"].Quantization()
        axis = 3 if role == "depthwise" else 0
        assert record.QuantizedDimension() == axis
        np.testing.assert_array_equal(record.ScaleAsNumpy(), scheme.weight_scales(name))
    padded = described["blocks.1.depthwise.padded"].Quantization()
    assert padded.ScaleAsNumpy() == scheme.ranges["blocks.1.expand"].scale


def test_the_full_network_has_these_operators_and_no_others(tmp_path: Path) -> None:
    base: Any = {"width": 1.0, "size": (64, 64), "classes": 7}
    wanted = {"CONV_2D": 35, "DEPTHWISE_CONV_2D": 17, "ADD": 10, "MEAN": 1, "FULLY_CONNECTED": 1}
    for spec, extra in (
        (NetworkSpec(numerics=Numerics("same", 1e-3), **base), {}),
        (NetworkSpec(**base), {"PAD": 5}),
    ):
        arrays = random_arrays(spec)
        ranges = dict.fromkeys(tensors(spec), Range(-3.0, 6.0))
        scheme = Scheme(ModelConfig.default(spec), fold(spec, arrays), ranges)
        for unsigned, ends in ((False, {}), (True, {"QUANTIZE": 2})):
            path = tmp_path / "m.tflite"
            path.write_bytes(write_litert(scheme.quantised(), unsigned=unsigned))
            operators = container.read_litert(path).operators
            kinds = [operator.kind for operator in operators]
            assert {kind: kinds.count(kind) for kind in kinds} == wanted | extra | ends
            assert sum(operator.activation == "RELU6" for operator in operators) == 35


def test_an_import_takes_it_back_as_what_its_integers_stand_for(tmp_path: Path) -> None:
    spec, scheme = SPECS["same, odd"], scheme_of(SPECS["same, odd"])
    path = tmp_path / "m.tflite"
    path.write_bytes(write_litert(scheme.quantised()))
    config, arrays = read_checkpoint(path)
    assert config.spec == spec
    for name, (weight, _) in fold(spec, arrays).items():
        scales = scheme.weight_scales(name).reshape(-1, *[1] * (weight.ndim - 1))
        np.testing.assert_allclose(weight, scheme.integers(name) * scales, rtol=1e-6)


def test_the_same_arguments_give_the_same_bytes() -> None:
    scheme = scheme_of(SPECS["small, grey"])
    assert write_litert(scheme.quantised()) == write_litert(scheme.quantised())


def test_pictures_of_black_and_white_reach_the_ends_of_the_input() -> None:
    spec = SPECS["symmetric"]
    scheme = scheme_of(spec)
    ends = np.zeros((2, *spec.size, 3), np.uint8)
    ends[1] = 255
    x = engine_input(ends, scheme.config.preprocessing)
    ranges = {**scheme.ranges, "input": Range(float(x.min()), float(x.max()))}
    found = integers(dataclasses.replace(scheme, ranges=ranges), x)["input"]
    assert found.min() == 0 and found.max() == 255


@pytest.mark.parametrize("unsigned", [False, True])
def test_integers_end_in_probabilities_of_256_steps(unsigned: bool, tmp_path: Path) -> None:
    scheme = scheme_of(SPECS["symmetric"])
    x, path = pictures(scheme.config.spec), tmp_path / "m.tflite"
    path.write_bytes(write_litert(scheme.quantised(), unsigned=unsigned, probabilities=True))
    engine = litert(read_artifact(path))
    found = engine.run(x, "probabilities")
    expected = softmax(run(scheme, x, unsigned=unsigned))
    assert np.abs(found - expected).max() <= 1.5 / 256 and found.std() > 0.01
    np.testing.assert_array_equal(engine.run(x, "logits").argmax(1), found.argmax(1))
    assert read_checkpoint(path)[0].spec == scheme.config.spec
