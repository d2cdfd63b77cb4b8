"""Optimisers by the names that recipes have for them: what decays, and at which rate."""

import pytest
import torch

from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.train import schedule
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.steps.torch_optimizers import Muon, RMSProp, is_matrix, make_optimizer

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
    recipe = Recipe().changed(optimizer=name, learning_rate=0.1, weight_decay=0.5)  # type: ignore[arg-type]
    optimizer = make_optimizer(net, recipe)
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
    groups = make_optimizer(net, Recipe().changed(layer_decay=0.7)).param_groups
    scales = {id(p): group["scale"] for group in groups for p in group["params"]}
    assert len(scales) == sum(len(group["params"]) for group in groups)
    expected = {id(p): schedule.scale(0.7, name, SPEC) for name, p in net.named_parameters()}
    assert scales == expected
    assert len(set(expected.values())) == len(net.blocks) + 3  # stem, blocks, head, classifier
