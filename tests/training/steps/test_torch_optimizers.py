"""PyTorch's optimisers by their names in recipes; RMSProp and Muon against their formulas."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.training import schedule
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.steps.torch_optimizers import (
    TURN,
    Muon,
    RMSProp,
    is_matrix,
    make_optimizer,
    orthogonal,
)

SPEC = NetworkSpec(width=0.1, size=(32, 32), classes=3)
KINDS = {
    "sgd": torch.optim.SGD, "adamw": torch.optim.AdamW, "rmsprop": RMSProp, "muon": Muon,
}  # fmt: skip


def network() -> MobileNetV2:
    return MobileNetV2(SPEC, seed=0)


@pytest.mark.parametrize("name", KINDS)
def test_without_gradients_of_a_loss_only_kernels_and_matrices_shrink(name: str) -> None:
    """A gradient of zero leaves nothing but the decay, if there is any."""
    net = network()
    recipe = Recipe().changed(optimizer=name, learning_rate=0.1, weight_decay=0.5)
    optimizer = make_optimizer(net, recipe, torch.float32)
    assert type(optimizer) is KINDS[name]
    before = {key: value.detach().clone() for key, value in net.named_parameters()}
    for value in net.parameters():
        value.grad = torch.zeros_like(value)
    optimizer.step()
    for key, value in net.named_parameters():
        if value.ndim > 1 and not (name == "muon" and is_matrix(value)):
            assert value.norm() < 0.99 * before[key].norm(), key
        elif value.ndim > 1:  # a turned matrix keeps its length, to rounding
            assert torch.allclose(value, before[key], rtol=1e-6), key
        else:
            assert torch.equal(value, before[key]), key


def test_every_parameter_is_in_one_group_with_the_rate_of_its_depth() -> None:
    net = network()
    groups = make_optimizer(net, Recipe().changed(layer_decay=0.7), torch.float32).param_groups
    scales = {id(p): group["scale"] for group in groups for p in group["params"]}
    assert len(scales) == sum(len(group["params"]) for group in groups)
    expected = {id(p): 0.7 ** schedule.depth(name, SPEC) for name, p in net.named_parameters()}
    assert scales == expected
    assert len(set(expected.values())) == len(net.blocks) + 3  # stem, blocks, head, classifier


def test_weights_decay_but_batchnorm_and_biases_do_not() -> None:
    network = MobileNetV2(published("article-torch", width=0.35, classes=3, size=32))
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    for kind in ("sgd", "adamw"):
        recipe = Recipe().changed(optimizer=kind, weight_decay=0.5)
        found = {
            names[id(parameter)]: group["weight_decay"]
            for group in make_optimizer(network, recipe, torch.float32).param_groups
            for parameter in group["params"]
        }
        decays = {name for name in found if name.endswith(("conv.weight", "classifier.weight"))}
        assert found == {name: 0.5 if name in decays else 0.0 for name in names.values()}
        assert len(decays) == sum(parameter.ndim > 1 for parameter in network.parameters())


def moved(rates: list[float], epsilon: float = 1.0, decay: float = 0.0) -> list[float]:
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = RMSProp([{"params": [weight]}], lr=0.0, epsilon=epsilon, weight_decay=decay)
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        (weight**3).sum().backward()
        optimizer.step()
    return [float(value) for value in weight.detach()]


@pytest.mark.parametrize("epsilon, decay", [(1.0, 0.0), (1e-3, 0.0), (1.0, 0.25)])
def test_it_is_the_formula_of_tensorflow(epsilon: float, decay: float) -> None:
    rates = [0.01, 0.02, 0.005, 0.01]
    w = np.array([1.0, -2.0])
    squares, velocity = np.ones(2), np.zeros(2)
    for rate in rates:
        g = 3 * w**2 + decay * w
        squares = 0.9 * squares + 0.1 * g**2
        velocity = 0.9 * velocity + rate * g / np.sqrt(squares + epsilon)
        w = w - velocity
    assert moved(rates, epsilon, decay) == pytest.approx(list(w), rel=1e-12)


def test_what_has_no_gradient_stays() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    RMSProp([{"params": [weight]}], lr=1.0).step()
    assert weight.tolist() == [1, 1]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize("shape", [(24, 96), (96, 24), (16, 16), (1, 8)])
def test_singular_values_become_equal_and_directions_stay(shape: tuple[int, int]) -> None:
    matrix = random(*shape)
    u, values, v = torch.linalg.svd(matrix, full_matrices=False)
    matrix = u @ torch.diag(torch.logspace(0, -1, len(values), dtype=torch.float64)) @ v
    found = orthogonal(matrix)
    after = torch.linalg.svdvals(found)
    assert after.min() > 0.6
    assert after.max() < 1.25
    assert ((found * (u @ v)).sum() / found.norm() / (u @ v).norm()).item() > 0.98


def test_in_bfloat16_it_is_the_same_but_for_rounding() -> None:
    matrix = random(40, 10).float()
    rough = orthogonal(matrix, torch.bfloat16)
    assert rough.dtype == torch.float32
    assert (rough - orthogonal(matrix)).abs().max() < 0.05


def layers() -> list[nn.Parameter]:
    """Pointwise, depthwise, a classifier, a bias."""
    shapes = [(12, 4, 1, 1), (12, 1, 3, 3), (5, 12), (5,)]
    return [nn.Parameter(random(*shape, seed=seed)) for seed, shape in enumerate(shapes)]


def learn(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], steps: int = 3) -> None:
    for step in range(steps):
        for index, weight in enumerate(weights):
            weight.grad = random(*weight.shape, seed=100 * step + index)
        optimizer.step()


def test_only_pointwise_convolutions_are_matrices() -> None:
    assert [is_matrix(weight) for weight in layers()] == [True, False, False, False]


def test_a_matrix_follows_the_formula_and_keeps_its_length() -> None:
    weight = layers()[0]
    expected, velocity = weight.detach().numpy().copy().reshape(12, 4), np.zeros((12, 4))
    length = np.linalg.norm(expected)
    learn(Muon([{"params": [weight], "weight_decay": 0.5}], lr=0.4, momentum=0.9), [weight])
    for step in range(3):
        gradient = random(12, 4, 1, 1, seed=100 * step).numpy().reshape(12, 4)
        velocity = 0.9 * velocity + gradient
        update = orthogonal(torch.from_numpy(gradient + 0.9 * velocity), torch.float32).numpy()
        direction = expected / length - 0.4 * TURN * update / np.linalg.norm(update)
        expected = length * direction / np.linalg.norm(direction)
    assert weight.detach().numpy().reshape(12, 4) == pytest.approx(expected, rel=1e-9)
    assert weight.norm().item() == pytest.approx(length, rel=1e-12)


def test_a_step_is_an_angle_whatever_the_gradient_measures() -> None:
    ends = []
    for scale in (1e-4, 1e4):
        weight = layers()[0]
        before = weight.detach().clone()
        weight.grad = scale * random(*weight.shape, seed=9)
        Muon([{"params": [weight]}], lr=0.1, momentum=0.9).step()
        cosine = (before * weight).sum() / before.norm() / weight.norm()
        assert math.acos(cosine.item()) == pytest.approx(0.1 * TURN, rel=0.01)
        ends.append(weight.detach())
    assert (ends[0] - ends[1]).abs().max() < 1e-6


def halves(weights: list[nn.Parameter]) -> list[dict[str, Any]]:
    """The first of them decays."""
    return [{"params": weights[:1], "weight_decay": 0.1}, {"params": weights[1:]}]


def test_everything_else_is_sgd_bit_for_bit() -> None:
    one, other = layers()[1:], layers()[1:]
    learn(Muon(halves(one), lr=0.3, momentum=0.9), one)
    learn(torch.optim.SGD(halves(other), lr=0.3, momentum=0.9, nesterov=True), other)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_one_of_zeros_has_no_direction_and_is_left_to_sgd() -> None:
    weight = nn.Parameter(torch.zeros(4, 2, 1, 1))
    weight.grad = torch.ones_like(weight)
    Muon([{"params": [weight]}], lr=0.5, momentum=0.0).step()
    assert torch.equal(weight, torch.full_like(weight, -0.5))


def test_without_momentum_it_forgets() -> None:
    weight, other = layers()[0], layers()[0]
    optimizers = [Muon([{"params": [w]}], lr=0.2, momentum=0.0) for w in (weight, other)]
    learn(optimizers[0], [weight], steps=2)
    with torch.no_grad():
        other.copy_(weight)
    weight.grad, other.grad = random(12, 4, 1, 1, seed=7), random(12, 4, 1, 1, seed=7)
    for optimizer in optimizers:
        optimizer.step()
    assert torch.equal(weight, other)


def test_what_has_no_gradient_is_not_turned() -> None:
    weight = layers()[0]
    before = weight.detach().clone()
    Muon([{"params": [weight]}], lr=1.0, momentum=0.9).step()
    assert torch.equal(weight, before)
