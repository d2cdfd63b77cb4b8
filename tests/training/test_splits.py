"""Which photo is for what, and what the photos decide."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.data.dataset import Split, open_dataset
from mobilenetv2.data.scan import check_dataset
from mobilenetv2.errors import DataError
from mobilenetv2.training import splits
from mobilenetv2.training.recipe import Distillation, Recipe
from mobilenetv2.training.splits import Splits, divide, sample

Fill = Callable[[Path, int], Path]
DEFAULT = Recipe()


def divided(folder: Path, recipe: Recipe = DEFAULT) -> Splits:
    return divide(check_dataset(open_dataset(folder)), recipe)


def parts(splits: Splits) -> dict[str, set[str]]:
    found = (splits.train, splits.selection, splits.held_out)
    return {part.name: {photo.name for photo in part.photos} for part in found}


@pytest.mark.parametrize(
    "folders, held_out, from_folder",
    [
        (["train", "val", "test"], "validation", "val"),
        (["train", "test"], "test", "test"),
        (["train"], "validation", "train"),
        (["."], "validation", ""),
    ],
)
def test_the_held_out_part_is_validation_else_test_else_split_off(
    folders: list[str], held_out: str, from_folder: str, tmp_path: Path, photo_folder: Fill
) -> None:
    for seed, name in enumerate(folders):
        photo_folder(tmp_path / "data" / name, 10 + seed)
    for index, photo in enumerate(sorted((tmp_path / "data").rglob("*.*"))):
        photo.write_bytes(photo.read_bytes() + bytes(str(index), "ascii"))  # no copies
    found = parts(divided(tmp_path / "data"))
    assert list(found) == ["train", "selection", held_out]
    assert all(name.startswith(from_folder) for name in found[held_out])
    learnt = found["train"] | found["selection"]
    assert not (found["train"] & found["selection"] or learnt & found[held_out])
    whole = {p.name for s in open_dataset(tmp_path / "data").splits.values() for p in s.photos}
    used = {name for name in whole if not (name.startswith("test") and held_out != "test")}
    assert learnt | found[held_out] == used


def test_selection_and_validation_are_shares_of_every_class(photos: Path) -> None:
    splits = divided(photos, DEFAULT.changed(validation=0.25, selection=0.3))
    assert splits.held_out.counts() == [3, 3, 3]
    assert splits.selection.counts() == [3, 3, 3]
    assert splits.train.counts() == [6, 6, 6]
    other = divided(photos, DEFAULT.changed(validation=0.25, selection=0.3, seed=1))
    assert parts(other) != parts(splits)


def test_split_csv_lists_every_photo_once(trained: Path, photos: Path) -> None:
    with (trained / "split.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    on_disk = sorted(p.relative_to(photos).as_posix() for p in photos.rglob("*.*"))
    assert sorted(row["photo"] for row in rows) == on_disk
    assert all(row["photo"].startswith(f"{row['class']}/") for row in rows)
    assert {row["split"] for row in rows} == {"train", "selection", "validation"}


def test_too_few_photos_or_no_train_folder_are_errors(tmp_path: Path, photo_folder: Fill) -> None:
    with pytest.raises(DataError, match="class 'ball' has too few different photos"):
        divided(photo_folder(tmp_path / "two", 2))
    photo_folder(tmp_path / "no" / "validation", 3)
    photo_folder(tmp_path / "no" / "test", 4)
    for photo in (tmp_path / "no" / "test").rglob("*.*"):
        photo.write_bytes(photo.read_bytes() + b"other")
    with pytest.raises(DataError, match="has validation and test, but no train folder"):
        divided(tmp_path / "no")


def test_a_test_folder_that_lacks_a_class_measures_the_others(
    tmp_path: Path, photo_folder: Fill
) -> None:
    photo_folder(tmp_path / "train", 4)
    photo_folder(tmp_path / "test", 6)
    for photo in (tmp_path / "test").rglob("*.*"):
        photo.write_bytes(photo.read_bytes() + b"other")
    shutil.rmtree(tmp_path / "test" / "box")
    checked = check_dataset(open_dataset(tmp_path))
    assert [note for note in checked.notes if "test has no photos of 1 class: 'box'" in note]
    assert divide(checked, DEFAULT).held_out.counts() == [6, 0, 6]


def test_some_photos_are_a_reproducible_sample(photos: Path) -> None:
    split = open_dataset(photos).splits["all"]
    found = sample(split, 10, 0)
    assert len(set(found.photos)) == 10 and set(found.photos) < set(split.photos)
    assert sample(split, 10, 0) == found != sample(split, 10, 1)
    assert sample(split, 36, 0) is split


RECIPE = Recipe().changed(epochs=8, batch_size=32, precision="float32")


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
    split: Split, kept: set[str], recipe: Recipe = RECIPE, size: int = 32
) -> tuple[Recipe, list[str]]:
    return splits.choose(split, recipe, frozenset(kept), (size, size))


def test_of_few_photos_only_a_classifier_is_fitted(split: Split) -> None:
    found = choose(split, {"seed"})
    assert found[0] == RECIPE.changed(trained="head")
    assert found[1][0].startswith(
        "training only a new classifier: 55 training photos are fewer than 400, too few"
    )
    enough = split.with_photos(split.photos * 8)
    assert choose(enough, set())[0].trained == "all"


@pytest.mark.parametrize("key", [
    "trained", "epochs", "optimizer.learning_rate", "optimizer.name", "classifier.fit_first",
])  # fmt: skip
def test_who_asks_for_steps_gets_them(key: str, split: Split) -> None:
    assert choose(split, {key})[0].trained == "all"


def test_a_teacher_is_asked_however_few_photos_there_are(split: Split) -> None:
    taught = RECIPE.changed(distillation=Distillation("teacher", 0.5))
    assert choose(split, set(), taught)[0].trained == "all"


def test_few_steps_uneven_classes_and_the_photos_decide(split: Split) -> None:
    found = choose(split, {"trained"})
    assert found[0] == RECIPE.changed(trained="all", batch_size=6, balance=0.5, epochs=30)
    assert [reason.partition(":")[0] for reason in found[1]] == [
        "batch_size 6", "balance 0.5", "epochs 30",
    ]  # fmt: skip
    assert "10 times" in found[1][1] and "55 training photos" in found[1][2]


@pytest.mark.parametrize(
    ("photos", "epochs"), [(400, 30), (687, 30), (2000, 11), (2761, 8), (5000, 4), (50000, 4)]
)
def test_epochs_follow_from_the_photos_within_bounds(photos: int, epochs: int) -> None:
    assert splits.epochs_for(photos) == epochs


def test_what_a_person_set_stays(split: Split) -> None:
    found = choose(split, {"batch_size", "data.balance", "epochs"})
    assert found == (RECIPE, [])


def test_small_photos_are_trained_on_at_a_smaller_size(split: Split) -> None:
    for trained in ("all", "later", "head"):
        found = choose(split, set(), Recipe().changed(trained=trained), 224)
        assert found[0].network.size == (128, 128) and "40 pixels" in found[1][0]
        kept = {"network.size"}
        assert choose(split, kept, Recipe().changed(trained=trained), 224)[0].network.size is None
    assert choose(split, set(), size=128)[0].network.size is None  # small already
