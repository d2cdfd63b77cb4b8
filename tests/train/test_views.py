"""Views: their size by epoch, and that they are a function of (seed, epoch, index)."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.data.augment import Augmentation, augment, generator
from mobilenetv2.data.caches import shrink
from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.data.sources import Source
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Preprocessing
from mobilenetv2.train.recipe import Recipe, replace
from mobilenetv2.train.views import PhotoViews


def test_sizes_follow_the_phases_in_steps_of_8(photos: Path) -> None:
    split = open_dataset(photos).splits["all"]
    record = Preprocessing.default(NetworkSpec(size=(100, 224)))
    recipe = Recipe(epochs=6, phases=(0.5, 0.75, 1.0))
    views = PhotoViews(split, record, recipe)
    assert [views.size(epoch) for epoch in (0, 2, 4)] == [(48, 112), (72, 168), (100, 224)]
    assert views.view(0, 2).shape == (72, 168, 3)
    small = PhotoViews(split, Preprocessing.default(NetworkSpec(size=(32, 32))), recipe)
    assert [small.size(epoch) for epoch in (0, 2, 4)] == [(16, 16), (24, 24), (32, 32)]


def test_a_view_can_be_made_again(photos: Path) -> None:
    split = open_dataset(photos).splits["all"]
    record = Preprocessing.default(NetworkSpec(size=(64, 64)))
    views, again = (PhotoViews(split, record, Recipe(seed=seed)) for seed in (0, 0))
    assert np.array_equal(views.view(3, 1), again.view(3, 1))
    assert not np.array_equal(views.view(3, 1), views.view(3, 2))
    assert not np.array_equal(views.view(3, 1), views.view(2, 1))


@pytest.mark.parametrize(("crop", "held"), [("shifted", True), ("none", True), ("resized", False)])
def test_batches_are_the_views_one_by_one(photos: Path, crop: str, held: bool) -> None:
    split = open_dataset(photos).splits["all"]
    record = Preprocessing.default(NetworkSpec(size=(64, 64)))
    recipe = Recipe(epochs=2, phases=(0.5, 1.0), augmentation=Augmentation(crop=crop))  # type: ignore[arg-type]
    views = PhotoViews(split, record, recipe)
    order = np.array([5, 2, 9, 1, 7, 3])
    for epoch in (0, 1):
        made = list(views.batches(order, epoch, 2, start=1))
        assert [indices.tolist() for _, indices in made] == [[9, 1], [7, 3]]
        for pictures, indices in made:
            expected = np.stack([views.view(int(index), epoch) for index in indices])
            assert np.array_equal(pictures, expected)
        assert (views._small is not None) == held


def test_photos_are_shrunk_for_the_largest_view_unless_the_recipe_says_no(photos: Path) -> None:
    split = open_dataset(photos).splits["all"]
    record = Preprocessing.default(NetworkSpec(size=(64, 64)))
    recipe = Recipe(epochs=2, phases=(0.5, 1.0), shrink=1.5)
    views = PhotoViews(split, record, recipe)
    assert views._shrunk is not None and views._shrunk.side == 96
    assert PhotoViews(split, record, replace(recipe, shrink=0.0))._shrunk is None
    smaller = PhotoViews(split, record.at((16, 16)), replace(recipe, phases=(), shrink=1.0))
    expected = augment(
        shrink(split.image(split.photos[0]), 16), recipe.augmentation, record, (16, 16),
        generator(recipe.seed, 1, 0),
    )  # fmt: skip
    assert np.array_equal(smaller.view(0, 1), expected)
    whole = PhotoViews(split, record, replace(recipe, shrink=0.0))
    image = split.image(split.photos[0])
    random = generator(recipe.seed, 1, 0)
    expected = augment(image, recipe.augmentation, record, (64, 64), random)
    assert np.array_equal(whole.view(0, 1), expected)


class Counting:
    """A source that says how often a file was read."""

    def __init__(self, source: Source) -> None:
        self.source, self.place, self.links, self.reads = source, source.place, 0, 0

    def names(self) -> list[str]:
        return self.source.names()

    def read(self, name: str) -> bytes:
        self.reads += 1
        return self.source.read(name)


@pytest.mark.parametrize("crop", ["resized", "shifted"])
def test_a_photo_is_read_once_for_all_epochs(photos: Path, crop: str) -> None:
    split = open_dataset(photos).splits["all"]
    source = Counting(split.source)
    split = dataclasses.replace(split, source=source)
    record = Preprocessing.default(NetworkSpec(size=(32, 32)))
    recipe = Recipe(epochs=3, augmentation=Augmentation(crop=crop))  # type: ignore[arg-type]
    views = PhotoViews(split, record, recipe)
    for epoch in range(3):
        assert len(list(views.batches(np.arange(len(split)), epoch, 6))) == len(split) // 6
    assert source.reads == len(split)
