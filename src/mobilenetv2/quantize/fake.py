"""The network in PyTorch with the rounding of eight bits inside, and gradients through it.

Values are rounded as the integers would round them but stay float32. Rounding has no slope; the
gradient goes straight through it, and is 0 where a value is beyond its range (Jacob et al.,
arXiv 1712.05877).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilenetv2.editions.torch.folded import CLASSIFIER, FoldedMobileNetV2, module_name
from mobilenetv2.model.folding import Folded
from mobilenetv2.quantize.scheme import LEVELS, SMALLEST_SCALE, Scheme
from mobilenetv2.quantize.tensors import sources
from mobilenetv2.spec.blocks import resolve


class FakeQuantised(FoldedMobileNetV2):
    """A scheme as a network that can be trained: (batch, channels, height, width), normalised, ->
    logits (batch, classes).

    What is trained is each weight as a share of its channel's largest, each bias as a share of its
    layer's range. Folding leaves channels whose weights differ thousandfold; in shares a step is as
    long for one as for the other.
    """

    def __init__(self, scheme: Scheme) -> None:
        super().__init__(scheme.config, scheme.folded)
        self.scheme, self.sources = scheme, sources(scheme.config.spec)
        self.ranges = {
            name: (given.scale, given.zero_point) for name, given in scheme.ranges.items()
        }
        network = resolve(self.spec)
        self.steps = {c.name: (c.stride, c.groups) for c in network.convolutions}
        self.units: dict[str, tuple[Tensor, Tensor]] = {}
        """Name of a layer -> what its weight's and its bias's shares are of."""
        for name in (*self.steps, CLASSIFIER):
            module = self.module(name)
            weight, bias = module.weight, module.bias
            assert bias is not None
            peaks = weight.abs().flatten(1).amax(1).clamp_min(SMALLEST_SCALE)
            # A classifier's range is its logits'.
            scale = self.ranges["logits" if name == CLASSIFIER else name][0]
            units = (peaks.view(-1, *[1] * (weight.ndim - 1)), torch.tensor(scale * LEVELS))
            self.units[name] = units
            for part, unit in zip((weight, bias), units, strict=True):
                part.div_(unit)
                part.requires_grad_(True)

    def module(self, name: str) -> nn.Conv2d | nn.Linear:
        """The layer of that canonical name."""
        found = self.get_submodule(module_name(name))
        assert isinstance(found, nn.Conv2d | nn.Linear)
        return found

    def real(self, name: str) -> tuple[Tensor, Tensor]:
        """A layer's weight and bias before they are rounded."""
        module, (weight, bias) = self.module(name), self.units[name]
        assert module.bias is not None
        return module.weight * weight, module.bias * bias

    def rounded(self, name: str) -> tuple[Tensor, Tensor]:
        """A layer's weight and bias as the integers have them."""
        weight, bias = self.real(name)
        most = self.scheme.most
        with torch.no_grad():
            peaks = weight.abs().flatten(1).amax(1)
            if not self.scheme.per_channel:
                peaks = peaks.amax().expand_as(peaks)
            scales = (peaks / most).clamp_min(SMALLEST_SCALE).contiguous()
        zeros = torch.zeros(len(scales), dtype=torch.int32)
        weight = torch.fake_quantize_per_channel_affine(weight, scales, zeros, 0, -most, most)
        steps = scales.double() * self.ranges[self.sources[name]][0]
        return weight, through((bias / steps).round() * steps, bias)

    def convolve(self, name: str, x: Tensor) -> Tensor:
        """See the base."""
        stride, groups = self.steps[name]
        padding = self.module(name).padding
        assert isinstance(padding, tuple)
        return functional.conv2d(x, *self.rounded(name), stride, padding, 1, groups)

    def classify(self, x: Tensor) -> Tensor:
        """See the base."""
        return functional.linear(x, *self.rounded(CLASSIFIER))

    def settle(self, name: str, x: Tensor) -> Tensor:
        """A tensor as its integers have it."""
        scale, zero_point = self.ranges[name]
        return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, 0, LEVELS)

    def folded(self) -> Folded:
        """The weights and biases as they are now, float32, not rounded: a scheme's."""
        with torch.no_grad():
            return {
                name: (weight.numpy().copy(), bias.numpy().copy())
                for name in (*self.steps, CLASSIFIER)
                for weight, bias in [self.real(name)]
            }


def through(rounded: Tensor, x: Tensor) -> Tensor:
    """The rounded values, with the gradient of ``x``."""
    return x + (rounded.to(x.dtype) - x).detach()
