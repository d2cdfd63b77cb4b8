"""What changes over a run: the rate, the size of pictures, and which layers learn how fast."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.data.augment import targets
from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.errors import RecipeError
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.published import published
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.schedule import (
    cosine,
    depth,
    learning_rate,
    phase,
    thawed_depth,
)
from mobilenetv2.training.steps.torch import TorchTrainer


def test_the_rate_follows_the_schedule_that_the_recipe_names() -> None:
    recipe = Recipe().changed(epochs=2, learning_rate=1.0, warmup_epochs=0.5)
    assert [learning_rate(recipe, step, 4) for step in (0, 1, 2, 7)] == pytest.approx(
        [1 / 3, 2 / 3, 1.0, 0.5 * (1 + np.cos(np.pi * 5 / 6))]
    )
    recipe = Recipe().changed(
        epochs=3, learning_rate=1.0, warmup_epochs=0, schedule="exponential", epoch_factor=0.5
    )
    assert [learning_rate(recipe, step, 4) for step in (0, 3, 4, 11)] == [1, 1, 0.5, 0.25]
    recipe = Recipe().changed(epochs=3, learning_rate=0.5, warmup_epochs=0.5, schedule="constant")
    assert [learning_rate(recipe, step, 4) for step in (0, 2, 3, 11)] == [0.5 / 3, 0.5, 0.5, 0.5]
    assert (
        learning_rate(Recipe().changed(epochs=1, learning_rate=1.0, warmup_epochs=5), 3, 4) == 0.8
    )


def rates(schedule: str, epochs: int, steps: int, warmup: float, **changes: Any) -> list[float]:
    recipe = Recipe().changed(
        epochs=epochs, schedule=schedule, warmup_epochs=warmup, **{"learning_rate": 1.0, **changes}
    )
    return [learning_rate(recipe, step, steps) for step in range(epochs * steps + 1)]


def test_it_rises_to_the_peak_and_falls_to_nothing() -> None:
    found = rates("cosine", 1, 12, 0.25, learning_rate=0.4)
    assert found[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert found[3 + 9 // 3] == pytest.approx(0.3)  # cos 60 degrees is a half: three quarters
    assert found[12] == pytest.approx(0)


def test_without_warmup_it_begins_at_the_peak() -> None:
    assert cosine(0, 10, 0.4) == rates("cosine", 1, 10, 0, learning_rate=0.4)[0] == 0.4


@given(st.integers(1, 20), st.integers(1, 25), st.data())
def test_every_rate_lies_between_nothing_and_peak_and_there_is_one_top(
    epochs: int, steps: int, data: st.DataObject
) -> None:
    warmup = data.draw(st.integers(0, epochs * steps))
    found = rates("cosine", epochs, steps, warmup / steps)[:-1]
    assert all(0 < rate <= 1 for rate in found)
    assert found[:warmup] == sorted(found[:warmup])
    assert found[warmup:] == sorted(found[warmup:], reverse=True)


def test_the_exponential_schedule_steps_once_an_epoch() -> None:
    found = rates("exponential", 3, 4, 0.5, epoch_factor=0.5)[:-1]
    assert found == pytest.approx([1 / 3, 2 / 3, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25])


def test_phases_are_equal_parts_of_a_run() -> None:
    assert [phase(epoch, 6, (0.5, 0.75, 1.0)) for epoch in range(6)] == [
        0.5, 0.5, 0.75, 0.75, 1.0, 1.0,
    ]  # fmt: skip
    assert phase(3, 6, ()) == 1.0
    assert [phase(epoch, 2, (0.5, 0.75, 1.0)) for epoch in (0, 1)] == [0.5, 0.75]
    assert phase(0, 0, (0.5,)) == 0.5


SPEC = published("small", width=0.1, classes=3, dropout=0.0)


def test_the_classifier_is_0_and_the_stem_the_deepest() -> None:
    found = {name.rpartition(".")[0]: depth(name, SPEC) for name in parameter_shapes(SPEC)}
    assert found["classifier"] == 0
    assert found["head.conv"] == found["head.bn"] == 1
    assert found["blocks.16.project.conv"] == 2 and found["blocks.0.depthwise.conv"] == 18
    assert found["stem.conv"] == depth("stem", SPEC) == 19
    assert sorted(set(found.values())) == list(range(20))


def test_layers_unfreeze_from_the_top() -> None:
    gradual = Recipe().changed(unfreeze_epochs=2.0)
    found = [thawed_depth(epoch, gradual, SPEC) for epoch in (0, 0.1, 1, 1.99, 2, 9)]
    assert found == [0, 1, 10, 19, 19, 19]
    assert thawed_depth(0, Recipe(), SPEC) == 19


def test_the_first_blocks_never_thaw_where_the_recipe_keeps_them() -> None:
    gradual = Recipe().changed(unfreeze_epochs=2.0, frozen_blocks=3)
    assert [thawed_depth(epoch, gradual, SPEC) for epoch in (0, 1, 2, 9)] == [0, 10, 15, 15]
    assert (
        thawed_depth(0, Recipe().changed(frozen_blocks=17), SPEC) == 1
    )  # the head and the classifier


def test_a_rate_falls_by_the_same_share_from_layer_to_layer() -> None:
    # Plain SGD moves each weight by its gradient times its rate.
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    moves = {}
    for decay in (1.0, 0.5):
        recipe = Recipe().changed(
            momentum=0.0, weight_decay=0.0, layer_decay=decay, precision="float32", dropout=0.0
        )
        trainer = TorchTrainer(MobileNetV2(SPEC, seed=0), recipe)
        before = trainer.dump()
        trainer.step(pictures, targets(np.arange(4) % 3, 3), 0.1)
        moves[decay] = {name: array - before[name] for name, array in trainer.dump().items()}
    for name in ("stem.conv.weight", "blocks.5.expand.conv.weight", "classifier.bias"):
        expected = moves[1.0][name] * 0.5 ** depth(name, SPEC)
        assert np.abs(moves[1.0][name]).max() > 0
        assert moves[0.5][name] == pytest.approx(expected, rel=1e-3, abs=2e-7)


def test_what_is_frozen_stays_bit_for_bit() -> None:
    recipe = Recipe().changed(unfreeze_epochs=1.0, precision="float32", optimizer="adamw")
    trainer = TorchTrainer(MobileNetV2(SPEC, seed=0), recipe)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    wanted = targets(np.arange(4) % 3, 3)
    for epoch, deep in ((0.0, 0), (0.5, 10), (1.0, 19)):
        before = trainer.dump()
        trainer.thaw(epoch)
        trainer.step(pictures, wanted, 0.01)
        moved = {n for n, array in trainer.dump().items() if not np.array_equal(array, before[n])}
        assert {depth(name, SPEC) for name in moved} == set(range(deep + 1))
        # Statistics of a frozen BatchNorm stay, too; all of the rest moves.
        assert moved == {name for name in before if depth(name, SPEC) <= deep}
    assert torch.is_grad_enabled()


def test_frozen_blocks_stay_bit_for_bit_and_the_others_learn() -> None:
    recipe = Recipe().changed(frozen_blocks=3, precision="float32", weight_decay=0.1)
    trainer = TorchTrainer(MobileNetV2(SPEC, seed=0), recipe)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    before = trainer.dump()
    trainer.step(pictures, targets(np.arange(4) % 3, 3), 0.1)
    after = trainer.dump()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    frozen = {n for n in before if n.startswith(("stem", "blocks.0.", "blocks.1.", "blocks.2."))}
    assert frozen and not changed & frozen
    assert changed == before.keys() - frozen
    with pytest.raises(RecipeError, match=r"freezing\.blocks 18: the network has 17 blocks"):
        TorchTrainer(MobileNetV2(SPEC, seed=0), Recipe().changed(frozen_blocks=18))
