"""Depths: rates by layer, and what thaws when."""

import numpy as np
import pytest
import torch

from mobilenetv2.data.mixing import targets
from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.errors import RecipeError
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.published import published
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.schedule import deepest, depth, scale, thawed_depth
from mobilenetv2.train.steps.torch import TorchTrainer

SPEC = published("small", width=0.1, classes=3, dropout=0.0)


def test_the_classifier_is_0_and_the_stem_the_deepest() -> None:
    found = {name.rpartition(".")[0]: depth(name, SPEC) for name in parameter_shapes(SPEC)}
    assert found["classifier"] == 0
    assert found["head.conv"] == found["head.bn"] == 1
    assert found["blocks.16.project.conv"] == 2 and found["blocks.0.depthwise.conv"] == 18
    assert found["stem.conv"] == deepest(SPEC) == 19
    assert sorted(set(found.values())) == list(range(20))


def test_layers_unfreeze_from_the_top() -> None:
    found = [thawed_depth(epoch, 2.0, 0, SPEC) for epoch in (0, 0.1, 1, 1.99, 2, 9)]
    assert found == [0, 1, 10, 19, 19, 19]
    assert thawed_depth(0, 0.0, 0, SPEC) == 19


def test_the_first_blocks_never_thaw_where_the_recipe_keeps_them() -> None:
    assert [thawed_depth(epoch, 2.0, 3, SPEC) for epoch in (0, 1, 2, 9)] == [0, 10, 15, 15]
    assert thawed_depth(0, 0.0, 17, SPEC) == 1  # the head and the classifier


def test_a_rate_falls_by_the_same_share_from_layer_to_layer() -> None:
    assert scale(0.5, "classifier.weight", SPEC) == 1
    assert scale(0.5, "blocks.16.project.bn.scale", SPEC) == 0.25
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
        expected = moves[1.0][name] * scale(0.5, name, SPEC)
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
    with pytest.raises(RecipeError, match="frozen_blocks 18: the network has 17 blocks"):
        TorchTrainer(MobileNetV2(SPEC, seed=0), Recipe().changed(frozen_blocks=18))
