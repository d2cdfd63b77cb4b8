"""The article's PyTorch version, function for function and name for name.

Where it departs from the paper, and what that costs at width 1.0, 224 pixels and 1000 classes
(:data:`PARAMETERS`, :data:`MULTIPLY_ADDS` against the paper's 3,504,872 and 300,774,272):

* Every stride-1 block has a shortcut, also where channels differ, and the shortcut is a projection:
  a 1x1 convolution with BatchNorm. The paper adds the input itself, and only where channels are
  equal. That is 144,848 parameters and 22,077,440 multiply-adds more.
* The first block has an expansion convolution although it does not expand: 1,088 parameters and
  12,845,056 multiply-adds more.
* Convolutions keep a bias, which the BatchNorm behind them takes off again: 18,312 parameters
  that training cannot use.

As a spec: ``published("article-torch")``.
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
    """3x3 convolution with a bias and one pixel of padding, BatchNorm, ReLU6.

    (batch, in, height, width) -> (batch, out, ceil(height / stride), ceil(width / stride)).
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, groups=groups),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(inplace=True),
    )


def Conv1x1BNReLU(in_channels: int, out_channels: int) -> nn.Sequential:
    """1x1 convolution with a bias, BatchNorm, ReLU6: the expansion."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(inplace=True),
    )


def Conv1x1BN(in_channels: int, out_channels: int) -> nn.Sequential:
    """1x1 convolution with a bias, BatchNorm, and no activation: the linear bottleneck."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1),
        nn.BatchNorm2d(out_channels),
    )


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, linear projection; at stride 1 a projection shortcut."""

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
        """(batch, in, height, width) -> (batch, out, ceil(height / stride), ...)."""
        out: Tensor = self.bottleneck(x)
        return out + self.shortcut(x) if self.stride == 1 else out


class MobileNetV2(nn.Module):
    """The article's blocks in the paper's table.

    Pooling is global: a window of 7 x 7 pixels would fit pictures of 224 pixels only.
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
        """A row of the table: the first block has the stride, the others 1."""
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
        """(batch, 3, height, width), normalised -> logits (batch, classes)."""
        x = self.first_conv(x)
        for number in range(1, len(TABLE) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        x = functional.adaptive_avg_pool2d(self.last_conv(x), 1).flatten(1)
        logits: Tensor = self.linear(self.dropout(x))
        return logits

    @property
    def spec(self) -> NetworkSpec:
        """The same network as a spec."""
        return published("article-torch", classes=self.linear.out_features)


PARTS = {
    "conv.weight": "0.weight", "conv.bias": "0.bias", "bn.scale": "1.weight", "bn.shift": "1.bias",
    "bn.mean": "1.running_mean", "bn.variance": "1.running_var",
}  # fmt: skip
"""Canonical -> what nn.Sequential calls it. All of it holds for ``InvertedResidual`` too."""
PLACES = {
    "expand": "bottleneck.0", "depthwise": "bottleneck.1", "project": "bottleneck.2",
    "shortcut": "shortcut",
}  # fmt: skip


def key(name: str) -> str:
    """The article's name of a canonical tensor.

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
    """Copy canonical arrays into the article's network, in place.

    Raises:
        WeightsError: the arrays are not exactly the network's, with the whole difference.
    """
    check_arrays(network.spec, arrays, where)
    state = network.state_dict()
    with torch.no_grad():
        for name, array in arrays.items():
            state[key(name)].copy_(torch.tensor(np.asarray(array)))


def dump(network: MobileNetV2) -> Arrays:
    """The article's network's weights as canonical float32 arrays: copies."""
    state = network.state_dict()
    return {
        name: state[key(name)].detach().to("cpu", torch.float32).numpy().copy()
        for name in parameter_shapes(network.spec)
    }
