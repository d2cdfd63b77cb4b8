"""PyTorch's optimisers as the recipes name them."""

import torch
from torch import nn

from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.train import depth, precision
from mobilenetv2.train.muon import Muon
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.rmsprop import RMSProp
from mobilenetv2.train.trainer import EPSILON_OF_ADAM, MOMENTUM_OF_ADAM


def make_optimizer(network: MobileNetV2, recipe: Recipe) -> torch.optim.Optimizer:
    """Matrices and kernels decay (but those that Muon turns), BatchNorm and biases do not; each
    group's rate has its scale."""
    parts: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
        scale = depth.scale(recipe.layer_decay, name, network.spec)
        parts.setdefault((scale, decay), []).append(parameter)
    groups = [
        {"params": parameters, "weight_decay": decay, "scale": scale}
        for (scale, decay), parameters in parts.items()
    ]
    rate = recipe.learning_rate
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=MOMENTUM_OF_ADAM, eps=EPSILON_OF_ADAM)
    if recipe.optimizer == "rmsprop":
        return RMSProp(groups, lr=rate, momentum=recipe.momentum)
    if recipe.optimizer == "muon":
        device = network.classifier.weight.device.type
        return Muon(groups, rate, recipe.momentum, precision.choose(recipe.precision, device))
    return torch.optim.SGD(groups, lr=rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
