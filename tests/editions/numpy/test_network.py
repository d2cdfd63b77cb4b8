"""The plain reference: options, sizes and errors. Its numbers are every other edition's test."""

import numpy as np
import pytest
import torch
from heads import BLOCKS

from mobilenetv2.editions import torch as edition
from mobilenetv2.editions.numpy import MobileNetV2, dump, intermediates, load, predictor
from mobilenetv2.errors import MobileNetV2Error, SpecError, WeightsError
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.initialisation import initialise
from mobilenetv2.spec.names import intermediate_names, parameter_shapes
from mobilenetv2.spec.network import NetworkSpec

SPEC = NetworkSpec(width=0.1, size=(40, 33), classes=5, head_channels=24)


def test_it_starts_as_every_edition_does_and_keeps_arrays_as_they_are() -> None:
    network = MobileNetV2(SPEC, "paper", seed=3)
    expected = initialise(parameter_shapes(SPEC), "paper", 3)
    assert all(np.array_equal(dump(network)[name], array) for name, array in expected.items())
    arrays = random_arrays(SPEC)
    load(network, arrays)
    found = dump(network)
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())
    assert not any(np.shares_memory(found[name], arrays[name]) for name in arrays)
    with pytest.raises(WeightsError, match=r"mine: .*classifier.bias"):
        load(network, {k: v for k, v in arrays.items() if k != "classifier.bias"}, "mine")


def test_float64_is_float64_throughout_and_float32_is_close_to_it() -> None:
    arrays, x = random_arrays(SPEC), np.random.default_rng(0).normal(size=(2, 3, 40, 33))
    found = {}
    for dtype in (np.float32, np.float64):
        network = MobileNetV2(SPEC, dtype=dtype)
        load(network, arrays)
        found[dtype] = network.intermediates(x)
        assert {value.dtype for value in found[dtype].values()} == {np.dtype(dtype)}
    for name, value in found[np.float64].items():
        scale = max(1, np.abs(value).max())
        assert np.abs(found[np.float32][name] - value).max() <= 1e-4 * scale, name
    assert tuple(found[np.float64]) == intermediate_names(SPEC)
    with pytest.raises(SpecError, match="float16'> must be 'float32' or 'float64'"):
        MobileNetV2(SPEC, dtype=np.float16)


def test_it_takes_any_size_and_pictures_as_they_come() -> None:
    network = MobileNetV2(SPEC)
    load(network, random_arrays(SPEC))
    pictures = np.random.default_rng(0).integers(0, 256, (2, 71, 64, 3), np.uint8)
    record = network.config.preprocessing
    mean, std = (np.array(values, np.float32) for values in (record.mean, record.std))
    x = (pictures.astype(np.float32) - mean) / std
    found = intermediates(network, x)
    assert found["stem"].shape == (2, 36, 32, 8)
    assert found["blocks.16"].shape == (2, 3, 2, 32)
    expected = network(x.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(predictor(network)(pictures), expected)
    features = network.pooled_features(x.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(predictor(network, outputs="features")(pictures), features)
    with pytest.raises(MobileNetV2Error, match=r"device=.cuda.: NumPy computes on the CPU only"):
        predictor(network, "cuda")


@pytest.mark.parametrize("kind", BLOCKS)
def test_other_blocks_are_the_torch_editions(kind: str) -> None:
    spec = BLOCKS[kind]
    arrays = random_arrays(spec)
    x = np.random.default_rng(0).normal(size=(2, 3, *spec.size))
    reference = MobileNetV2(spec, dtype="float64")
    network = edition.build(spec, dtype="float64")
    load(reference, arrays)
    edition.load(network, arrays)
    with torch.no_grad():
        wanted = network.eval().intermediates(torch.from_numpy(x))
    found = reference.intermediates(x)
    assert list(found) == list(wanted) == list(intermediate_names(spec))
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values.numpy(), rtol=1e-9, atol=1e-9)
