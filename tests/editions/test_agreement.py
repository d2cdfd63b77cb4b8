"""Networks that compute something else than their config and weights say."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mobilenetv2 as mn

OTHER = "this network computes something else than the MobileNetV2 of its config"


def activation(network: Any) -> None:
    network.stem.activation = nn.SiLU()


def bound(network: Any) -> None:
    network.stem.activation = nn.ReLU()


def stride(network: Any) -> None:
    network.stem.conv.stride = (2, 2)


def late_stride(network: Any) -> None:
    network.blocks[-1].depthwise.conv.stride = (2, 2)


def epsilon(network: Any) -> None:
    network.stem.bn.eps = 1


def hook(network: Any) -> None:
    network.head.register_forward_hook(lambda _module, _inputs, output: output * 1.1)


def shape(network: Any) -> None:
    network.register_forward_hook(lambda _module, _inputs, output: output[:, :2])


@pytest.mark.parametrize("change", [activation, bound, stride, late_stride, epsilon, hook, shape])
def test_another_function_is_neither_saved_nor_converted(change: Any, tmp_path: Path) -> None:
    network = mn.load("embedded")
    change(network)
    with pytest.raises(mn.MobileNetV2Error, match=OTHER):
        mn.save(network, tmp_path / "m")
    assert not (tmp_path / "m").exists()
    with pytest.raises(mn.MobileNetV2Error, match="Rescaling"):
        mn.convert(network, "numpy")


def test_a_fresh_network_is_compared_although_its_outputs_are_almost_0() -> None:
    network = mn.build(mn.NetworkSpec(width=0.35), seed=0)
    mn.convert(network, "numpy")
    activation(network)
    with pytest.raises(mn.MobileNetV2Error, match=OTHER):
        mn.convert(network, "numpy")


def test_a_network_that_fails_is_named() -> None:
    network: Any = mn.load("embedded")
    network.stem.conv.forward = None
    with pytest.raises(mn.MobileNetV2Error, match="this network fails on random images: 'NoneType"):
        mn.convert(network, "numpy")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_rounding_of_other_types_is_no_other_function(dtype: torch.dtype) -> None:
    mn.convert(mn.load("embedded").to(dtype), "numpy")
