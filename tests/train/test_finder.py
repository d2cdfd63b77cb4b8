"""The learning-rate finder: it finds, it stops, and it leaves no trace."""

from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.data.augment import Augmentation
from mobilenetv2.data.dataset import Split, open_dataset
from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.errors import RecipeError
from mobilenetv2.evaluate import plots
from mobilenetv2.spec.published import published
from mobilenetv2.train.finder import find_rate, suggest
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.torch import TorchTrainer
from mobilenetv2.train.views import PhotoViews

SPEC = published("small", width=0.1, classes=3)
RECIPE = Recipe(
    batch_size=36, precision="float32", dropout=0.0, label_smoothing=0.0,
    augmentation=Augmentation(crop="none", flip=False, jitter=0.0),
)  # fmt: skip


@pytest.fixture(scope="module")
def split(photos: Path) -> Split:
    return open_dataset(photos).splits["all"]


def test_it_suggests_a_rate_that_learns_and_leaves_the_trainer_as_it_was(
    split: Split, tmp_path: Path
) -> None:
    trainer = TorchTrainer(MobileNetV2(SPEC, seed=0), RECIPE)
    before = trainer.state()
    views = PhotoViews(split, trainer.network.config.preprocessing, RECIPE)
    trial = find_rate(trainer, split, views, RECIPE, steps=60)
    assert 1e-3 < trial.suggestion < 1
    assert list(trial.rates) == sorted(trial.rates) and len(trial.rates) == len(trial.losses)
    assert min(trial.losses) < 0.8 * trial.losses[0]
    after = trainer.state()
    left = after.keys() - before.keys()
    assert all(not after[name].any() for name in left)  # momentum, as it is at the start
    assert all(np.array_equal(after[name], before[name]) for name in before)
    plots.rates(trial.rates, trial.losses, trial.suggestion, tmp_path / "rate.png")
    assert (tmp_path / "rate.png").read_bytes()[:4] == b"\x89PNG"


def test_the_suggestion_is_a_third_of_the_best_to_two_digits() -> None:
    assert suggest([0.001, 0.01, 0.1, 1.0], [2.0, 1.5, 1.0, 3.0]) == 0.033


def test_a_loss_that_never_falls_is_said() -> None:
    with pytest.raises(RecipeError, match="no learning rate makes the loss fall"):
        suggest([0.001, 0.01], [1.0, 2.0])
    with pytest.raises(RecipeError, match="no learning rate"):
        suggest([], [])
