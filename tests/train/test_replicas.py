"""Replicas: the parts' sums are those of one network, in whatever order the threads finish."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from mobilenetv2.data.mixing import targets
from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.spec.names import is_statistic
from mobilenetv2.spec.published import published
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.steps.torch import TorchTrainer
from mobilenetv2.train.steps.torch_network import Replicas, sharing

SPEC = published("small", width=0.1, classes=3, dropout=0.3)
PICTURES = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)
WANTED = targets(np.arange(9) % 3, 3)


def stepped(**changes: Any) -> dict[str, np.ndarray]:
    """The weights after two steps of plain SGD."""
    recipe = Recipe().changed(momentum=0.0, weight_decay=0.0, precision="float32", **changes)
    trainer = TorchTrainer(MobileNetV2(SPEC, seed=0), recipe)
    for _ in range(2):
        trainer.step(PICTURES, WANTED, 0.1)
    return trainer.dump()


def test_parts_side_by_side_are_parts_one_after_the_other() -> None:
    """Dropout too; but running statistics move once a step, not once a part."""
    for count in (2, 3, 4):
        beside, after = stepped(replicas=count), stepped(accumulate=count)
        for name in after:
            if not is_statistic(name):
                assert beside[name] == pytest.approx(after[name], abs=2e-6)


def test_frozen_statistics_make_it_the_whole_batch() -> None:
    whole = stepped(batch_norm="frozen")
    for changes in ({"replicas": 2}, {"replicas": 2, "accumulate": 2}, {"replicas": 9}):
        found = stepped(batch_norm="frozen", **changes)
        for name in whole:
            assert found[name] == pytest.approx(whole[name], abs=2e-6)


def test_frozen_statistics_stay_bit_for_bit() -> None:
    """The mean of three equal numbers need not be the number."""
    network = MobileNetV2(SPEC, seed=0)
    random = torch.Generator().manual_seed(0)
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand(buffer.shape, generator=random) + 0.5)
    trainer = TorchTrainer(
        network, Recipe().changed(replicas=3, batch_norm="frozen", precision="float32")
    )
    before = trainer.dump()
    trainer.step(PICTURES, WANTED, 0.1)
    after = trainer.dump()
    assert all(np.array_equal(after[name], before[name]) for name in before if is_statistic(name))


def test_there_are_never_more_of_them_than_parts_of_a_batch() -> None:
    trainer = TorchTrainer(MobileNetV2(SPEC, seed=0), Recipe().changed(replicas=500, batch_size=9))
    assert len(trainer.replicas.networks) == 4


def test_running_statistics_are_the_mean_of_the_parts() -> None:
    recipe = Recipe().changed(replicas=3, precision="float32")
    trainer = TorchTrainer(MobileNetV2(SPEC, seed=0), recipe)
    stem, inputs = trainer.network.stem, trainer._inputs(PICTURES)
    parts = [stem.conv(inputs[i : i + 3]).mean((0, 2, 3)) for i in (0, 3, 6)]
    expected = 0.9 * 0 + 0.1 * torch.stack(parts).mean(0)
    trainer.step(PICTURES, WANTED, 0.0)
    assert trainer.dump()["stem.bn.mean"] == pytest.approx(expected.detach().numpy(), abs=1e-6)


def test_it_ends_bit_for_bit_the_same_each_time() -> None:
    first, second = stepped(replicas=4), stepped(replicas=4)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_replica_shares_weights_and_not_statistics() -> None:
    network = MobileNetV2(SPEC, seed=0)
    replica = sharing(network)
    pairs = [*zip(network.parameters(), replica.parameters(), strict=True)]
    assert pairs and all(one is other for one, other in pairs)
    buffers = [*zip(network.buffers(), replica.buffers(), strict=True)]
    assert buffers and all(one.data_ptr() != other.data_ptr() for one, other in buffers)


def test_they_share_the_cores_and_everybody_else_keeps_theirs() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        replicas = Replicas(MobileNetV2(SPEC, seed=0), 2)
        seen = replicas.each(lambda network, part: torch.get_num_threads(), [slice(0), slice(0)])
        assert seen == [2, 2]
        assert torch.get_num_threads() == 4
        with ThreadPoolExecutor(1) as pool:  # a thread that is made afterwards
            assert pool.submit(torch.get_num_threads).result() == 4
    finally:
        torch.set_num_threads(before)
