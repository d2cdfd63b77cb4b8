"""RMSProp as the paper's own training code had it, which is not PyTorch's.

TensorFlow adds epsilon under the root, starts the squares at one, and keeps the learning rate
inside the momentum. With slim's epsilon of 1.0 all three matter: the steps are nearly those of SGD
until gradients are large.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class RMSProp(torch.optim.Optimizer):
    """s = r s + (1 - r) g^2; v = m v + rate g / sqrt(s + epsilon); w -= v.

    Args:
        groups: as for every PyTorch optimiser; ``weight_decay`` is added to the gradient.
        decay: r, of the squares.
        momentum: m.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        decay: float = 0.9,
        momentum: float = 0.9,
        epsilon: float = 1.0,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr, "decay": decay, "momentum": momentum, "epsilon": epsilon,
            "weight_decay": weight_decay,
        }  # fmt: skip
        super().__init__(list(groups), defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group)

    def _move(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["squares"] = torch.ones_like(weight)
            state["velocity"] = torch.zeros_like(weight)
        if group["weight_decay"]:
            gradient = gradient.add(weight, alpha=group["weight_decay"])
        squares, velocity = state["squares"], state["velocity"]
        squares.mul_(group["decay"]).addcmul_(gradient, gradient, value=1 - group["decay"])
        velocity.mul_(group["momentum"]).addcdiv_(
            gradient, (squares + group["epsilon"]).sqrt(), value=group["lr"]
        )
        weight.sub_(velocity)
