"""BatchNorm with the running variance of the network's owner."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilenetv2.spec.network import Numerics


class BatchNorm(nn.BatchNorm2d):
    """PyTorch's own, and where the numerics ask for it, without Bessel's correction.

    (batch, channels, height, width) -> the same. The parameters and their names are PyTorch's.
    """

    def __init__(self, channels: int, numerics: Numerics) -> None:
        super().__init__(channels, eps=numerics.epsilon, momentum=numerics.update_rate)
        self.biased = numerics.running_variance == "biased"

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if not (self.biased and self.training):
            return super().forward(x)
        assert self.running_var is not None and self.momentum is not None
        # A copy: autograd keeps what the kernel was given, and it must not change afterwards.
        moved = self.running_var.clone()
        y = functional.batch_norm(
            x, self.running_mean, moved, self.weight, self.bias, True, self.momentum, self.eps
        )
        # PyTorch moved it by n / (n - 1) times the variance that Keras and Flax would take.
        count = x.numel() // x.shape[1]
        with torch.no_grad():
            self.running_var.mul_((1 - self.momentum) / count).add_(
                moved, alpha=(count - 1) / count
            )
        return y
