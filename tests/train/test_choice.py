"""What the photos decide, and what they leave alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.data.dataset import Split, open_dataset
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train import choice
from mobilenetv2.train.recipe import Distillation, Recipe

RECIPE = Recipe(epochs=8, batch_size=32, precision="float32")
CONFIG = ModelConfig.default(published("small", width=0.1, classes=2))


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """50 photos of one class and 5 of the other, 40 x 60 pixels."""
    folder = tmp_path_factory.mktemp("uneven")
    random = np.random.default_rng(0)
    for name, count in (("many", 50), ("few", 5)):
        (folder / name).mkdir()
        for index in range(count):
            pixels = random.integers(0, 256, (60, 40, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return open_dataset(Path(folder)).splits["all"]


def choose(split: Split, kept: set[str], recipe: Recipe = RECIPE) -> choice.Choice:
    return choice.choose(split, recipe, frozenset(kept))


def test_of_few_photos_only_a_classifier_is_fitted(split: Split) -> None:
    found = choose(split, {"seed"})
    assert found.recipe == replace(RECIPE, trained="head")
    assert found.reasons[0].startswith("only a new classifier: 55 photos are fewer than the 400")
    enough = split.with_photos(split.photos * 8)
    assert choose(enough, set()).recipe.trained == "all"


@pytest.mark.parametrize("key", ["trained", "epochs", "learning_rate", "optimizer", "head_first"])
def test_who_asks_for_steps_gets_them(key: str, split: Split) -> None:
    assert choose(split, {key}).recipe.trained == "all"


def test_a_teacher_is_asked_however_few_photos_there_are(split: Split) -> None:
    taught = replace(RECIPE, distillation=Distillation("teacher", 0.5))
    assert choose(split, set(), taught).recipe.trained == "all"


def test_few_steps_uneven_classes_and_the_photos_decide(split: Split) -> None:
    found = choose(split, {"trained"})
    assert (found.recipe.batch_size, found.recipe.balance, found.recipe.epochs) == (6, 0.5, 30)
    assert [reason.partition(":")[0] for reason in found.reasons] == [
        "batch_size 6", "balance 0.5", "epochs 30",
    ]  # fmt: skip
    assert "10 times" in found.reasons[1] and "55 photos" in found.reasons[2]


@pytest.mark.parametrize(
    ("photos", "epochs"), [(400, 30), (687, 30), (2000, 11), (2761, 8), (5000, 4), (50000, 4)]
)
def test_epochs_follow_from_the_photos_within_bounds(photos: int, epochs: int) -> None:
    assert choice.epochs_for(photos) == epochs


def test_what_a_person_set_stays(split: Split) -> None:
    found = choose(split, {"batch_size", "balance", "epochs"})
    assert found == choice.Choice(RECIPE, ())


def test_small_photos_are_trained_on_at_a_smaller_size(split: Split) -> None:
    config = ModelConfig.default(NetworkSpec(width=0.1, classes=2))
    found = choice.choose_size(split, RECIPE, frozenset(), config)
    assert found.recipe.size == (128, 128) and "40 pixels" in found.reasons[0]
    assert choice.choose_size(split, RECIPE, frozenset({"size"}), config).recipe == RECIPE
    assert choice.choose_size(split, RECIPE, frozenset(), CONFIG).recipe == RECIPE  # small already
