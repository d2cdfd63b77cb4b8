"""What the data and the machine decide, and what they leave alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.data.dataset import Split, open_dataset
from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train import choice
from mobilenetv2.train.recipe import Distillation, Recipe
from mobilenetv2.train.torch import TorchTrainer

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


def choose(
    split: Split, kept: set[str], speed: float, monkeypatch: Any, recipe: Recipe = RECIPE
) -> choice.Choice:
    monkeypatch.setattr(choice, "photos_a_second", lambda *arguments: speed)
    return choice.choose(split, recipe, frozenset(kept), CONFIG, lambda recipe: None)  # type: ignore[arg-type, return-value]


def test_of_few_photos_only_a_classifier_is_fitted(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = choose(split, {"seed"}, 1.0, monkeypatch)
    assert found.recipe == replace(RECIPE, trained="head")
    assert found.reasons[0].startswith("only a new classifier: 55 photos are fewer than the 400")
    enough = split.with_photos(split.photos * 8)
    assert choose(enough, set(), 1.0, monkeypatch).recipe.trained == "all"


@pytest.mark.parametrize("key", ["trained", "epochs", "learning_rate", "optimizer", "head_first"])
def test_who_asks_for_steps_gets_them(
    key: str, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose(split, {key}, 1.0, monkeypatch).recipe.trained == "all"


def test_a_teacher_is_asked_however_few_photos_there_are(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = replace(RECIPE, distillation=Distillation("teacher", 0.5))
    assert choose(split, set(), 1.0, monkeypatch, taught).recipe.trained == "all"


def test_few_steps_uneven_classes_and_the_speed_decide(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = choose(split, {"trained"}, 1.0, monkeypatch)
    assert (found.recipe.batch_size, found.recipe.balance, found.recipe.epochs) == (6, 0.5, 10)
    assert [reason.partition(":")[0] for reason in found.reasons] == [
        "batch_size 6", "balance 0.5", "epochs 10",
    ]  # fmt: skip
    assert "10 times" in found.reasons[1]
    assert "1 photos a second, so that is about 9 minutes of steps" in found.reasons[2]


@pytest.mark.parametrize("speed, epochs", [(0.01, 4), (1000.0, 30)])
def test_epochs_have_bounds(
    split: Split, speed: float, epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose(split, {"trained"}, speed, monkeypatch).recipe.epochs == epochs


def test_little_work_is_told_in_seconds(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    found = choose(split, {"trained"}, 30.0, monkeypatch)
    assert f"about {30 * len(split) / 30:.0f} seconds of steps" in found.reasons[-1]


def test_what_a_person_set_stays(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    found = choose(split, {"batch_size", "balance", "epochs"}, 1.0, monkeypatch)
    assert found == choice.Choice(RECIPE, ())


def test_small_photos_are_trained_on_at_a_smaller_size(split: Split) -> None:
    config = ModelConfig.default(NetworkSpec(width=0.1, classes=2))
    found = choice.choose_size(split, RECIPE, frozenset(), config)
    assert found.recipe.size == (128, 128) and "40 pixels" in found.reasons[0]
    assert choice.choose_size(split, RECIPE, frozenset({"size"}), config).recipe == RECIPE
    assert choice.choose_size(split, RECIPE, frozenset(), CONFIG).recipe == RECIPE  # small already


def test_the_speed_is_measured_with_real_steps(split: Split) -> None:
    trainer = TorchTrainer(MobileNetV2(CONFIG.spec, seed=0), RECIPE)
    before = trainer.dump()["stem.conv.weight"]
    assert choice.photos_a_second(split, RECIPE, CONFIG, trainer) > 0
    assert np.array_equal(trainer.dump()["stem.conv.weight"], before)  # at a rate of zero
