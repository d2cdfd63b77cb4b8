"""Which photo is for what: trained on, chosen by, held out."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.data.scan import check_dataset
from mobilenetv2.errors import DataError
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.splits import Splits, divide, some

Fill = Callable[[Path, int], Path]
RECIPE = Recipe()


def divided(folder: Path, recipe: Recipe = RECIPE) -> Splits:
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
    splits = divided(photos, replace(RECIPE, validation=0.25, selection=0.3))
    assert splits.held_out.counts() == [3, 3, 3]
    assert splits.selection.counts() == [3, 3, 3]
    assert splits.train.counts() == [6, 6, 6]
    other = divided(photos, replace(RECIPE, validation=0.25, selection=0.3, seed=1))
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
    with pytest.raises(DataError, match="has validation and test but no train folder"):
        divided(tmp_path / "no")


def test_some_photos_are_a_reproducible_sample(photos: Path) -> None:
    split = open_dataset(photos).splits["all"]
    sample = some(split, 10, 0)
    assert len(set(sample.photos)) == 10 and set(sample.photos) < set(split.photos)
    assert some(split, 10, 0) == sample != some(split, 10, 1)
    assert some(split, 36, 0) is split
