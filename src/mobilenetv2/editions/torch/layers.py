"""Layers and blocks of the PyTorch edition; module names are the canonical parameter names."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilenetv2.spec.blocks import Block as BlockRecord
from mobilenetv2.spec.blocks import Convolution, Linear
from mobilenetv2.spec.network import BlockKind, Numerics

ACTIVATIONS: dict[str, type[nn.ReLU6] | type[nn.ReLU]] = {"relu6": nn.ReLU6, "relu": nn.ReLU}


POOLS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "average": functional.adaptive_avg_pool2d,
    "max": functional.adaptive_max_pool2d,
}


class BatchNorm(nn.BatchNorm2d):
    """PyTorch's BatchNorm2d, without Bessel's correction where the spec's numerics say so.

    Parameters and their names are those of PyTorch.
    """

    def __init__(self, channels: int, numerics: Numerics) -> None:
        super().__init__(channels, eps=numerics.epsilon, momentum=numerics.update_rate)
        self.biased = numerics.running_variance == "biased"

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (batch, channels, height, width)."""
        if not (self.biased and self.training):
            return super().forward(x)
        assert self.running_var is not None and self.momentum is not None
        # A copy, since autograd keeps the tensor and it must not change afterwards.
        moved = self.running_var.clone()
        y = functional.batch_norm(
            x, self.running_mean, moved, self.weight, self.bias, True, self.momentum, self.eps
        )
        # PyTorch updated it with n / (n - 1) times the variance of Keras and Flax.
        count = x.numel() // x.shape[1]
        with torch.no_grad():
            self.running_var.mul_((1 - self.momentum) / count).add_(
                moved, alpha=(count - 1) / count
            )
        return y


class ConvBN(nn.Module):
    """Convolution, BatchNorm and the activation, if the layer has one.

    The output of (batch, in_channels, height, width) is
    (batch, out_channels, ceil(height / stride), ...). It can be indexed as torchvision's: ``[0]``
    is the convolution, ``[1]`` the BatchNorm, ``[2]`` the activation.
    """

    def __init__(self, layer: Convolution, numerics: Numerics) -> None:
        super().__init__()
        # 'same' at stride 2 pads even sizes only at the end, which PyTorch's own padding cannot
        # express.
        self.pad_same = numerics.padding == "same" and layer.stride == 2 and layer.kernel == 3
        self.conv = nn.Conv2d(
            layer.in_channels, layer.out_channels, layer.kernel, layer.stride,
            padding=0 if self.pad_same else layer.kernel // 2,
            groups=layer.groups, bias=layer.bias,
        )  # fmt: skip
        self.bn = BatchNorm(layer.out_channels, numerics)
        # Not in place: on CPUs, PyTorch then computes in a new tensor and copies it back.
        self.activation = ACTIVATIONS[layer.activation]() if layer.activation else nn.Identity()

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> nn.Module:
        return (self.conv, self.bn, self.activation)[index]

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the layer for (batch, channels, height, width)."""
        if self.pad_same:
            height, width = x.shape[-2:]
            x = functional.pad(x, (width % 2, 1, height % 2, 1))
        y: Tensor = self.activation(self.bn(self.conv(x)))
        return y


class InvertedResidual(nn.Module):
    """Inverted residual: expansion, depthwise convolution, projection, shortcut."""

    def __init__(self, block: BlockRecord, numerics: Numerics) -> None:
        super().__init__()
        self.residual = block.residual
        self.expand = ConvBN(block.expand, numerics) if block.expand else None
        self.depthwise = ConvBN(block.depthwise, numerics)
        self.project = ConvBN(block.project, numerics)
        self.shortcut = ConvBN(block.shortcut, numerics) if block.shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, k', ceil(height / stride), ...) for (batch, k, height, width)."""
        y: Tensor = x if self.expand is None else self.expand(x)
        y = self.project(self.depthwise(y))
        if self.residual:
            y = y + (x if self.shortcut is None else self.shortcut(x))
        return y


class SeparableBlock(nn.Module):
    """Block of MobileNetV1: a depthwise and a pointwise convolution, both activated."""

    def __init__(self, block: BlockRecord, numerics: Numerics) -> None:
        super().__init__()
        self.depthwise, self.pointwise = (ConvBN(step, numerics) for step in block.steps)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, k', ceil(height / stride), ...) for (batch, k, height, width)."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


class Bottleneck(nn.Module):
    """Block of ResNet: compress, convolve, expand; the activation follows the addition."""

    def __init__(self, block: BlockRecord, numerics: Numerics) -> None:
        super().__init__()
        self.residual = block.residual
        self.reduce, self.convolve, self.expand = (ConvBN(step, numerics) for step in block.steps)
        self.shortcut = ConvBN(block.shortcut, numerics) if block.shortcut else None
        self.activation = ACTIVATIONS[numerics.activation]()

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, k', ceil(height / stride), ...) for (batch, k, height, width)."""
        y: Tensor = self.expand(self.convolve(self.reduce(x)))
        if self.residual:
            y = y + (x if self.shortcut is None else self.shortcut(x))
        y = self.activation(y)
        return y


class WideBlock(nn.Module):
    """Block between expanded tensors: projection, expansion, depthwise convolution, shortcut."""

    def __init__(self, block: BlockRecord, numerics: Numerics) -> None:
        super().__init__()
        self.residual = block.residual
        self.project = ConvBN(block.project, numerics)
        self.expand = ConvBN(block.expand, numerics) if block.expand else None
        self.depthwise = ConvBN(block.depthwise, numerics)
        self.shortcut = ConvBN(block.shortcut, numerics) if block.shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, k', ceil(height / stride), ...) for (batch, k, height, width)."""
        y: Tensor = self.project(x)
        y = self.depthwise(y if self.expand is None else self.expand(y))
        if self.residual:
            y = y + (x if self.shortcut is None else self.shortcut(x))
        return y


class HiddenLayer(nn.Linear):
    """Hidden linear layer of the classifier, with activation and dropout of its output.

    It maps (batch, in_features) to (batch, out_features).
    """

    def __init__(self, layer: Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias)
        self.dropout = nn.Dropout(layer.dropout)
        self.activation = ACTIVATIONS[layer.activation]() if layer.activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, out_features) for (batch, in_features)."""
        y: Tensor = self.dropout(self.activation(super().forward(x)))
        return y


Block = InvertedResidual | SeparableBlock | Bottleneck | WideBlock
BLOCKS: dict[BlockKind, type[Block]] = {
    "inverted": InvertedResidual,
    "separable": SeparableBlock,
    "bottleneck": Bottleneck,
    "wide": WideBlock,
}
