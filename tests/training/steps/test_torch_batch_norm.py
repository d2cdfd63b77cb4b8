"""BatchNorm over several processes: that of one process with all photos, in both directions."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mobilenetv2.editions.torch.layers import BatchNorm
from mobilenetv2.spec.network import Numerics
from mobilenetv2.training.distributed import Group
from mobilenetv2.training.steps.torch_batch_norm import synchronise

Together = Callable[[int, Callable[[Group], Any]], list[Any]]
PARTS = [slice(0, 2), slice(2, 5), slice(5, 9)]
"""Parts of a batch of nine photos, of different sizes."""


def layer(variance: str, dtype: torch.dtype) -> nn.Sequential:
    """Return a layer that is no longer at its start, between two convolutions."""
    numerics = Numerics(running_variance=variance)  # type: ignore[arg-type]
    torch.manual_seed(0)
    norm = BatchNorm(4, numerics)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            assert tensor is not None
            tensor.copy_(torch.rand(4) + 0.5)
    return nn.Sequential(nn.Conv2d(3, 4, 1), norm, nn.ReLU6(), nn.Conv2d(4, 2, 1)).to(dtype)


def learnt(network: nn.Module, x: Tensor) -> list[Tensor]:
    loss = (network(x) ** 3).sum()
    return list(torch.autograd.grad(loss, list(network.parameters())))


@pytest.mark.parametrize("variance", ["unbiased", "biased"])
def test_it_is_that_of_one_process_with_all_photos(variance: str, together: Together) -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(3, 2, (9, 3, 5, 6)))
    alone = layer(variance, torch.float64)
    copies = [copy.deepcopy(alone) for _ in PARTS]
    expected = learnt(alone, x)

    def process(group: Group) -> tuple[list[Tensor], dict[str, Tensor]]:
        network = copies[group.rank]
        synchronise(network, group)
        gradients = learnt(network, x[PARTS[group.rank]])
        group.add(gradients)
        return gradients, network.state_dict()

    for gradients, state in together(3, process):
        for found, wanted in zip(gradients, expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
        for name, wanted in alone.state_dict().items():
            torch.testing.assert_close(state[name], wanted, rtol=1e-13, atol=1e-13)


def test_in_evaluation_it_uses_the_running_statistics(together: Together) -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(3, 2, (9, 3, 5, 6)))
    alone = layer("unbiased", torch.float64).eval()
    expected = alone(x)
    copies = [copy.deepcopy(alone) for _ in PARTS]

    def process(group: Group) -> Tensor:
        network = copies[group.rank]
        synchronise(network, group)
        assert isinstance(network[1], BatchNorm)
        found: Tensor = network(x[PARTS[group.rank]])
        return found

    assert torch.equal(torch.cat(together(3, process)), expected)


def test_in_bfloat16_the_statistics_are_float32s(together: Together) -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(30, 2, (9, 4, 8, 8))).bfloat16()
    torch.manual_seed(0)
    plain = nn.BatchNorm2d(4)
    expected = plain(x)

    def process(group: Group) -> tuple[Tensor, Tensor | None]:
        norm = nn.BatchNorm2d(4)
        synchronise(norm, group)
        found: Tensor = norm(x[PARTS[group.rank]])
        return found, norm.running_mean

    parts = together(3, process)
    assert parts[0][0].dtype == torch.bfloat16
    torch.testing.assert_close(torch.cat([y for y, _ in parts]), expected, rtol=0.02, atol=0.02)
    assert plain.running_mean is not None
    for _, mean in parts:
        torch.testing.assert_close(mean, plain.running_mean, rtol=1e-5, atol=1e-5)
