"""Recipes: files, names, changes from the command line, and what is refused."""

import contextlib
import dataclasses
import io
import math
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.cli.parser import make_parser
from mobilenetv2.data.augment import Augmentation
from mobilenetv2.data.mixing import Mixing
from mobilenetv2.errors import RecipeError
from mobilenetv2.spec.mapping import from_mapping
from mobilenetv2.train.recipe import LARGEST_SEED, Distillation, Recipe, replace
from mobilenetv2.train.recipe_file import read_recipe, recipe_names

share = st.floats(0, 1, exclude_max=True)
part = st.floats(0, 1, exclude_min=True, exclude_max=True)
positive = st.floats(0, 1e300)
side = st.integers(32, 8192)
size = st.none() | st.tuples(side, side)

recipes = st.builds(
    Recipe,
    trained=st.just("all"),
    epochs=st.integers(0, 10**6),
    batch_size=st.integers(2, 10**6),
    optimizer=st.sampled_from(["sgd", "adamw", "rmsprop"]),
    phases=st.lists(st.floats(0.1, 4), max_size=20).map(tuple),
    mixing=st.builds(Mixing, mixup=st.floats(0, 100), cutmix=st.floats(0, 100)),
    distillation=st.builds(Distillation, teacher=st.sampled_from(["", "runs/a b/best"])),
    learning_rate=positive,
    momentum=share,
    weight_decay=positive,
    warmup_epochs=positive,
    label_smoothing=share,
    dropout=st.none() | share,
    head_first=st.booleans(),
    batch_norm=st.sampled_from(["adapt", "frozen"]),
    network=st.text(st.characters(exclude_categories=["Cs"])),
    width=positive,
    size=size,
    train_scale=st.floats(0.1, 4),
    view=st.sampled_from(["largest", "weights"]),
    augmentation=st.builds(
        Augmentation,
        crop=st.sampled_from(["resized", "shifted", "none"]),
        crop_least=st.floats(0, 1, exclude_min=True),
        flip=st.booleans(),
        jitter=share,
    ),
    selection=part,
    validation=part,
    patience=st.integers(0, 1000),
    precision=st.sampled_from(["auto", "float32", "bfloat16"]),
    seed=st.integers(0, LARGEST_SEED),
)


def help_page(verb: str) -> str:
    """A verb's page on one long line, so that no name is divided."""
    with contextlib.redirect_stdout(io.StringIO()) as page, pytest.raises(SystemExit):
        make_parser().parse_args([verb, "--help"])
    return re.sub(r"-\n\s+", "-", page.getvalue()).replace("\n", " ")


def write(folder: Path, text: str) -> str:
    (folder / "recipe.toml").write_text(text, "utf-8")
    return str(folder / "recipe.toml")


def test_the_recipes_of_the_help_text_come_with_the_package() -> None:
    page = help_page("train")
    said = page.rpartition("--recipe NAME|FILE")[2].partition("or a TOML file")[0]
    assert sorted(word.strip() for word in said.split(",") if word.strip()) == recipe_names()


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_equals_its_toml_round_trip(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(name)
    assert read_recipe(write(tmp_path, recipe.to_toml())) == recipe
    assert recipe.to_toml().count("\n") >= len(dataclasses.fields(Recipe)) - 3  # all keys stand


@given(recipes)
def test_any_recipe_equals_its_toml_round_trip(recipe: Recipe) -> None:
    assert from_mapping(Recipe, tomllib.loads(recipe.to_toml()), "here", RecipeError) == recipe


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert read_recipe(write(tmp_path, "")) == Recipe()


@pytest.mark.parametrize(
    "text, message",
    [
        ("epoch = 3", "unknown key 'epoch'; did you mean 'epochs'?"),
        ("[augmentation]\nflp = true", "unknown key 'flp'; did you mean 'flip'?"),
        ("colour = 3", "unknown key 'colour'; known are: accumulate, augmentation,"),
        ("epochs = 2.5", "epochs: expected a whole number, found 2.5"),
        ("epochs = true", "epochs: expected a whole number, found True"),
        ('learning_rate = "fast"', "learning_rate: expected a number, found 'fast'"),
        ("head_first = 1", "head_first: expected true or false, found 1"),
        ('trained = "some"', "trained: expected one of 'all', 'later', 'head', found 'some'"),
        ('size = "big"', "size: expected a list, found 'big'"),
        ("size = [32, 32, 3]", "size: expected 2 values, found 3"),
        ("[cache]\nviews = 0", "cache: cache.views must be from 1 to 1000, not 0"),
        ("[mixing]\nmixup = -1", "mixing: mixup -1.0 must be from 0 to 100"),
        ("[distillation]\nshare = 2", "distillation: share 2.0 must be from 0 to 1"),
        ("[augmentation]\njitter = 1", "augmentation: jitter 1.0 must be at least 0 and below 1"),
        (
            'trained = "later"\n[distillation]\nteacher = "m"',
            "does not look at pictures in its steps",
        ),
        ("augmentation = 3", "augmentation: expected a table of Augmentation, found 3"),
        ("epochs = = 3", "recipe.toml: not TOML"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_place(
    tmp_path: Path, text: str, message: str
) -> None:
    file = write(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        read_recipe(file)
    assert message in str(caught.value)
    assert str(caught.value).startswith(file)


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("epochs", -1, "epochs -1 must be at least 0"),
        ("batch_size", 1, "batch_size 1 must be at least 2"),
        ("learning_rate", math.nan, "learning_rate nan must be a finite number"),
        ("warmup_epochs", math.inf, "warmup_epochs inf must be a finite number"),
        ("seed", 2**63, "seed 9223372036854775808 must be at most"),
        ("momentum", 1.0, "momentum 1.0 must be at least 0 and below 1"),
        ("dropout", math.nan, "dropout nan must be at least 0 and below 1"),
        ("selection", 0.0, "must be above 0"),
        ("size", (31, 64), r"size \(31, 64\) must be from 32 to 8192 pixels"),
        ("size", (64, 8193), "size .* must be from 32 to 8192"),
        ("train_scale", 5.0, "train_scale 5.0 must be from 0.1 to 4"),
        ("layer_decay", 0.0, "layer_decay 0.0 must be above 0, at most 1"),
        ("epoch_factor", 1.5, "epoch_factor 1.5 must be above 0, at most 1"),
        ("accumulate", 0, "accumulate 0 must be at least 1"),
        ("gradient_clip", math.inf, "gradient_clip inf must be a finite number"),
        ("balance", 1.5, "balance 1.5 must be from 0 to 1"),
        ("phases", (0.5, 5.0), "must be at most 20 shares from 0.1 to 4"),
        ("shrink", 0.5, "shrink 0.5 must be 0 or from 1 to 100"),
        ("frozen_blocks", -1, "frozen_blocks -1 must be at least 0"),
        ("ema_breadth", 0.0, "ema_breadth 0.0 must be from 0.01 to 0.5"),
        ("ema_breadth", 0.6, "ema_breadth 0.6 must be from 0.01 to 0.5"),
        ("reestimate", 1, "reestimate 1 must be 0 or at least 2"),
    ],
)
def test_an_impossible_value_is_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe().changed(**{key: value})


@pytest.mark.parametrize("key", ["phases", "reestimate", "unfreeze_epochs", "frozen_blocks"])
def test_cached_maps_and_what_they_cannot_follow_exclude_each_other(key: str) -> None:
    value: object = (0.5, 1.0) if key == "phases" else 2
    with pytest.raises(RecipeError, match=rf"give --set {key}=(0|\[\]), take --recipe later-"):
        Recipe(trained="later").changed("later"), **{key: value})


def test_all_that_cached_maps_cannot_follow_is_said_at_once() -> None:
    with pytest.raises(RecipeError, match="give --set reestimate=0 --set frozen_blocks=0, take"):
        read_recipe("finetune", ["trained=later"])


def test_what_keeps_lengths_needs_a_batchnorm_that_takes_them_out() -> None:
    with pytest.raises(RecipeError, match="'muon' keeps the length of weights, which BatchNorm"):
        Recipe().changed(optimizer="muon", batch_norm="frozen")


def test_a_teacher_needs_pictures_in_the_steps() -> None:
    for trained in ("later", "head"):
        with pytest.raises(RecipeError, match=f"trained = '{trained}' does not look at pictures"):
            Recipe().changed(trained=trained, distillation=Distillation("runs/big"))


def test_any_path_of_a_teacher_survives_the_round_trip(tmp_path: Path) -> None:
    recipe = Recipe().changed(distillation=Distillation('runs/\U0001f600 "x" \\ ü/best'))
    assert read_recipe(write(tmp_path, recipe.to_toml())) == recipe


def test_set_reaches_into_a_table_and_takes_texts_without_quotes() -> None:
    before = read_recipe("digits")
    changes = ["augmentation.flip=true", "optimizer=adamw", "learning_rate = 1e-3", "epochs=3"]
    after = read_recipe("digits", changes)
    assert after == before.changed(optimizer="adamw", learning_rate=0.001, epochs=3,
        augmentation=dataclasses.replace(before.augmentation, flip=True),
    )  # fmt: skip
    assert not before.augmentation.flip


def test_one_number_is_a_square_and_the_last_change_wins() -> None:
    assert read_recipe("scratch", ["size=96", "size=64"]).size == (64, 64)
    assert read_recipe("scratch", ["size=[48, 64]"]).size == (48, 64)


@pytest.mark.parametrize(
    "change, message",
    [
        ("epochs", "--set 'epochs' must be key=value"),
        ("=3", "--set '=3' must be key=value"),
        ("epochs.more=3", "--set 'epochs.more=3': 'epochs' is not a table"),
        ("epoch=3", "recipe finetune with --set: unknown key 'epoch'; did you mean 'epochs'?"),
        ("augmentation.flip=perhaps", "flip: expected true or false, found 'perhaps'"),
    ],
)
def test_a_mistake_in_a_change_is_named(change: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe("finetune", [change])
    assert message in str(caught.value)


def test_a_missing_recipe_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'fintune' is neither a file nor known; did you mean 'f"):
        read_recipe("fintune")
    with pytest.raises(RecipeError, match="neither a file nor known; known are: digits, distill"):
        read_recipe(str(tmp_path))
