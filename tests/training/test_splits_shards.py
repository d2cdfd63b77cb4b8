"""Training on shards: the orders of an epoch, and runs that are killed and go on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilenetv2 as mn
from mobilenetv2.data.batches import epoch_order
from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.errors import RecipeError
from mobilenetv2.training import loop
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.splits import epoch_photos


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    folder = tmp_path_factory.mktemp("sharded") / "shards"
    mn.shard(photos, folder, megabytes=1)
    return folder


def test_the_whole_shuffle_is_that_of_a_folder(shards: Path) -> None:
    split = open_dataset(shards).splits["all"]
    labels = np.array([photo.label for photo in split.photos])
    for recipe in (Recipe(), Recipe().changed({"data.balance": 0.5})):
        expected = epoch_order(labels, recipe.seed, 2, recipe.data.balance)
        assert np.array_equal(epoch_photos(split, labels, recipe, 2), expected)


def test_the_order_of_runs_has_every_photo_once(shards: Path, photos: Path) -> None:
    recipe = Recipe().changed({"data.shuffle": "runs"})
    split = open_dataset(shards).splits["all"]
    orders = [epoch_photos(split, np.zeros(0), recipe, epoch) for epoch in (0, 0, 1)]
    assert np.array_equal(orders[0], orders[1]) and not np.array_equal(orders[0], orders[2])
    assert sorted(orders[0]) == list(range(len(split)))
    part = split.with_photos(split.photos[5:20])
    assert sorted(epoch_photos(part, np.zeros(0), recipe, 0)) == list(range(15))
    with pytest.raises(RecipeError, match="is for shards"):
        epoch_photos(open_dataset(photos).splits["all"], np.zeros(0), recipe, 0)
    with pytest.raises(RecipeError, match="each photo once"):
        recipe.changed({"data.balance": 0.5})


class Killed(BaseException):
    """An end that nothing catches."""


@pytest.mark.slow
@pytest.mark.parametrize("order", ["whole", "runs"])
@pytest.mark.parametrize("crop", ["shifted", "resized"])
def test_killed_within_an_epoch_it_ends_bit_for_bit_the_same(
    shards: Path, photos: Path, tmp_path: Path, quick: tuple[str, ...], order: str, crop: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
    monkeypatch.setattr("mobilenetv2.data.caches.LIMIT", 0)  # photos are read in every epoch
    monkeypatch.setattr("mobilenetv2.data.caches.fits_in_memory", lambda *_: False)
    changes = ["epochs=2", *(word for word in quick if "=" in word)]
    changes += [f"data.shuffle={order}", f"augmentation.crop={crop}"]
    options: dict[str, Any] = {"weights": "none", "changes": changes, "deterministic": True}
    whole = mn.train(shards, tmp_path / "whole", **options)
    if order == "whole":
        assert mn.train(photos, tmp_path / "folder", **options).metrics == whole.metrics

    save, count = loop.Loop.save, 0

    def killing(running: loop.Loop) -> None:
        nonlocal count
        save(running)
        count += 1
        if count == 8:  # in the middle of the second epoch
            raise Killed

    monkeypatch.setattr(loop, "SAVED_EVERY", 0.0)
    monkeypatch.setattr(loop.Loop, "save", killing)
    with pytest.raises(Killed):
        mn.train(shards, tmp_path / "killed", **options)
    monkeypatch.setattr(loop.Loop, "save", save)
    again = mn.train(shards, tmp_path / "killed", resume=True)
    assert again.metrics == whole.metrics
    for name in ("best/model.safetensors", "last/model.safetensors", "split.csv"):
        one, two = ((tmp_path / run / name).read_bytes() for run in ("whole", "killed"))
        assert one == two
