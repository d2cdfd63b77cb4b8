"""Views: their size by epoch, and that they are a function of (seed, epoch, index)."""

from pathlib import Path

import numpy as np

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Preprocessing
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.views import PhotoViews


def test_sizes_follow_the_phases_in_steps_of_8(photos: Path) -> None:
    split = open_dataset(photos).splits["all"]
    record = Preprocessing.default(NetworkSpec(size=(100, 224)))
    recipe = Recipe(epochs=6, phases=(0.5, 0.75, 1.0))
    views = PhotoViews(split, record, recipe)
    assert [views.size(epoch) for epoch in (0, 2, 4)] == [(48, 112), (72, 168), (100, 224)]
    assert views.view(0, 2).shape == (72, 168, 3)
    small = PhotoViews(split, Preprocessing.default(NetworkSpec(size=(32, 32))), recipe)
    assert small.size(0) == (32, 32)


def test_a_view_can_be_made_again(photos: Path) -> None:
    split = open_dataset(photos).splits["all"]
    record = Preprocessing.default(NetworkSpec(size=(64, 64)))
    views, again = (PhotoViews(split, record, Recipe(seed=seed)) for seed in (0, 0))
    assert np.array_equal(views.view(3, 1), again.view(3, 1))
    assert not np.array_equal(views.view(3, 1), views.view(3, 2))
    assert not np.array_equal(views.view(3, 1), views.view(2, 1))
