"""Corrected biases: the means of a layer with rounded weights are those of the float layer."""

import dataclasses

import numpy as np
import pytest
from graph_forms import sources, tensors
from numpy.typing import NDArray

from mobilenetv2.editions.numpy import operations
from mobilenetv2.graph.lowering import lower_folded
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import Folded, fold
from mobilenetv2.quantization.calibration import observe
from mobilenetv2.quantization.post_training import correct_biases, inside, shift
from mobilenetv2.quantization.scheme import Range, Scheme
from mobilenetv2.spec.blocks import padding, resolve
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.records import ModelConfig

SPECS = {
    "same, odd": NetworkSpec(width=0.1, size=(65, 48), classes=5, numerics=Numerics("same", 1e-3)),
    "symmetric": NetworkSpec(width=0.1, size=(64, 64), classes=5),
}


def scheme_of(spec: NetworkSpec) -> Scheme:
    """One scale a weight, so that the errors are large; the ranges play no part."""
    ranges = dict.fromkeys(tensors(spec), Range(0.0, 6.0))
    folded = fold(spec, random_arrays(spec))
    return Scheme(ModelConfig.default(spec), folded, ranges, per_channel=False)


def pictures(spec: NetworkSpec) -> NDArray:
    return np.random.default_rng(0).integers(0, 256, (6, *spec.size, 3), np.uint8)


def rounded(scheme: Scheme, biases: Folded, names: set[str]) -> Folded:
    """The float network with some layers' weights as their integers say."""
    found = dict(scheme.folded)
    for name in names:
        weight = scheme.integers(name) * scheme.weight_scales(name)[0]
        found[name] = (weight.astype(np.float32), biases[name][1])
    return found


@pytest.mark.parametrize("name", ["blocks.0.project", "blocks.7.project", "classifier"])
def test_a_linear_layers_mean_is_restored(name: str) -> None:
    scheme = scheme_of(SPECS["same, odd"])
    config, pixels = scheme.config, pictures(scheme.config.spec)
    seen = observe(lower_folded(config, scheme.folded), pixels)
    tensor = "logits" if name == "classifier" else name

    def distance(biases: Folded) -> float:
        found = observe(lower_folded(config, rounded(scheme, biases, {name})), pixels)
        return float(np.abs(found[tensor].mean - seen[tensor].mean).max())

    before, after = distance(scheme.folded), distance(correct_biases(scheme, seen))
    assert before > 1e-3
    assert after < 1e-3 * before + 1e-5


@pytest.mark.parametrize("name", SPECS)
def test_the_shift_of_a_spatial_layer_is_that_of_its_error_on_a_flat_picture(name: str) -> None:
    scheme = scheme_of(SPECS[name])
    layers = {layer.name: layer for layer in resolve(SPECS[name]).convolutions}
    for layer in (layers["stem"], layers["blocks.1.depthwise"], layers["blocks.13.depthwise"]):
        mean = np.random.default_rng(1).normal(size=layer.in_channels)
        weight = scheme.folded[layer.name][0].astype(np.float64)
        error = scheme.integers(layer.name) * scheme.weight_scales(layer.name)[0] - weight
        flat = np.broadcast_to(mean[None, :, None, None], (1, layer.in_channels, *layer.in_size))
        depthwise = layer.role == "depthwise"
        convolve = operations.depthwise_convolution if depthwise else operations.convolution
        expected = convolve(flat, error, layer.stride, layer.padding).mean((0, 2, 3))
        (lowered,) = (op for op in scheme.graph.layers() if op.name == layer.name)
        found = shift(scheme, scheme.graph, lowered, mean)
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("rule", ["same", "symmetric"])
@pytest.mark.parametrize(("side", "stride"), [(7, 1), (7, 2), (8, 2), (1, 1)])
def test_inside_counts_the_taps_that_are_on_the_picture(side: int, stride: int, rule: str) -> None:
    before, after = padding(rule, side, 3, stride)
    out = (side + before + after - 3) // stride + 1
    padded = np.pad(np.ones(side), (before, after))
    expected = [padded[tap : tap + out * stride : stride][:out].mean() for tap in range(3)]
    np.testing.assert_allclose(inside(side, out, 3, stride, before), expected)


def test_the_whole_networks_logits_move_back() -> None:
    scheme = scheme_of(SPECS["symmetric"])
    # Channels of different loudness, as folding leaves them: one scale hardly tells the quiet.
    random = np.random.default_rng(2)
    folded = {
        name: (weight * np.exp(random.uniform(-3, 0, len(bias))).astype(np.float32).reshape(
            -1, *[1] * (weight.ndim - 1)), bias)
        for name, (weight, bias) in scheme.folded.items()
    }  # fmt: skip
    scheme = dataclasses.replace(scheme, folded=folded)
    config, pixels = scheme.config, pictures(scheme.config.spec)
    seen = observe(lower_folded(config, folded), pixels)

    def distance(biases: Folded) -> float:
        found = observe(
            lower_folded(config, rounded(scheme, biases, set(sources(config.spec)))), pixels
        )
        return float(np.abs(found["logits"].mean - seen["logits"].mean).mean())

    assert distance(correct_biases(scheme, seen)) < 0.5 * distance(folded)
