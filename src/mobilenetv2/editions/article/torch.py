"""The article's PyTorch implementation, with its names of functions.

It differs from the paper as follows. The cost is for width 1.0, 224 pixels and 1000 classes
(:data:`PARAMETERS`, :data:`MULTIPLY_ADDS`; the paper has 3,504,872 and 300,774,272):

* Every stride-1 block has a shortcut, also where channels differ, and the shortcut is a projection:
  a 1x1 convolution with BatchNorm. The paper adds the input itself, and only where channels are
  equal. The projections cost 144,848 parameters and 22,077,440 multiply-adds.
* The first block has an expansion convolution although it does not expand: 1,088 parameters and
  12,845,056 multiply-adds more.
* Convolutions have a bias, which the BatchNorm behind them subtracts again: 18,312 parameters
  without effect.

Its spec is ``published("article-torch")``.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilenetv2.editions.article import TABLE
from mobilenetv2.model.arrays import Arrays, check_arrays
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published

PARAMETERS, MULTIPLY_ADDS = 3_669_120, 335_696_768


def Conv3x3BNReLU(in_channels: int, out_channels: int, stride: int, groups: int) -> nn.Sequential:
    """Return a 3x3 convolution with a bias and one pixel of padding, BatchNorm and ReLU6.

    The output of (batch, in, height, width) is (batch, out, ceil(height / stride), ...).
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, groups=groups),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(inplace=True),
    )


def Conv1x1BNReLU(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return the expansion: a 1x1 convolution with a bias, BatchNorm and ReLU6."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(inplace=True),
    )


def Conv1x1BN(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return the linear bottleneck: a 1x1 convolution with a bias and BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1),
        nn.BatchNorm2d(out_channels),
    )


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, linear projection; at stride 1, a projection shortcut."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, expansion_factor: int = 6
    ) -> None:
        super().__init__()
        self.stride = stride
        mid_channels = in_channels * expansion_factor
        self.bottleneck = nn.Sequential(
            Conv1x1BNReLU(in_channels, mid_channels),
            Conv3x3BNReLU(mid_channels, mid_channels, stride, groups=mid_channels),
            Conv1x1BN(mid_channels, out_channels),
        )
        if stride == 1:
            self.shortcut = Conv1x1BN(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, out, ceil(height / stride), ...) for (batch, in, height, width)."""
        out: Tensor = self.bottleneck(x)
        return out + self.shortcut(x) if self.stride == 1 else out


class MobileNetV2(nn.Module):
    """Network of the article's blocks in the paper's table.

    Pooling is global: a window of 7 x 7 would fit images of 224 pixels only.
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.first_conv = Conv3x3BNReLU(3, 32, 2, groups=1)
        channels = 32
        for number, (t, c, n, s) in enumerate(TABLE, 1):
            self.add_module(f"layer{number}", self.make_layer(channels, c, s, n, t))
            channels = c
        self.last_conv = Conv1x1BNReLU(channels, 1280)
        self.dropout = nn.Dropout(0.2)
        self.linear = nn.Linear(1280, num_classes)

    def make_layer(
        self, in_channels: int, out_channels: int, stride: int, block_num: int, factor: int
    ) -> nn.Sequential:
        """Return the blocks of a row of the table: the first has the stride, the others 1."""
        return nn.Sequential(
            *(
                InvertedResidual(
                    out_channels if index else in_channels,
                    out_channels,
                    1 if index else stride,
                    factor,
                )
                for index in range(block_num)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (batch, classes) of normalised images (batch, 3, height, width)."""
        x = self.first_conv(x)
        for number in range(1, len(TABLE) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        x = functional.adaptive_avg_pool2d(self.last_conv(x), 1).flatten(1)
        logits: Tensor = self.linear(self.dropout(x))
        return logits

    @property
    def spec(self) -> NetworkSpec:
        """Spec of the network."""
        return published("article-torch", classes=self.linear.out_features)


PARTS = {
    "conv.weight": "0.weight", "conv.bias": "0.bias", "bn.scale": "1.weight", "bn.shift": "1.bias",
    "bn.mean": "1.running_mean", "bn.variance": "1.running_var",
}  # fmt: skip
"""Canonical part of a layer to its name in nn.Sequential."""
PLACES = {
    "expand": "bottleneck.0", "depthwise": "bottleneck.1", "project": "bottleneck.2",
    "shortcut": "shortcut",
}  # fmt: skip


def key(name: str) -> str:
    """Return the article's name of a canonical tensor.

    >>> key("blocks.2.expand.bn.mean"), key("stem.conv.bias"), key("classifier.weight")
    ('layer2.1.bottleneck.0.1.running_mean', 'first_conv.0.bias', 'linear.weight')
    """
    owner, _, part = name.partition(".")
    if owner == "classifier":
        return f"linear.{part}"
    if owner in ("stem", "head"):
        return f"{'first_conv' if owner == 'stem' else 'last_conv'}.{PARTS[part]}"
    index, place, part = part.split(".", 2)
    number, first = 1, int(index)
    while first >= TABLE[number - 1][2]:
        first -= TABLE[number - 1][2]
        number += 1
    return f"layer{number}.{first}.{PLACES[place]}.{PARTS[part]}"


def load(network: MobileNetV2, arrays: Arrays, where: str = "weights") -> None:
    """Copy canonical arrays into the article's network in place.

    Raises:
        WeightsError: names or shapes of the arrays differ; the message lists every difference.
    """
    check_arrays(network.spec, arrays, where)
    state = network.state_dict()
    with torch.no_grad():
        for name, array in arrays.items():
            state[key(name)].copy_(torch.tensor(np.asarray(array)))


def dump(network: MobileNetV2) -> Arrays:
    """Return copies of the weights as canonical float32 arrays."""
    state = network.state_dict()
    return {
        name: state[key(name)].detach().to("cpu", torch.float32).numpy().copy()
        for name in parameter_shapes(network.spec)
    }
