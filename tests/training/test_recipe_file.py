"""Recipes: files, names, changes from the command line, and how a mistake in them is named."""

import contextlib
import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.cli.parser import make_parser
from mobilenetv2.data.augment import Augmentation, Mixing
from mobilenetv2.errors import RecipeError
from mobilenetv2.spec.network import HiddenSpec
from mobilenetv2.training.recipe import ALIASES, LARGEST_SEED, Distillation, Recipe
from mobilenetv2.training.recipe_file import (
    every_key,
    keys_of,
    parse_recipe,
    read_recipe,
    recipe_names,
    recipe_toml,
)

share = st.floats(0, 1, exclude_max=True)
part = st.floats(0, 1, exclude_min=True, exclude_max=True)
positive = st.floats(0, 1e300)
side = st.integers(32, 8192)
size = st.none() | st.tuples(side, side)


def changed(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[Recipe]:
    return st.fixed_dictionaries(values).map(Recipe().changed)


recipes = changed(
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
    width=st.none() | positive,
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
    words = (word.strip() for word in said.removeprefix(" recipe: ").strip().split(","))
    assert sorted(word.removeprefix("recipe:").strip() for word in words if word) == recipe_names()


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_equals_its_toml_round_trip(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(name)
    text = recipe_toml(recipe)
    assert read_recipe(write(tmp_path, text)) == recipe
    absent = {"network.width", "network.size", "network.dropout"}
    absent |= {"classifier.pooling", "classifier.hidden"}
    for key in {*every_key()} - absent:
        assert f"\n{key.rpartition('.')[2]} = " in f"\n{text}"


@given(recipes)
def test_any_recipe_equals_its_toml_round_trip(recipe: Recipe) -> None:
    assert parse_recipe(recipe_toml(recipe), "here") == recipe


FLAT = """
network = "small"
size = 32
trained = "all"
epochs = 3
optimizer = "adamw"
learning_rate = 0.5
schedule = "exponential"
epoch_factor = 0.5
ema_decay = 0.9
ema_breadth = 0.2
reestimate = 4
frozen_blocks = 2
batch_norm = "adapt"
head_first = false
phases = [0.5, 1.0]
precision = "float32"

[augmentation]
flip = false
"""


def test_a_file_of_before_there_were_tables_is_read(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, FLAT))
    values = {key: recipe.get(key) for key in every_key()}
    changed = {key for key in values if values[key] != Recipe().get(key)}
    lines = [line.partition(" = ") for line in FLAT.splitlines() if " = " in line]
    flat = {ALIASES.get(key, key) for key, _, _ in lines}
    assert changed == flat - {"trained", "freezing.batch_norm", "flip"} | {"augmentation.flip"}
    assert (recipe.network.name, recipe.network.size) == ("small", (32, 32))
    assert (recipe.optimizer.name, recipe.optimizer.learning_rate) == ("adamw", 0.5)
    assert (recipe.averaging.decay, recipe.freezing.blocks) == (0.9, 2)


@pytest.mark.parametrize("alias", ALIASES)
def test_either_name_of_a_key_sets_it(alias: str) -> None:
    value = {"size": 64, "width": 0.5, "dropout": 0.5}.get(alias, Recipe().get(ALIASES[alias]))
    changes = [f"{name}={json.dumps(value)}" for name in (alias, ALIASES[alias])]
    old, new = (read_recipe("digits", [change]) for change in changes)
    assert old == new
    assert keys_of(changes) == {ALIASES[alias]}


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert read_recipe(write(tmp_path, "")) == Recipe()


@pytest.mark.parametrize(
    "text, message",
    [
        ("epoch = 3", "unknown key 'epoch'; did you mean 'epochs'?"),
        ("[augmentation]\nflp = true", "'augmentation.flp'; did you mean 'augmentation.flip'?"),
        ("learning_rat = 1", "unknown key 'learning_rat'; did you mean 'optimizer.learning_rate'?"),
        ("[optimizer]\nrate = 1", "unknown key 'optimizer.rate'; did you mean 'optimizer."),
        ("[paint]", "unknown key 'paint'; known are: augmentation,"),
        ("colour = 3", "unknown key 'colour'; known are: augmentation, averaging,"),
        ("epochs = 2.5", "epochs: expected a whole number, found 2.5"),
        ("epochs = true", "epochs: expected a whole number, found True"),
        ('learning_rate = "fast"', "learning_rate: expected a number, found 'fast'"),
        ("head_first = 1", "classifier, fit_first: expected true or false, found 1"),
        ('trained = "some"', "trained: expected one of 'all', 'later', 'head', found 'some'"),
        ('size = "big"', "size: expected a list, found 'big'"),
        ("size = [32, 32, 3]", "size: expected 2 values, found 3"),
        ("[cache]\nviews = 0", "cache: views 0 must be from 1 to 1000"),
        ("[mixing]\nmixup = -1", "mixing: mixup -1.0 must be from 0 to 100"),
        (
            f"[augmentation]\noperations = {10**300}0000000000",
            "must be from 0 to 14",
        ),
        ("[distillation]\nshare = 2", "distillation: share 2.0 must be from 0 to 1"),
        ("[augmentation]\njitter = 1", "augmentation: jitter 1.0 must be at least 0 and below 1"),
        (
            'trained = "later"\n[distillation]\nteacher = "m"',
            "trains on cached features",
        ),
        ("augmentation = 3", "augmentation: expected a table, found 3; set a key in it"),
        ("epochs = = 3", "recipe.toml: not a valid TOML file"),
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


def test_any_path_of_a_teacher_survives_the_round_trip(tmp_path: Path) -> None:
    recipe = Recipe().changed(distillation=Distillation('runs/\U0001f600 "x" \\ ü/best'))
    assert read_recipe(write(tmp_path, recipe_toml(recipe))) == recipe


def test_set_reaches_into_a_table_and_takes_texts_without_quotes() -> None:
    before = read_recipe("digits")
    changes = ["augmentation.flip=true", "optimizer=adamw", "learning_rate = 1e-3", "epochs=3"]
    after = read_recipe("digits", changes)
    assert after == before.changed(optimizer="adamw", learning_rate=0.001, epochs=3,
        augmentation=dataclasses.replace(before.augmentation, flip=True),
    )  # fmt: skip
    assert not before.augmentation.flip


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("100", (HiddenSpec(100),)),
        ("[]", ()),
        ('[8, {units = 4, activation = "none", bias = false}]',
         (HiddenSpec(8), HiddenSpec(4, "none", False))),
    ],
)  # fmt: skip
def test_hidden_layers_are_units_or_tables(
    value: str, expected: tuple[HiddenSpec, ...], tmp_path: Path
) -> None:
    recipe = read_recipe("finetune", [f"classifier.hidden={value}", "classifier.outputs=sigmoid"])
    assert recipe.classifier.hidden == expected
    assert read_recipe(write(tmp_path, recipe_toml(recipe))) == recipe
    with pytest.raises(RecipeError, match="hidden units 0 must be"):
        read_recipe("finetune", ["classifier.hidden=0"])


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        ("classifier={hidden=[{units=100}]}", ["classifier.hidden=[{units=100}]"]),
        ("classifier={hidden=[100]}", ["classifier.hidden=[100]"]),
        ('optimizer = {name="adamw", learning_rate=0.5}',
         ["optimizer.name=adamw", "optimizer.learning_rate=0.5"]),
        ("network={size=64}", ["network.size=64"]),
        ("augmentation={flip=true}", ["augmentation.flip=true"]),
        ("augmentation={}", []),
    ],
)  # fmt: skip
def test_an_inline_table_is_the_keys_in_it(table: str, keys: list[str]) -> None:
    assert read_recipe("digits", [table]) == read_recipe("digits", keys)
    assert keys_of([table]) == keys_of(keys) == {key.partition("=")[0] for key in keys}


def test_one_number_is_a_square_and_the_last_change_wins() -> None:
    assert read_recipe("scratch", ["size=96", "size=64"]).network.size == (64, 64)
    assert read_recipe("scratch", ["size=[48, 64]"]).network.size == (48, 64)


@pytest.mark.parametrize(
    "change, message",
    [
        ("epochs", "the change 'epochs' of the recipe must be KEY=VALUE"),
        ("=3", "the change '=3' of the recipe must be KEY=VALUE"),
        ("classifier={hide=3}", "unknown key 'classifier.hide'; did you mean 'classifier.hidden'?"),
        ("epochs.more=3", "unknown key 'epochs.more'; did you mean 'epochs'?"),
        ("optimizer.lr=3", "unknown key 'optimizer.lr'; did you mean 'optimizer.learning_rate'?"),
        ("epoch=3", "recipe finetune, changed: unknown key 'epoch'; did you mean 'epochs'?"),
        ("augmentation.flip=perhaps", "flip: expected true or false, found 'perhaps'"),
    ],
)
def test_a_mistake_in_a_change_is_named(change: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe("finetune", [change])
    assert message in str(caught.value)


def test_a_value_of_a_table_is_an_error_before_keys_in_it_are_set() -> None:
    with pytest.raises(RecipeError, match="augmentation: expected a table, found 3"):
        read_recipe("digits", ["augmentation=3", "augmentation.flip=true"])


def test_a_missing_recipe_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match="'fintune' is neither a file nor the name of a recipe; did you mean 'f"
    ):
        read_recipe("fintune")
    with pytest.raises(
        RecipeError, match="neither a file nor the name of a recipe; known are: digits, distill"
    ):
        read_recipe(str(tmp_path))
