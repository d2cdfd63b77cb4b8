"""The optimisers of recipes in PyTorch, with TensorFlow's RMSProp and Muon.

RMSProp is the optimiser of the paper's training code. Unlike PyTorch's, TensorFlow's adds epsilon
inside the square root, initialises the squares with one, and includes the learning rate in the
momentum. With slim's epsilon of 1.0 all three differences matter: the steps are nearly those of SGD
until gradients are large.

Muon (Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024) takes
orthogonal steps for the matrices of a network; other parameters are trained with SGD. A step of SGD
changes a matrix mostly in the few directions with large gradients; a step of Muon is about equally
long in all directions. Here the matrices are the pointwise convolutions, 90% of the parameters
before the classifier. BatchNorm follows each of them and removes its norm, so that only the
direction matters. So the norm is kept constant, no weight decay is needed, and a step is a rotation
by an angle.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.schedule import depth
from mobilenetv2.training.steps import EPSILON_OF_ADAM, MOMENTUM_OF_ADAM

TURN = 0.1
"""Approximate angle of a step with a learning rate of 1, in radians."""
QUINTIC = (3.4445, -4.7750, 2.0315)
"""Jordan's coefficients of the Newton-Schulz iteration."""
ITERATIONS = 4
"""Number of Newton-Schulz iterations. Singular values of at least a tenth of the matrix's norm end
between 0.65 and 1.2; smaller ones grow by a factor of about 3.5 in each iteration."""


def make_optimizer(
    network: MobileNetV2, recipe: Recipe, precision: torch.dtype
) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe.

    Weights with more than one axis decay, except Muon's matrices; BatchNorm and biases do not. Each
    parameter group has a 'scale', the factor of its learning rate (layer-wise decay).

    Args:
        network: the network to train.
        recipe: the recipe.
        precision: data type of Muon's iteration.
    """
    options = recipe.optimizer
    parts: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        decay = options.weight_decay if parameter.ndim > 1 else 0.0
        scale = float(options.layer_decay ** depth(name, network.spec))
        parts.setdefault((scale, decay), []).append(parameter)
    groups = [
        {"params": parameters, "weight_decay": decay, "scale": scale}
        for (scale, decay), parameters in parts.items()
    ]
    rate, momentum = options.learning_rate, options.momentum
    if options.name == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=MOMENTUM_OF_ADAM, eps=EPSILON_OF_ADAM)
    if options.name == "rmsprop":
        return RMSProp(groups, lr=rate, momentum=momentum)
    if options.name == "muon":
        return Muon(groups, rate, momentum, precision)
    return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0)


class RMSProp(torch.optim.Optimizer):
    """TensorFlow's RMSProp with momentum.

    s = r s + (1 - r) g^2; v = m v + rate g / sqrt(s + epsilon); w -= v.

    Args:
        groups: parameter groups, as for all PyTorch optimisers.
        lr: learning rate.
        decay: decay r of the mean squares. Default: 0.9.
        momentum: momentum m. Default: 0.9.
        epsilon: constant inside the square root. Default: 1.
        weight_decay: factor of the weights that is added to the gradient. Default: 0.
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
        """Update all weights that have a gradient."""
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


def is_matrix(parameter: Tensor) -> bool:
    """Return True for the weight of a pointwise convolution, (outputs, inputs, 1, 1)."""
    return parameter.ndim == 4 and parameter.shape[2:] == (1, 1)


class Muon(torch.optim.SGD):
    """Muon for the pointwise convolutions, and SGD with Nesterov momentum for other parameters.

    For a matrix W with gradient G: V = m V + G; U = orthogonal(G + m V); W = |W| times the
    direction of W / |W| - TURN rate U / |U|.

    Args:
        groups: parameter groups, as for all PyTorch optimisers. The matrices in them have no weight
            decay. A matrix of zeros has no direction and is trained with SGD.
        lr: learning rate.
        momentum: momentum m of Muon and SGD.
        precision: data type of the iteration. Default: float32.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        momentum: float,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(list(groups), lr=lr, momentum=momentum, nesterov=momentum > 0)
        self.precision = precision

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all weights that have a gradient."""
        for group in self.param_groups:
            for weight in filter(is_matrix, group["params"]):
                if weight.grad is not None and weight.any():
                    self._turn(weight, weight.grad, group["lr"] * TURN, group["momentum"])
                    weight.grad = None  # SGD skips it
        super().step()

    def _turn(self, weight: nn.Parameter, gradient: Tensor, angle: float, momentum: float) -> None:
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        velocity = state["momentum_buffer"].mul_(momentum).add_(gradient)
        update = orthogonal((gradient + momentum * velocity).flatten(1), self.precision)
        length = weight.norm()
        step = angle * length / update.norm().clamp_min(1e-12)
        weight.sub_(step * update.view_as(weight))
        weight.mul_(length / weight.norm())


def orthogonal(matrix: Tensor, precision: torch.dtype = torch.float32) -> Tensor:
    """Return approximately the matrix with the same singular vectors and all singular values 1."""
    a, b, c = QUINTIC
    wide = matrix.shape[0] <= matrix.shape[1]
    if precision == torch.float32:
        precision = torch.promote_types(precision, matrix.dtype)
    x = (matrix if wide else matrix.T).to(precision)
    x = x / x.norm().clamp_min(1e-12)  # the largest singular value is at most 1
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x if wide else x.T).to(matrix.dtype)
