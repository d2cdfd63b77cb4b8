"""BatchNorm statistics in training: rebasing folded ones, and the policy of short runs.

Two ways in which a published checkpoint breaks when it is trained further:

* BatchNorm was folded away (LiteRT) and is an identity. Batch statistics are nothing like it, so
  the first training step destroys the network. :func:`rebase` puts measured statistics in.
* Its running statistics move by 0.001 to 0.003 a step (Keras, TF-slim). In a run of a few hundred
  steps they never arrive at the new data: ~100% in training, ~50% in evaluation.
  :func:`set_policy` makes them move faster, or holds everything to those of the weights.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mobilenetv2.editions.torch.network import ConvBN, MobileNetV2
from mobilenetv2.train.trainer import LEAST_UPDATE_RATE

SMALLEST_VARIANCE = 1e-8
"""A channel below this is dead: there is no scale to give it."""


@dataclass
class Moments:
    """Sums over pictures and positions of one BatchNorm's input, each float64 (channels,)."""

    count: int
    total: Tensor
    squares: Tensor


def rebase(network: MobileNetV2, batches: Iterable[Tensor]) -> None:
    """Undo what folding did to training; evaluation outputs stay the same up to rounding.

    Every output channel of a convolution is scaled to variance 1. Behind a BatchNorm a kernel's
    scale changes nothing but how far a gradient step goes. Folding left each channel with another
    (kernel norms from 0.02 to 140 in Google's files), so that no learning rate suits all.

    Every BatchNorm gets the mean m and the variance v of its input. It computes ``a * x + b``, and
    ``scale = a * sqrt(v + epsilon)``, ``shift = b + a * m`` keep a and b.

    Args:
        network: it is left in evaluation mode.
        batches: normalised pictures (batch, channels, height, width), at least one batch.
    """
    found: dict[nn.Module, Moments] = {}

    def measure(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].double()
        new = Moments(x.numel() // x.shape[1], x.sum((0, 2, 3)), (x * x).sum((0, 2, 3)))
        if module in found:
            old = found[module]
            new = Moments(old.count + new.count, old.total + new.total, old.squares + new.squares)
        found[module] = new

    layers = [module for module in network.modules() if isinstance(module, ConvBN)]
    hooks = [layer.bn.register_forward_pre_hook(measure) for layer in layers]
    network.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    for layer in layers:
        _rebase(layer, found[layer.bn])


@torch.no_grad()
def _rebase(layer: ConvBN, moments: Moments) -> None:
    conv, norm = layer.conv, layer.bn
    assert norm.running_mean is not None and norm.running_var is not None
    a = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    b = norm.bias.double() - a * norm.running_mean.double()
    mean = moments.total / moments.count
    variance = (moments.squares / moments.count - mean**2).clamp_min(0)
    factor = torch.where(variance > SMALLEST_VARIANCE, variance.rsqrt(), 1.0)
    conv.weight.mul_(factor.view(-1, 1, 1, 1))
    if conv.bias is not None:
        conv.bias.mul_(factor)
    norm.running_mean.copy_(mean * factor)
    norm.running_var.copy_(variance * factor**2)
    # From the rounded statistics, so that what is stored gives the old a and b.
    a = a / factor
    norm.weight.copy_(a * (norm.running_var.double() + norm.eps).sqrt())
    norm.bias.copy_(b + a * norm.running_mean.double())


@torch.no_grad()
def reestimate(
    network: nn.Module, batches: Iterable[Tensor], kept: frozenset[nn.Module] = frozenset()
) -> None:
    """Measure the running statistics anew, as plain means over batches (Wu & Johnson, arXiv
    2105.07576): running ones lag behind the weights, and those of an average of weights are
    averages, too, which no network has seen.

    Args:
        network: it is left in evaluation mode.
        batches: what the network takes, at least one batch.
        kept: BatchNorms whose statistics stay.
    """
    norms = [
        module
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d) and module not in kept
    ]
    before = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.train()
    try:
        for count, batch in enumerate(batches, 1):
            for norm in norms:
                norm.momentum = 1 / count  # the mean so far; the first replaces what was there
            network(batch)
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
        network.eval()


def set_policy(network: nn.Module, policy: str) -> None:
    """Put the network into training mode under a recipe's ``batch_norm`` policy.

    'adapt': statistics of the batch, running ones that move by at least 0.1 a step.
    'frozen': BatchNorm computes with its running statistics and leaves them; scale and shift
    are trained all the same.
    """
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            if policy == "frozen":
                module.eval()
            else:
                module.momentum = max(module.momentum or 0.0, LEAST_UPDATE_RATE)
