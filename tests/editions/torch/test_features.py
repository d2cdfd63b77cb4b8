"""The PyTorch edition's body as torchvision's ``features``, and photos as its tensors."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mobilenetv2.editions.torch import MobileNetV2, features_only, load
from mobilenetv2.editions.torch.network import normalise
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published

SPEC = NetworkSpec(width=0.1, size=(32, 32), classes=5, head_channels=24)


@pytest.fixture
def network() -> MobileNetV2:
    network = MobileNetV2(SPEC, seed=0)
    load(network, random_arrays(SPEC))
    return network.eval()


def pictures() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 32, 32))).float()


def test_the_body_is_a_module_of_the_networks_own_modules(network: Any) -> None:
    features = network.features
    assert len(features) == 19 and features[0] is network.stem and features[-1] is network.head
    assert network.features is features  # what is set on it stays
    torch.testing.assert_close(features(pictures()), network.forward_features(pictures()))
    for parameter in features.parameters():
        parameter.requires_grad = False
    trained = [name for name, p in network.named_parameters() if p.requires_grad]
    assert trained == ["classifier.weight", "classifier.bias"]
    assert len(network.features[:14]) == 14 and not features.training
    assert not any("features" in name for name in network.state_dict())
    assert not any("features" in name for name, _ in network.named_modules())


def test_it_follows_modules_that_are_replaced(network: Any) -> None:
    network.blocks[3] = nn.Identity()
    assert isinstance(network.features[4], nn.Identity)
    again = copy.deepcopy(network)
    assert again.features[0] is again.stem is not network.stem
    with pytest.raises(TypeError, match="features"):
        network.features[0] = nn.Identity()
    with pytest.raises(TypeError, match="features"):
        del network.features[0]
    with pytest.raises(AttributeError, match=r"replace network\.stem"):
        network.features = nn.Identity()


def test_hooks_on_it_see_the_pictures_and_the_last_map(network: Any) -> None:
    seen: dict[str, Any] = {}
    handles = [
        network.features.register_forward_pre_hook(lambda m, x: seen.update(x=x[0])),
        network.features.register_forward_hook(lambda m, x, y: seen.update(y=y)),
        network.features.register_full_backward_hook(lambda m, x, y: seen.update(g=y[0])),
    ]
    torch.autograd.backward(network(pictures()).sum())
    assert torch.equal(seen["x"], pictures()) and seen["g"].shape == seen["y"].shape
    torch.testing.assert_close(seen["y"], network.forward_features(pictures()))
    for handle in handles:
        handle.remove()


def test_a_network_without_a_head_ends_with_its_last_block() -> None:
    network = MobileNetV2(published("mobilenet-v1", width=0.25, size=64, classes=5), seed=0)
    assert network.features[-1] is network.blocks[-1]
    assert network.forward_features(torch.zeros(1, 3, 64, 64)).shape == (1, 256, 2, 2)


def test_a_backbone_names_its_tensors_as_the_network_does(network: MobileNetV2) -> None:
    backbone = features_only(network, (1, 3))
    assert backbone.state_dict().keys() <= network.state_dict().keys()
    assert not backbone.training
    maps = backbone(pictures())
    assert isinstance(maps, list) and [tuple(m.shape[2:]) for m in maps] == [(8, 8), (2, 2)]


def test_the_transform_gives_the_numbers_of_the_library(network: MobileNetV2, photos: Path) -> None:
    photo = sorted(photos.rglob("*.jpg"))[0]
    record = network.config.preprocessing
    expected = normalise(np.array([preprocess(read_photo(photo), record)]), record)[0]
    found = network.transform(photo)
    assert found.dtype == torch.float32 and found.is_contiguous()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert network.transform() == network.transform


def test_layers_are_indexed_as_torchvisions() -> None:
    network = MobileNetV2(NetworkSpec(width=0.35, size=(64, 64)))
    stem: Any = network.features[0]
    assert [*stem] == [stem.conv, stem.bn, stem.activation] and len(stem) == 3
    assert network.feature_info.channels() == [8, 8, 16, 32, 112]
