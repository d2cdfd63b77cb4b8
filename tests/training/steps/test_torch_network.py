"""What a PyTorch network computes in while it is trained, its BatchNorm and its replicas."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mobilenetv2.checkpoints.rebasing import rebase_on
from mobilenetv2.data.augment import targets
from mobilenetv2.editions.torch import MobileNetV2, dump, load
from mobilenetv2.editions.torch.network import normalise
from mobilenetv2.model.arrays import LINEAR, identity_batch_norm, random_arrays
from mobilenetv2.spec.names import is_statistic
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.training.distributed import Group
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.steps import torch_network
from mobilenetv2.training.steps.torch import TorchTrainer
from mobilenetv2.training.steps.torch_network import Replicas, reestimate, set_policy, sharing

SPECS = {
    "same": NetworkSpec(width=0.1, size=(64, 64), classes=5, numerics=Numerics("same", 1e-3)),
    "article": published("article-torch", width=0.1, size=64, classes=5),
}


def folded(spec: NetworkSpec) -> MobileNetV2:
    """As LiteRT files come: every channel of a convolution on a scale of its own, no BatchNorm."""
    network, arrays = MobileNetV2(spec), random_arrays(spec)
    random = np.random.default_rng(0)
    for name in [key.removesuffix(".bn.shift") for key in arrays if key.endswith(".bn.shift")]:
        arrays |= identity_batch_norm(name, arrays[f"{name}.bn.shift"], spec.numerics.epsilon)
    for name, array in arrays.items():
        if name.endswith(LINEAR):
            array *= 2  # signals large beside the biases: few channels are dead behind ReLU6
        if name.endswith("conv.weight"):
            array *= np.exp(random.normal(0, 0.5, (len(array), 1, 1, 1))).astype(np.float32)
    load(network, arrays)
    return network


def batches(count: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(8, 3, 64, 64, generator=generator) for _ in range(count)]


def test_training_begins_where_evaluation_stands_and_without_rebasing_it_does_not() -> None:
    config = ModelConfig.default(SPECS["same"].replace(dropout=0.0))
    network = folded(config.spec)
    pictures = np.random.default_rng(0).integers(0, 256, (128, 64, 64, 3), np.uint8)
    x = normalise(pictures, config.preprocessing, torch.device("cpu"))
    rebased = rebase_on(list(pictures), "training photos", config, dump(network))[1]
    apart = []
    for arrays in (dump(network), rebased):
        load(network, arrays)
        with torch.no_grad():
            evaluated = network.eval()(x)
            trained = network.train()(x)
        apart.append(((trained - evaluated).abs().mean() / evaluated.std()).item())
    assert apart[0] > 0.5
    assert apart[1] < 0.02


def test_adapting_statistics_move_at_least_a_tenth_a_step() -> None:
    slow = MobileNetV2(SPECS["same"].replace(numerics=Numerics(momentum=0.001)))
    set_policy(slow, "adapt")
    assert slow.training and slow.stem.bn.training and slow.stem.bn.momentum == 0.1
    fast = MobileNetV2(SPECS["same"].replace(numerics=Numerics(momentum=0.3)))
    set_policy(fast, "adapt")
    assert fast.stem.bn.momentum == 0.3


@pytest.mark.slow
def test_a_short_run_with_slow_statistics_arrives_only_when_they_adapt() -> None:
    """Photos of another brightness: after 100 steps evaluation must see what training saw."""
    x = torch.cat(batches(3)) * 3 + 2
    apart = {}
    for policy in ("plain", "adapt"):
        spec = SPECS["same"].replace(dropout=0.0, numerics=Numerics("same", 1e-3, 0.999, "old"))
        network = MobileNetV2(spec, seed=0)
        network.train()
        if policy == "adapt":
            set_policy(network, policy)
        with torch.no_grad():
            for _ in range(100):
                trained = network(x)
            apart[policy] = ((network.eval()(x) - trained).std() / trained.std()).item()
    # Not nearer: the running variance is unbiased, the batch's is not, and 52 layers add up.
    assert apart["adapt"] < 0.25
    assert apart["plain"] > 0.5


def test_frozen_statistics_stay_and_scale_and_shift_learn() -> None:
    network = folded(SPECS["same"])
    set_policy(network, "frozen")
    before = dump(network)
    network(batches(1)[0]).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    for name, array in dump(network).items():
        np.testing.assert_array_equal(array, before[name], name)


@pytest.mark.parametrize(
    "capabilities, expected",
    [
        ({}, torch.float32),
        ({"avx512_f": True}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
    ],
)
def test_auto_is_bfloat16_only_where_the_processor_computes_in_it(
    capabilities: dict[str, bool], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert torch_network.choose_precision("auto", "cpu") == expected
    assert torch_network.choose_precision("auto", "mps") == torch.float32
    assert torch_network.choose_precision("float32", "cpu") == torch.float32
    assert torch_network.choose_precision("bfloat16", "cpu") == torch.bfloat16


def test_only_depthwise_convolutions_of_stride_2_leave_autocast() -> None:
    network = MobileNetV2(published("small", width=0.1, classes=3), seed=0)
    state = network.state_dict()
    torch_network.keep_slow_layers_in_float32(network)
    assert network.state_dict().keys() == state.keys()
    seen: dict[str, torch.dtype] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda _module, _inputs, output, name=name: seen.update({name: output.dtype})
            )
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.randn(2, 3, 32, 32)).sum().backward()
    strided = {
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.groups > 1 and module.stride == (2, 2)
    }
    assert len(strided) == 3
    assert {name for name, dtype in seen.items() if dtype == torch.float32} == strided
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


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


def test_statistics_measured_by_processes_are_the_mean_over_all_batches(
    together: Callable[[int, Callable[[Group], Any]], list[Any]],
) -> None:
    x = torch.randn(5, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    alone = MobileNetV2(SPEC, seed=0)
    copies = [MobileNetV2(SPEC, seed=0) for _ in range(3)]
    reestimate(alone, list(x))

    def process(group: Group) -> dict[str, torch.Tensor]:
        # With two batches each for two processes and one for the third.
        reestimate(copies[group.rank], list(x[group.rank :: group.size]), group=group)
        return copies[group.rank].state_dict()

    for state in together(3, process):
        for name, expected in alone.state_dict().items():
            if name.endswith(("mean", "var")):
                torch.testing.assert_close(state[name], expected, rtol=1e-4, atol=1e-5)
