"""What the loop decides by: decay, precision, the best epoch, signals."""

import signal

import pytest
import torch

from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.spec.published import published
from mobilenetv2.train import torch as loop
from mobilenetv2.train.recipe import Recipe


def test_weights_decay_but_batchnorm_and_biases_do_not() -> None:
    network = MobileNetV2(published("article-torch", width=0.35, classes=3, size=32))
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    for kind in ("sgd", "adamw"):
        recipe = Recipe(optimizer=kind, weight_decay=0.5)
        found = {
            names[id(parameter)]: group["weight_decay"]
            for group in loop.make_optimizer(network, recipe).param_groups
            for parameter in group["params"]
        }
        decays = {name for name in found if name.endswith(("conv.weight", "classifier.weight"))}
        assert found == {name: 0.5 if name in decays else 0.0 for name in names.values()}
        assert len(decays) == sum(parameter.ndim > 1 for parameter in network.parameters())


def test_the_average_follows_its_definition_weights_and_statistics_alike() -> None:
    network = MobileNetV2(published("small", width=0.1, classes=3))
    assert loop.make_average(network, Recipe(ema_decay=0.0)) is None
    averaged = loop.make_average(network, Recipe(ema_decay=0.3))
    assert averaged is not None
    names = ("stem.conv.weight", "blocks.3.depthwise.bn.running_var", "classifier.bias")
    expected = dict.fromkeys(names, 0.0)
    for step in range(6):
        state = network.state_dict()
        for name in names:
            state[name].fill_(step + 1)
            # The first step is taken as it is; later ones keep at most 0.3 of the average.
            kept = 0 if step == 0 else min(0.3, (1 + step) / (10 + step))
            expected[name] = kept * expected[name] + (1 - kept) * (step + 1)
        averaged.update_parameters(network)
    for name in names:
        found = averaged.module.state_dict()[name]
        torch.testing.assert_close(found, torch.full_like(found, expected[name]))


def test_the_best_epoch_is_by_accuracy_then_by_loss() -> None:
    figures = [(0.5, 1.0), (0.9, 0.8), (0.9, 0.7), (0.9, 0.7), (0.8, 0.1)]
    rows = [
        {"epoch": epoch, "selection_top1": top1, "selection_loss": loss}
        for epoch, (top1, loss) in enumerate(figures, 1)
    ]
    assert loop.best_epoch(rows) == 3


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
    assert loop.choose_precision("auto", "cpu") == expected
    assert loop.choose_precision("auto", "mps") == torch.float32
    assert loop.choose_precision("float32", "cpu") == torch.float32
    assert loop.choose_precision("bfloat16", "cpu") == torch.bfloat16


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), loop.stop_on_interrupt() as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop()
        signal.raise_signal(number)
    assert signal.getsignal(number) is before
