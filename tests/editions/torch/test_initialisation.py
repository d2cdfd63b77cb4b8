"""Both ways to start, by the figures that their owners' code gives."""

import math

import pytest
import torch
from torch import nn

from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.editions.torch.initialisation import initialise
from mobilenetv2.errors import SpecError
from mobilenetv2.spec.network import NetworkSpec

SPEC = NetworkSpec(width=0.5, conv_bias=True)


def network(name: str) -> MobileNetV2:
    torch.manual_seed(0)
    made = MobileNetV2(SPEC)
    for parameter in made.parameters():
        nn.init.constant_(parameter, 7.0)
    made.get_buffer("stem.bn.running_mean").fill_(7.0)
    initialise(made, name)  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize("name", ["torchvision", "paper"])
def test_batch_norms_are_identities_and_biases_zero(name: str) -> None:
    start = {"bn.weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}
    checked = 0
    for key, tensor in network(name).state_dict().items():
        for end, value in start.items():
            if key.endswith(end):
                assert tensor.eq(value).all(), key
                checked += 1
    assert checked == 52 * 5 + 1  # each convolution has a bias too, and so has the classifier


def test_torchvisions_spread_is_he_by_fan_out() -> None:
    made = network("torchvision")
    for layer, fan_out in (
        ("head", 1280),
        ("blocks.5.expand", 96),
        # PyTorch counts a depthwise kernel's fan-out as all channels, as torchvision does.
        ("blocks.16.depthwise", 480 * 9),
    ):
        weight = made.get_parameter(f"{layer}.conv.weight")
        assert weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)
    assert made.classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)


def test_the_papers_spread_is_a_normal_cut_at_two_deviations() -> None:
    made = network("paper")
    for name in ("head.conv.weight", "blocks.5.expand.conv.weight", "classifier.weight"):
        weight = made.get_parameter(name)
        # What is left of a normal between -2 and 2 has a deviation of 0.8796.
        assert weight.std().item() == pytest.approx(0.09 * 0.8796, rel=0.02)
        assert weight.abs().max() <= 0.18


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(SpecError, match="'keras' is unknown; known are: torchvision, paper"):
        MobileNetV2(SPEC, "keras")  # type: ignore[arg-type]
