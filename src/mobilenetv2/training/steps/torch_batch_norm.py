"""BatchNorm over the photos of all processes, on any device and in any precision.

PyTorch's own ``SyncBatchNorm`` computes on GPUs only. This one sends the same numbers, a mean, a
variance and a count from each process, and two sums for the gradient, and computes the rest by
PyTorch's functions. The layers keep their class, their names and their running statistics.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilenetv2.training.distributed import Group


def synchronise(network: nn.Module, group: Group) -> None:
    """Let the BatchNorm layers of a network use the statistics of the photos of all processes.

    Layers in evaluation mode use their running statistics, as ever.
    """

    def forward(layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
        if not layer.training:
            return type(layer).forward(layer, x)
        return _normalised(layer, x, group)

    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.forward = MethodType(forward, module)  # type: ignore[method-assign]


@contextmanager
def separately(network: nn.Module) -> Iterator[None]:
    """Let the BatchNorm layers use the photos of this process alone in a ``with`` block.

    Processes may then compute different numbers of batches.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    joint = [(layer, vars(layer).pop("forward")) for layer in layers if "forward" in vars(layer)]
    try:
        yield
    finally:
        for layer, forward in joint:
            layer.forward = forward  # type: ignore[method-assign]


def _normalised(layer: nn.BatchNorm2d, x: Tensor, group: Group) -> Tensor:
    """Return the normalised batch, and move the running statistics."""
    own, channels = torch.promote_types(x.dtype, layer.weight.dtype), x.shape[1]
    with torch.no_grad():
        variance, mean = torch.var_mean(x.to(own), (0, 2, 3), correction=0)
        count = torch.full((channels,), x.numel() / channels, dtype=own, device=x.device)
        # One sum: each process fills its own rows of a table that is 0 elsewhere.
        table = torch.zeros(group.size, 3, channels, dtype=own, device=x.device)
        table[group.rank] = torch.stack([count, mean, variance])
        group.add([table])
        counts, means, variances = table.unbind(1)
        whole = counts.sum(0)
        mean = (counts * means).sum(0) / whole
        variance = (counts * (variances + (means - mean) ** 2)).sum(0) / whole
        _move(layer, mean, variance, float(whole[0]))
    y: Tensor = _Normalise.apply(  # type: ignore[no-untyped-call]
        x, layer.weight, layer.bias, mean, variance, whole, layer.eps, group
    )
    return y


def _move(layer: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: float) -> None:
    """Move a layer's running statistics towards those of a batch."""
    assert layer.running_mean is not None and layer.running_var is not None
    assert layer.num_batches_tracked is not None and layer.momentum is not None
    if not getattr(layer, "biased", False):  # as the edition's layer does
        layer.num_batches_tracked.add_(1)
        variance = variance * (count / (count - 1))
    layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), layer.momentum)
    layer.running_var.lerp_(variance.to(layer.running_var.dtype), layer.momentum)


class _Normalise(torch.autograd.Function):
    """Normalisation by statistics of all processes, with the gradient through them."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor,
        whole: Tensor, epsilon: float, group: Group,
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(x, weight, mean, variance, whole)
        ctx.epsilon, ctx.group = epsilon, group
        return functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, epsilon)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, weight, mean, variance, whole = ctx.saved_tensors
        own = mean.dtype

        def wide(values: Tensor) -> Tensor:
            return values.view(1, -1, 1, 1)

        g, scale = gradient.to(own), torch.rsqrt(variance + ctx.epsilon)
        normal = (x.to(own) - wide(mean)) * wide(scale)
        of_bias, of_weight = g.sum((0, 2, 3)), (g * normal).sum((0, 2, 3))
        sums = torch.stack([of_bias, of_weight])
        ctx.group.add([sums])
        means = sums / whole
        of_x = (g - wide(means[0]) - normal * wide(means[1])) * wide(weight.to(own) * scale)
        # Those of weight and bias are summed over the processes with all other gradients.
        return of_x.to(x.dtype), of_weight, of_bias, None, None, None, None, None
