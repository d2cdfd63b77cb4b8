"""Tensors of the PyTorch edition by their canonical names."""

import numpy as np
import torch
from torch import nn

from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.editions.torch.weights import assign, dump, tensors
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec

SPEC = NetworkSpec(width=0.1, size=(32, 32), classes=5, head_channels=24)


def test_the_tensors_are_the_networks_own_under_canonical_names() -> None:
    network = MobileNetV2(SPEC, seed=0)
    found = tensors(network)
    assert {name: tuple(t.shape) for name, t in found.items()} == parameter_shapes(SPEC)
    found["head.bn.mean"].fill_(3)
    assert network.head is not None and network.head.bn.running_mean is not None
    assert (network.head.bn.running_mean == 3).all() and (dump(network)["head.bn.mean"] == 3).all()


def test_arrays_go_into_a_classifier_that_was_put_in() -> None:
    network = MobileNetV2(SPEC, seed=0)
    network.classifier = nn.Sequential(nn.Linear(24, 6), nn.ReLU(), nn.Linear(6, 2, bias=False))
    assign(network, {"hidden.0.bias": np.arange(6.0), "classifier.weight": np.ones((2, 6))})
    assert torch.equal(network.classifier[0].bias, torch.arange(6.0))
    assert (dump(network, "float64")["classifier.weight"] == 1).all()
    assert "classifier.bias" not in dump(network)
