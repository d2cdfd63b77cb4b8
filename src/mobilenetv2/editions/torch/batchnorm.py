"""BatchNorm with the running variance of the network's owner."""

import torch
from torch import Tensor, nn

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
        before = self.running_var.clone()
        y = super().forward(x)
        # PyTorch moved it by n / (n - 1) times the variance that Keras and Flax would take.
        count = x.numel() // x.shape[1]
        with torch.no_grad():
            self.running_var.mul_((count - 1) / count).add_(
                before, alpha=(1 - self.momentum) / count
            )
        return y
