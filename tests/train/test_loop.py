"""What the loop is made of: rates and judging.

``test_torch``, ``test_torch_killed`` and ``test_run_editions`` run the whole loop.
"""

from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.data.batches import epoch_order
from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.spec.names import is_statistic
from mobilenetv2.spec.published import published
from mobilenetv2.train.loop import judge, rate_of
from mobilenetv2.train.recipe import Recipe, replace
from mobilenetv2.train.torch import TorchTrainer
from mobilenetv2.train.views import PhotoViews


def test_the_rate_follows_the_schedule_that_the_recipe_names() -> None:
    recipe = Recipe(epochs=2, learning_rate=1.0, warmup_epochs=0.5)
    assert [rate_of(recipe, step, 4) for step in (0, 1, 2, 7)] == pytest.approx(
        [1 / 3, 2 / 3, 1.0, 0.5 * (1 + np.cos(np.pi * 5 / 6))]
    )
    recipe = Recipe(
        epochs=3, learning_rate=1.0, warmup_epochs=0, schedule="exponential", epoch_factor=0.5
    )
    assert [rate_of(recipe, step, 4) for step in (0, 3, 4, 11)] == [1, 1, 0.5, 0.25]
    recipe = Recipe(epochs=3, learning_rate=0.5, warmup_epochs=0.5, schedule="constant")
    assert [rate_of(recipe, step, 4) for step in (0, 2, 3, 11)] == [0.5 / 3, 0.5, 0.5, 0.5]
    assert rate_of(Recipe(epochs=1, learning_rate=1.0, warmup_epochs=5), 3, 4) == 0.8


def test_judging_with_measured_statistics_gives_the_mean_over_batches_and_moves_nothing(
    photos: Path,
) -> None:
    split = open_dataset(photos).splits["all"]
    recipe = Recipe(reestimate=12, batch_size=6, precision="float32")
    trainer = TorchTrainer(
        MobileNetV2(published("small", width=0.1, classes=3, dropout=0.0), seed=0), recipe
    )
    config = trainer.network.config
    views = PhotoViews(split, config.preprocessing, recipe)
    before = trainer.dump()
    labels = np.array([photo.label for photo in split.photos])
    judged, metrics = judge(trainer, before, config, split, views, labels, recipe, 0)
    assert metrics.images == len(split)
    after = trainer.dump()
    assert all(np.array_equal(after[name], before[name]) for name in before)
    moved = {name for name in judged if not np.array_equal(judged[name], before[name])}
    assert moved == {name for name in before if is_statistic(name)}
    frozen = replace(recipe, batch_norm="frozen")
    same, _ = judge(trainer, before, config, split, views, labels, frozen, 0)
    assert all(np.array_equal(same[name], before[name]) for name in before)
    # The stem's mean is that of its convolution's outputs over both batches.
    order = epoch_order(labels, recipe.seed, 0)[:12]
    assert set(labels[order]) == {0, 1, 2}  # and not the first class alone
    pictures = np.stack([views.view(index, 0) for index in order])
    x = trainer._inputs(pictures)
    outputs = trainer.network.stem.conv(x).mean((0, 2, 3)).detach().numpy()
    assert judged["stem.bn.mean"] == pytest.approx(outputs, abs=1e-5)
