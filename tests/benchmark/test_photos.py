"""Photos that are judged are never those that were calibrated on."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.benchmark import photos as room
from mobilenetv2.benchmark.photos import Photos, Wanted, choose_photos, draw_some
from mobilenetv2.errors import ArtifactError, DataError
from mobilenetv2.evaluate.run_record import TrainedOn
from mobilenetv2.model.store import load_config
from mobilenetv2.spec.records import ModelConfig

Fill = Callable[[Path, int], Path]


@pytest.fixture(scope="module")
def config(model: Path) -> ModelConfig:
    return load_config(model)


def choose(config: ModelConfig, **wanted: Any) -> Photos:
    return choose_photos(config, Wanted(**wanted), TrainedOn())


def distinct(*groups: np.ndarray) -> list[set[bytes]]:
    return [{picture.tobytes() for picture in group} for group in groups]


def test_pictures_made_here_have_no_truth(config: ModelConfig) -> None:
    found = choose(config)
    assert found.pictures.shape == (32, *config.spec.size, 3) and found.truth is None
    assert found.calibration is None and found.pictures.std() > 20


def test_a_folder_without_splits_is_divided(config: ModelConfig, photos: Path) -> None:
    found = choose(config, data=str(photos), int8="if possible")
    assert found.calibration is not None and found.truth is not None
    judged, calibrated = distinct(found.pictures, found.calibration)
    assert judged and calibrated and not judged & calibrated
    assert len(found.truth) == len(found.pictures) and set(found.truth) == {0, 1, 2}
    whole = choose(config, data=str(photos))
    assert len(whole.pictures) == 36 and whole.calibration is None


def test_the_training_split_calibrates_and_the_test_split_judges(
    config: ModelConfig, photo_folder: Fill, tmp_path: Path
) -> None:
    photo_folder(tmp_path / "d" / "train", 4)
    photo_folder(tmp_path / "d" / "test", 6)  # of which 4 are copies of those in train
    found = choose(config, data=str(tmp_path / "d"), int8="if possible")
    assert len(found.pictures) == 18 and found.calibration is None  # nothing is left to calibrate
    photo_folder(tmp_path / "e" / "train", 8)
    photo_folder(tmp_path / "e" / "test", 2)
    found = choose(config, data=str(tmp_path / "e"), int8="if possible")
    assert found.calibration is not None and len(found.calibration) == 18
    assert "(test)" in found.source and not set.intersection(
        *distinct(found.pictures, found.calibration)
    )


def test_int8_by_default_is_left_out_with_a_note_and_by_name_is_an_error(
    config: ModelConfig, photo_folder: Fill, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    photo_folder(tmp_path / "validation", 2)
    found = choose(config, data=str(tmp_path), int8="if possible")
    assert found.calibration is None and len(found.pictures) == 6
    assert "note: int8 is left out: " in capsys.readouterr().err
    with pytest.raises(DataError, match="--calibration"):
        choose(config, data=str(tmp_path), int8="yes")
    with pytest.raises(ArtifactError, match="give --calibration FOLDER, or --data"):
        choose(config, int8="yes")


def test_a_folder_to_calibrate_on(config: ModelConfig, photos: Path) -> None:
    found = choose(config, calibration=str(photos / "ball"), int8="yes")
    assert found.calibration is not None and len(found.calibration) == 12
    assert found.calibrated_on == f"12 photos of {photos / 'ball'}" and found.truth is None


def test_of_many_photos_some_are_drawn_always_the_same(
    config: ModelConfig, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert draw_some("abc", 3) == ["a", "b", "c"]
    some = draw_some(range(1000), 10)
    assert some == draw_some(range(1000), 10) == sorted(set(some)) and some != list(range(10))
    monkeypatch.setattr(room, "MOST_PHOTOS", 10)
    found = choose(config, data=str(photos))
    assert len(found.pictures) == 10 and found.truth is not None and len(set(found.truth)) > 1
    assert dataclasses.asdict(found)["source"].startswith("10 photos of ")
