"""Pictures in, numbers out: the same normalisation as everywhere, the same logits in any batch."""

import numpy as np
import pytest
import torch

from mobilenetv2.editions.torch import MobileNetV2, load
from mobilenetv2.editions.torch.inference import check_device, normalise, predictor
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.images.normalise import engine_input as normalise_numpy
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import PUBLISHED

SPEC = NetworkSpec(width=0.1, size=(32, 40), classes=3, head_channels=16)
PICTURES = np.random.default_rng(0).integers(0, 256, (5, 32, 40, 3), np.uint8)


@pytest.fixture
def network() -> MobileNetV2:
    made = MobileNetV2(SPEC)
    load(made, random_arrays(SPEC))
    return made


@pytest.mark.parametrize("name", ["torchvision", "keras", "tf-slim"])
def test_normalised_pictures_are_those_of_numpy_bit_for_bit(name: str) -> None:
    record = PUBLISHED[name].preprocessing
    x = normalise(PICTURES, record, torch.device("cpu"))
    np.testing.assert_array_equal(x.numpy(), normalise_numpy(PICTURES, record))
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_a_predictor_gives_the_networks_logits_or_features(network: MobileNetV2) -> None:
    x = torch.from_numpy(normalise_numpy(PICTURES, network.config.preprocessing))
    network.eval()
    with torch.no_grad():
        expected = {"logits": network(x), "features": network.features(x)}
    for outputs, values in expected.items():
        found = predictor(network, outputs=outputs)(PICTURES)  # type: ignore[arg-type]
        assert found.dtype == np.float32
        assert found.shape == tuple(values.shape)
        np.testing.assert_allclose(found, values.numpy(), rtol=1e-4, atol=1e-5)


def test_the_batch_does_not_matter_nor_that_the_network_was_in_training(
    network: MobileNetV2,
) -> None:
    network.train()
    predict = predictor(network)
    whole = predict(PICTURES)
    network.train()
    single = np.concatenate([predict(PICTURES[i : i + 1]) for i in range(len(PICTURES))])
    np.testing.assert_allclose(single, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["cuda:99", "toaster"])
def test_a_device_that_is_not_there_is_an_error_that_names_it(name: str) -> None:
    assert check_device("cpu") == "cpu"
    with pytest.raises(MobileNetV2Error, match=f"--device {name}: PyTorch cannot use it here"):
        check_device(name)
