"""Folded weights compute what the network with BatchNorm computes."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenetv2.editions import numpy as plain
from mobilenetv2.editions.numpy import operations
from mobilenetv2.errors import WeightsError
from mobilenetv2.model.arrays import Arrays, identity_batch_norm, random_arrays
from mobilenetv2.model.folding import Folded, fold
from mobilenetv2.spec.blocks import Convolution, resolve
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published


def run(spec: NetworkSpec, folded: Folded, x: NDArray) -> NDArray:
    """The network of convolutions and biases alone, in float64."""
    bound = {"relu6": operations.relu6, "relu": operations.relu}[spec.numerics.activation]

    def layer(step: Convolution, x: NDArray) -> NDArray:
        weight, bias = (array.astype(np.float64) for array in folded[step.name])
        depthwise = step.role == "depthwise"
        convolve = operations.depthwise_convolution if depthwise else operations.convolution
        y = convolve(x, weight, step.stride, step.padding) + bias[:, None, None]
        return y if step.linear else bound(y)

    network = resolve(spec)
    y = layer(network.stem, x)
    for block in network.blocks:
        before = y
        for step in block.steps:
            y = layer(step, y)
        if block.residual:
            y = y + (layer(block.shortcut, before) if block.shortcut else before)
    if network.head:
        y = layer(network.head, y)
    return operations.linear(operations.global_average_pool(y), *folded["classifier"])


@pytest.mark.parametrize("family", ["torchvision", "paper", "article-torch", "article-keras"])
def test_folded_and_unfolded_give_the_same_logits(family: str) -> None:
    spec = published(family, width=0.35, size=(65, 64), classes=7)
    arrays = random_arrays(spec)
    network = plain.build(spec, dtype=np.float64)
    plain.load(network, arrays)
    x = np.random.default_rng(3).normal(size=(2, 3, *spec.size))
    expected = network(x)
    assert 0.5 < expected.std() < 20
    found = run(spec, fold(spec, arrays), x)
    assert np.abs(found - expected).max() < 2e-6 * np.abs(expected).max()


def test_the_result_is_float32_in_order_and_the_arguments_stay() -> None:
    spec = published("article-torch", width=0.35, size=64, classes=7)
    arrays = random_arrays(spec)
    before = {name: array.copy() for name, array in arrays.items()}
    folded = fold(spec, arrays)
    assert [*folded] == [*(layer.name for layer in resolve(spec).convolutions), "classifier"]
    assert all(array.dtype == np.float32 for pair in folded.values() for array in pair)
    assert all(np.array_equal(arrays[name], before[name]) for name in before)


@pytest.mark.parametrize("epsilon", [1e-5, 1e-3, 0.01])
def test_an_identity_that_carries_the_bias_folds_back_to_the_same_bits(epsilon: float) -> None:
    spec = published("torchvision", width=0.35, size=64, classes=7)
    spec = spec.replace(numerics=type(spec.numerics)(epsilon=epsilon))
    once = fold(spec, random_arrays(spec))
    arrays: Arrays = {}
    for name, (weight, bias) in once.items():
        if name == "classifier":
            arrays |= {"classifier.weight": weight, "classifier.bias": bias}
            continue
        arrays[f"{name}.conv.weight"] = weight
        arrays |= identity_batch_norm(name, bias, epsilon)
    twice = fold(spec, arrays)
    for name, pair in once.items():
        for one, other in zip(pair, twice[name], strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


def test_arrays_of_another_network_are_refused() -> None:
    spec = published("torchvision", width=0.35, size=64, classes=7)
    with pytest.raises(WeightsError, match=r"weights to fold: .*classifier\.weight"):
        fold(spec, random_arrays(spec.replace(classes=8)))
