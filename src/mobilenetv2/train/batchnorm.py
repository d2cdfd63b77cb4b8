"""BatchNorm statistics in training: rebasing folded ones, and the policy of short runs.

Two ways in which a published checkpoint breaks when it is trained further:

* BatchNorm was folded away (LiteRT) and is an identity. Batch statistics are nothing like it, so
  the first training step destroys the network. :func:`rebase` puts measured statistics in.
* Its running statistics move by 0.001 to 0.003 a step (Keras, TF-slim). In a run of a few hundred
  steps they never arrive at the new data: ~100% in training, ~50% in evaluation.
  :func:`set_policy` makes them move faster, or holds everything to those of the weights.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

LEAST_UPDATE_RATE = 0.1


def rebase(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace every BatchNorm's statistics by measured ones; evaluation outputs stay the same.

    BatchNorm computes ``a * x + b``. With the data's mean m and variance v at its input,
    ``scale = a * sqrt(v + epsilon)`` and ``shift = b + a * m`` give the same a and b.

    Args:
        network: any module with BatchNorm2d layers; it is left in evaluation mode.
        batches: normalised pictures (batch, channels, height, width), at least one batch.
    """
    sums: dict[nn.BatchNorm2d, list[Any]] = {}

    def measure(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        x = inputs[0].double()
        count = x.numel() / x.shape[1]
        total, squares = x.sum((0, 2, 3)), (x * x).sum((0, 2, 3))
        old = sums.get(module, [0.0, 0.0, 0.0])
        sums[module] = [old[0] + count, old[1] + total, old[2] + squares]

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [module.register_forward_pre_hook(measure) for module in norms]
    network.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    with torch.no_grad():
        for norm in norms:
            count, total, squares = sums[norm]
            mean = total / count
            variance = (squares / count - mean**2).clamp_min(0)
            _set_statistics(norm, mean, variance)


def _set_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    a = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    b = norm.bias.double() - a * norm.running_mean.double()
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    # From the rounded statistics, so that what is stored gives exactly the old a and b.
    norm.weight.copy_(a * (norm.running_var.double() + norm.eps).sqrt())
    norm.bias.copy_(b + a * norm.running_mean.double())


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
