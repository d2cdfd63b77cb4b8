"""The folded network in PyTorch: what is left to compute, for the formats that are made from it.

Convolutions with biases, ReLU6, additions, one pooling, one linear layer; no BatchNorm, no dropout.
"""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mobilenetv2.editions.torch.network import ACTIVATIONS
from mobilenetv2.model.folding import Folded
from mobilenetv2.spec.blocks import Block, Convolution, require_inverted, resolve
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

CLASSIFIER, FEATURES, INPUT, OUTPUT = "classifier", "features", "input", "logits"


class FoldedMobileNetV2(nn.Module):
    """Inference only. It is for pictures of the spec's size: 'same' padding is fixed to it.

    Modules are named 'block3_expand', 'block3_expand_activation' ...: converters stumble over names
    that are digits alone, as lists of modules have them.

    Args:
        config: of the model; its preprocessing is used where ``pictures``.
        folded: weights and biases, float32.
        pictures: take uint8 (batch, height, width, channels) and normalise inside.
        dtype: of the weights, and of what is computed after normalisation.

    Raises:
        SpecError: a network of other blocks than MobileNetV2's.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        config: ModelConfig,
        folded: Folded,
        pictures: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        require_inverted(config.spec, "folded PyTorch")
        self.config, self.pictures, self.dtype = config, pictures, dtype
        network = resolve(self.spec)
        for layer in network.convolutions:
            self._add(layer, *folded[layer.name])
        self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        classes, features = network.classifier_shape
        self.classifier = filled(nn.Linear(features, classes), *folded[CLASSIFIER])
        self.to(dtype).requires_grad_(False).eval()
        if pictures:  # after the rest was converted: pictures are normalised in float32
            for name in ("mean", "std"):
                values = np.asarray(getattr(config.preprocessing, name), np.float32)
                self.register_buffer(name, torch.from_numpy(values).view(1, -1, 1, 1))

    @property
    def spec(self) -> NetworkSpec:
        """What the network is."""
        return self.config.spec

    def _add(self, layer: Convolution, weight: NDArray, bias: NDArray) -> None:
        name = module_name(layer.name)
        rows, columns = layer.padding
        even = rows[0] == rows[1] and columns[0] == columns[1]
        if not even:  # a convolution's own padding cannot say it
            self.add_module(f"{name}_pad", nn.ZeroPad2d((*columns, *rows)))
        conv = nn.Conv2d(
            layer.in_channels, layer.out_channels, layer.kernel, layer.stride,
            padding=(rows[0], columns[0]) if even else 0, groups=layer.groups,
        )  # fmt: skip
        self.add_module(name, filled(conv, weight, bias))
        if not layer.linear:
            self.add_module(f"{name}_activation", ACTIVATIONS[self.spec.numerics.activation]())

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width), normalised, or pictures -> logits (batch, classes).

        float32 or uint8 in, float32 out, whatever is computed in between.
        """
        network = resolve(self.spec)
        if self.pictures:
            # Dividing, not multiplying by 1 / std, gives the same floats as ``images``.
            x = (x.permute(0, 3, 1, 2).float() - self.mean) / self.std
        if self.dtype != torch.float32:
            x = x.to(self.dtype)
        x = self.layer(network.stem, self.settle(INPUT, x))
        for block in network.blocks:
            x = self.block(block, x)
        assert network.head is not None  # of every MobileNetV2
        x = self.flatten(self.pool(self.layer(network.head, x)))
        x = self.settle(OUTPUT, self.classify(self.settle(FEATURES, x)))
        return x if self.dtype == torch.float32 else x.float()

    def block(self, block: Block, x: Tensor) -> Tensor:
        """One block: (batch, k, height, width) -> (batch, k', ceil(height / stride), ...)."""
        y = x
        for step in block.steps:
            y = self.layer(step, y)
        if not block.residual:
            return y
        if block.shortcut:
            x = self.layer(block.shortcut, x)
        return self.settle(f"blocks.{block.index}", x + y)

    def layer(self, layer: Convolution, x: Tensor) -> Tensor:
        """A convolution with its padding and its activation."""
        name = module_name(layer.name)
        x = self.convolve(layer.name, self._apply_part(f"{name}_pad", x))
        return self.settle(layer.name, self._apply_part(f"{name}_activation", x))

    def _apply_part(self, name: str, x: Tensor) -> Tensor:
        module = self._modules.get(name)
        return x if module is None else cast(Callable[[Tensor], Tensor], module)(x)

    def convolve(self, name: str, x: Tensor) -> Tensor:
        """The convolution of that canonical name."""
        return self._apply_part(module_name(name), x)

    def classify(self, x: Tensor) -> Tensor:
        """Pooled features -> logits."""
        y: Tensor = self.classifier(x)
        return y

    def settle(self, name: str, x: Tensor) -> Tensor:
        """What others take for the tensor ``name`` of the network: for subclasses."""
        return x


def module_name(name: str) -> str:
    """'blocks.3.expand' -> 'block3_expand'."""
    return name.replace("blocks.", "block").replace(".", "_")


def filled(module: nn.Conv2d | nn.Linear, weight: NDArray, bias: NDArray) -> nn.Module:
    """The module with these weights: copies, in its own dtype."""
    assert module.bias is not None
    with torch.no_grad():
        module.weight.copy_(torch.tensor(weight))
        module.bias.copy_(torch.tensor(bias))
    return module
