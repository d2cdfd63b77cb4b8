"""Photos that calibrate are never judged on, however the folders lie."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.errors import DataError
from mobilenetv2.images.decode import decode, read_photo
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.quantization.calibration_set import CalibrationSet, choose, digest
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Preprocessing

RECORD = Preprocessing.default(NetworkSpec(size=(32, 32)))


def both(found: CalibrationSet) -> set[bytes]:
    """Pictures that are judged and calibrated on, as bytes."""
    judged = {
        preprocess(decode(found.judged.source.read(p.name), p.name), RECORD).tobytes()
        for p in found.judged.photos
    }
    return judged & {picture.tobytes() for picture in found.pictures}


@pytest.fixture
def split(photos: Path, tmp_path: Path) -> Path:
    """train/ and validation/, a third of which are copies of training photos."""
    for path in sorted(photos.rglob("*.*")):
        for part in ("train", "validation")[: 1 + (int(path.stem) % 3 == 0)]:
            (tmp_path / "d" / part / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / "d" / part / path.parent.name / f"{part}{path.name}")
    return tmp_path / "d"


def test_copies_of_judged_photos_do_not_calibrate(split: Path) -> None:
    found = choose(open_dataset(split), RECORD, 100)
    assert len(found.judged) == 12 and len(found.pictures) == 24
    assert found.pictures.shape[1:] == (32, 32, 3) and found.pictures.dtype == np.uint8
    assert not both(found) and found.training is not None
    assert "24 photos of" in found.source


def test_classes_take_turns(split: Path) -> None:
    found = choose(open_dataset(split), RECORD, 3)
    classes = {
        preprocess(read_photo(path), RECORD).tobytes(): path.parent.name
        for path in (split / "train").rglob("*.*")
    }
    assert {classes[picture.tobytes()] for picture in found.pictures} == {"ball", "box", "triangle"}


def test_copies_of_judged_photos_are_not_trained_on(split: Path) -> None:
    found = choose(open_dataset(split), RECORD, 5)
    assert found.training is not None and len(found.training) == 24
    judged = {digest(found.judged.source.read(p.name)) for p in found.judged.photos}
    assert not judged & {digest(found.training.source.read(p.name)) for p in found.training.photos}


def test_what_the_model_was_trained_on_is_not_measured_on(photos: Path) -> None:
    whole = open_dataset(photos)
    parts = {photo.name: "train" for photo in whole.splits["all"].photos}
    for split in ("train", "selection"):
        with pytest.raises(DataError, match=f"was trained on its {split} photos"):
            choose(whole, RECORD, 5, split=split, parts=parts)


def test_a_folder_without_splits_is_divided_the_same_way_every_time(photos: Path) -> None:
    one, two = (choose(open_dataset(photos), RECORD, 10) for _ in range(2))
    assert len(one.pictures) <= 10 and len(one.judged) >= 24 and not both(one)
    assert one.judged.photos == two.judged.photos
    np.testing.assert_array_equal(one.pictures, two.pictures)


def test_a_runs_own_parts_are_kept(photos: Path) -> None:
    whole = open_dataset(photos)
    order = [photo.name for photo in whole.splits["all"].photos]
    parts = {n: ("train", "selection", "validation")[i % 3] for i, n in enumerate(order)}
    found = choose(whole, RECORD, 100, parts=parts)
    assert {parts[p.name] for p in found.judged.photos} == {"validation"}
    assert len(found.pictures) == 24 and not both(found)


def test_photos_from_elsewhere(split: Path, photos: Path) -> None:
    found = choose(open_dataset(split), RECORD, 5, folder=photos)
    assert len(found.pictures) == 5 and not both(found) and len(found.judged) == 12


def test_what_cannot_be_is_said(split: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be used for both calibration and"):
        choose(open_dataset(split), RECORD, 5, split="train")
    with pytest.raises(DataError, match="all its photos are used for the measurement"):
        choose(open_dataset(photos), RECORD, 5, folder=photos)
    shutil.rmtree(split / "train")
    with pytest.raises(DataError, match="no training split for calibration; give calibration, a"):
        choose(open_dataset(split), RECORD, 5)
    with pytest.raises(DataError, match="calibration_photos 0 must be at least 1"):
        choose(open_dataset(photos), RECORD, 0)
