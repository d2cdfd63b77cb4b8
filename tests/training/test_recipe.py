"""The keys of a recipe: impossible values, what goes with what, and what an edition has."""

import math
from typing import Any

import pytest

from mobilenetv2.errors import RecipeError
from mobilenetv2.training.recipe import (
    ALIASES,
    SUPPORTED,
    Distillation,
    Optimizer,
    Recipe,
    check_edition,
    check_start,
)
from mobilenetv2.training.recipe_file import every_key, read_recipe


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("epochs", -1, "epochs -1 must be at least 0"),
        ("batch_size", 1, "batch_size 1 must be at least 2"),
        ("learning_rate", math.nan, "learning_rate nan must be a finite number"),
        ("warmup_epochs", math.inf, "warmup_epochs inf must be a finite number"),
        ("seed", 2**63, "seed 9223372036854775808 must be at most"),
        ("momentum", 1.0, "momentum 1.0 must be at least 0 and below 1"),
        ("dropout", math.nan, "dropout nan must be a finite number"),
        ("selection", 0.0, "must be above 0"),
        ("size", (31, 64), r"size \(31, 64\) must be from 32 to 8192"),
        ("size", (64, 8193), "size .* must be from 32 to 8192"),
        ("train_scale", 5.0, "train_scale 5.0 must be from 0.1 to 4"),
        ("layer_decay", 0.0, "layer_decay 0.0 must be above 0, at most 1"),
        ("epoch_factor", 1.5, "epoch_factor 1.5 must be above 0, at most 1"),
        ("accumulate", 0, "accumulate 0 must be at least 1"),
        ("gradient_clip", math.inf, "gradient_clip inf must be a finite number"),
        ("balance", 1.5, "balance 1.5 must be from 0 to 1"),
        ("phases", (0.5, 5.0), "phases .* must be from 0.1 to 4"),
        ("phases", (1.0,) * 21, "must be at most 20 shares"),
        ("shrink", 0.5, "shrink 0.5 must be 0 or from 1 to 100"),
        ("frozen_blocks", -1, "blocks -1 must be at least 0"),
        ("ema_breadth", 0.0, "breadth 0.0 must be from 0.01 to 0.5"),
        ("ema_breadth", 0.6, "breadth 0.6 must be from 0.01 to 0.5"),
        ("reestimate", 1, "reestimate 1 must be 0 or at least 2"),
    ],
)
def test_an_impossible_value_is_refused(key: str, value: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe().changed(**{key: value})


@pytest.mark.parametrize("key", ["phases", "reestimate", "unfreeze_epochs", "frozen_blocks"])
def test_cached_maps_and_what_they_cannot_follow_exclude_each_other(key: str) -> None:
    value: Any = (0.5, 1.0) if key == "phases" else 2
    with pytest.raises(RecipeError, match=rf"set {ALIASES[key]}=(0|\[\]), use recipe"):
        Recipe().changed(trained="later", **{key: value})


def test_all_that_cached_maps_cannot_follow_is_said_at_once() -> None:
    with pytest.raises(RecipeError, match=r"reestimate=0 freezing\.blocks=0, use"):
        read_recipe("finetune", ["trained=later"])


def test_what_keeps_lengths_needs_a_batchnorm_that_takes_them_out() -> None:
    with pytest.raises(RecipeError, match=r"'muon' needs freezing\.batch_norm = 'adapt'"):
        Recipe().changed(optimizer="muon", batch_norm="frozen")


def test_a_teacher_needs_pictures_in_the_steps() -> None:
    for trained in ("later", "head"):
        with pytest.raises(RecipeError, match=f"trained = '{trained}' trains on cached features"):
            Recipe().changed(trained=trained, distillation=Distillation("runs/big"))


def test_changes_go_by_either_name_or_a_table_and_are_checked_together() -> None:
    recipe = Recipe().changed({"optimizer.momentum": 0.5}, learning_rate=0.1, epochs=2)
    assert recipe.optimizer == Optimizer(learning_rate=0.1, momentum=0.5) and recipe.epochs == 2
    assert recipe.changed(optimizer=Optimizer("adamw")).optimizer == Optimizer("adamw")
    assert Recipe().changed(optimizer="adamw").optimizer == Optimizer("adamw")
    tuned = read_recipe("finetune")  # each of the three alone would be refused
    assert tuned.changed(trained="later", reestimate=0, frozen_blocks=0).trained == "later"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trained": "head"}, "give weights, or train from scratch"),
        ({"frozen_blocks": 3}, "give weights, or set freezing.blocks=0"),
    ],
)
def test_what_builds_on_weights_needs_some(changes: dict[str, object], message: str) -> None:
    recipe = Recipe().changed(changes)
    check_start(recipe, from_weights=True)
    with pytest.raises(RecipeError, match=message):
        check_start(recipe, from_weights=False)


def test_a_key_that_an_edition_does_not_support_is_an_error() -> None:
    for edition, keys in SUPPORTED.items():
        check_edition(Recipe(), edition)
        assert keys.keys() <= set(every_key())
    check_edition(Recipe().changed(precision="bfloat16", batch_norm="frozen"), "torch")
    check_edition(Recipe().changed(batch_norm="frozen"), "jax")
    for change, message in (
        ({"precision": "bfloat16"}, "precision = 'bfloat16' is not .* the keras edition"),
        ({"batch_norm": "frozen"}, "set freezing.batch_norm=adapt, or use edition torch"),
        ({"replicas": 2}, "replicas = 2 is not supported"),
    ):
        with pytest.raises(RecipeError, match=message):
            check_edition(Recipe().changed(change), "keras")


@pytest.mark.parametrize("edition", SUPPORTED)
def test_the_default_recipe_asks_for_nothing_that_an_edition_has_not(edition: str) -> None:
    recipe = read_recipe("finetune")
    assert recipe.averaging.reestimate
    check_edition(recipe, edition)
