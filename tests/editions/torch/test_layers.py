"""Layers of the PyTorch edition by themselves; test_network has them together."""

import pytest
import torch

from mobilenetv2.editions.torch.layers import ConvBN, HiddenLayer
from mobilenetv2.spec.blocks import Linear, resolve
from mobilenetv2.spec.network import NetworkSpec, Numerics


@pytest.mark.parametrize("side", [32, 33])
def test_same_padding_at_stride_2_follows_the_size_that_comes(side: int) -> None:
    spec = NetworkSpec(width=0.1, size=(32, 32), numerics=Numerics("same", 1e-3))
    layer = ConvBN(resolve(spec).stem, spec.numerics).eval()
    x = torch.zeros(1, 3, side, side)
    x[..., 0, 0] = 1
    y = layer.conv(torch.nn.functional.pad(x, (side % 2, 1) * 2))
    torch.testing.assert_close(layer(x), layer.activation(layer.bn(y)))
    assert layer(x).shape[-1] == -(-side // 2)


def test_a_hidden_layer_is_activated_and_then_drops() -> None:
    layer = HiddenLayer(Linear("hidden.0", 3, 4, True, "relu6", 0.5)).eval()
    x = torch.full((1, 3), 50.0)
    expected = torch.nn.functional.linear(x, layer.weight, layer.bias).clamp(0, 6)
    torch.testing.assert_close(layer(x), expected)
    assert layer.dropout.p == 0.5
