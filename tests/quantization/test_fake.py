"""The network that is trained against the integers that are written."""

import dataclasses
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from short import short

from mobilenetv2.graph.graph import Normalise
from mobilenetv2.graph.lowering import lower_folded
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.graph.torch import GraphModule
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.quantization.scheme import Range, Scheme
from mobilenetv2.quantization.training import FakeQuantised
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

TINY: Any = {"width": 0.1, "classes": 5}
SPECS = {
    "same, odd": NetworkSpec(size=(65, 48), numerics=Numerics("same", 1e-3), **TINY),
    "small, grey": published("small", input_channels=1, **TINY),
    # Last bits, which depend on the processor, round to another integer here and there; in all 17
    # blocks of this one such differences add up to more than the test allows.
    "article": short(published("article-torch", size=64, **TINY)),
}


def case(spec: NetworkSpec, **changes: Any) -> tuple[Scheme, NDArray]:
    """A scheme of the extremes of some pictures, and these, normalised."""
    config, folded = ModelConfig.default(spec), fold(spec, random_arrays(spec))
    shape = (4, *spec.size, spec.input_channels)
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    x = engine_input(pictures, config.preprocessing)
    graph = lower_folded(config, folded)
    network, values = GraphModule(graph), {"input": torch.from_numpy(x)}
    for operation in graph.operations:
        assert not isinstance(operation, Normalise)
        given = (values[name] for name in operation.inputs)
        values[operation.output] = network.compute(operation, *given)
    ranges = {name: Range(float(y.min()), float(y.max())) for name, y in values.items()}
    return dataclasses.replace(Scheme(config, folded, ranges), **changes), x


def written(scheme: Scheme, x: NDArray) -> NDArray:
    """What the ONNX file of the scheme computes, operator by operator."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(write_onnx(scheme.quantised()), options)
    return np.asarray(session.run(["logits"], {"input": x})[0])


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("changes", [{}, {"per_channel": False}, {"weight_bits": 7}])
def test_it_computes_what_the_written_file_computes(name: str, changes: dict[str, Any]) -> None:
    scheme, x = case(SPECS[name], **changes)
    found = FakeQuantised(scheme)(torch.from_numpy(x)).detach().numpy()
    expected = written(scheme, x)
    step = scheme.ranges["logits"].scale
    assert np.abs(found - expected).max() <= 3.1 * step
    assert np.abs(found - expected).mean() <= 0.5 * step
    # Every answer is one that the integers can give, and is not the float network's.
    integers = found / step
    assert np.abs(integers - np.rint(integers)).max() < 1e-3
    plain = GraphModule(lower_folded(scheme.config, scheme.folded))(torch.from_numpy(x)).numpy()
    assert np.abs(plain - expected).max() > step
    assert expected.std() > 0.3


@pytest.mark.parametrize("changes", [{}, {"per_channel": False}, {"weight_bits": 7}])
def test_weights_and_biases_are_those_of_the_schemes_integers(changes: dict[str, Any]) -> None:
    scheme, _ = case(SPECS["same, odd"], **changes)
    network = FakeQuantised(scheme)
    for layer in scheme.graph.layers():
        name, given = layer.name, scheme.ranges[layer.input]
        weight, bias = (part.detach().numpy() for part in network.rounded(layer))
        scales = scheme.weight_scales(name)
        integers = scheme.integers(name).astype(np.float32)
        wanted = integers * scales.reshape(-1, *[1] * (integers.ndim - 1))
        # A weight in the middle between two integers may go either way.
        apart = np.abs(weight - wanted) > 1e-5 * np.abs(wanted).max()
        assert apart.mean() < 0.01
        real = scheme.bias_integers(name) * scales.astype(np.float64) * given.scale
        np.testing.assert_allclose(bias, real, rtol=1e-4, atol=2 * scales.max() * given.scale)


def test_what_it_starts_from_is_what_it_gives() -> None:
    scheme, _ = case(SPECS["same, odd"])
    found = FakeQuantised(scheme).folded()
    assert found.keys() == scheme.folded.keys()
    for name, (weight, bias) in scheme.folded.items():
        np.testing.assert_allclose(found[name][0], weight, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(found[name][1], bias, rtol=1e-6, atol=1e-9)


def test_gradients_go_through_the_rounding_to_every_weight() -> None:
    scheme, x = case(SPECS["small, grey"])
    network = FakeQuantised(scheme)
    network(torch.from_numpy(x)).square().sum().backward()
    parameters = dict(network.named_parameters())
    assert len(parameters) == 2 * len(scheme.folded)
    for name, parameter in parameters.items():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name
        if name.endswith("weight"):  # shares of each channel's largest
            peaks = parameter.detach().abs().flatten(1).amax(1)
            torch.testing.assert_close(peaks, torch.ones_like(peaks))
