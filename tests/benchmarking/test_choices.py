"""Who takes part; photos that are judged are never those that were calibrated on."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2 import formats
from mobilenetv2.benchmarking import choices
from mobilenetv2.benchmarking.choices import (
    Candidate,
    Photos,
    candidates_in,
    choose_candidates,
    choose_photos,
    cross,
    draw_some,
    precision_of,
)
from mobilenetv2.errors import ArtifactError, DataError, MissingExtra
from mobilenetv2.evaluation.run_record import TrainedOn
from mobilenetv2.files import sha256_of_file
from mobilenetv2.formats import RUNTIMES
from mobilenetv2.model.store import load_config
from mobilenetv2.spec.records import ModelConfig


def test_runtimes_are_crossed_with_the_precisions_that_they_have() -> None:
    found = cross(["onnxruntime", "ncnn", "keras"], ["float32", "float16", "int8"])
    assert [(who.runtime, who.precision) for who in found] == [
        ("onnxruntime", "float32"), ("ncnn", "float32"), ("keras", "float32"),
        ("onnxruntime", "float16"), ("ncnn", "float16"), ("onnxruntime", "int8"),
    ]  # fmt: skip
    with pytest.raises(ArtifactError, match=r"int8 .*ncnn, keras; choose .*onnxruntime, openvino"):
        cross(["ncnn", "keras"], ["int8"])


def test_files_of_a_folder_run_in_every_runtime_that_takes_them(tmp_path: Path) -> None:
    for name in ("b.onnx", "a.tflite", "a.tflite.comparison.json", "notes.txt", ".partial-x.onnx"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "folder.onnx").mkdir()
    found = candidates_in(tmp_path, list(RUNTIMES))
    assert [(who.runtime, who.path and who.path.name) for who in found] == [
        ("litert", "a.tflite"), ("onnxruntime", "b.onnx"), ("openvino", "b.onnx")
    ]  # fmt: skip
    assert [who.runtime for who in candidates_in(tmp_path, ["openvino"])] == ["openvino"]
    with pytest.raises(ArtifactError, match=rf"{tmp_path}: .* mnn; .*\.mnn"):
        candidates_in(tmp_path, ["mnn"])
    with pytest.raises(ArtifactError, match="no such folder"):
        candidates_in(tmp_path / "none", ["mnn"])


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"precision": "int8"}, "int8"),
        ({"precision": "float16"}, "float16"),
        ({"precision": "<b>"}, "?"),
        ({"precision": ["int8"]}, "?"),
        ({"precision": "int8", "sha256": "0" * 64}, "?"),  # of another file
        ([], "?"),
        (None, "?"),
    ],
)
def test_a_files_precision_is_what_its_own_record_says(
    tmp_path: Path, record: Any, expected: str
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"network")
    if isinstance(record, dict):
        record = {"sha256": sha256_of_file(path), **record}
    if record is not None:
        (tmp_path / "m.onnx.comparison.json").write_text(json.dumps(record))
    assert precision_of(path) == expected


def test_a_name_says_which_row_it_is() -> None:
    assert Candidate("litert", "litert", "int8").name == "litert int8"
    assert Candidate("litert", "litert", "?", Path("a/b.tflite")).name == "litert b.tflite"


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Any:
    def forget(*absent: str) -> None:
        monkeypatch.setattr(formats, "is_installed", lambda name: name not in absent)

    return forget


def names(found: Sequence[Candidate]) -> list[tuple[str, str]]:
    return [(who.runtime, who.precision) for who in found]


def chosen(
    exported: Path | None = None,
    runtimes: list[str] | None = None,
    precisions: list[str] | None = None,
    int8: bool = False,
) -> list[Candidate]:
    return choose_candidates(exported, runtimes, precisions, None, int8)


def test_what_is_not_installed_is_named_with_the_line_that_installs_it(
    without: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    without("ncnn")
    found = names(chosen(precisions=["float32", "int8"]))
    assert ("openvino", "float32") in found and ("openvino", "int8") in found
    assert ("ncnn", "float32") not in found and ("onnxruntime", "int8") in found
    notes = capsys.readouterr().err
    assert "ncnn is left out" in notes and "install it with: " in notes
    with pytest.raises(MissingExtra, match=r"ncnn .*install it with: .*"):
        chosen(runtimes=["onnxruntime", "ncnn"])


def test_int8_takes_part_by_itself_where_there_are_photos(without: Any) -> None:
    without("none")
    assert {precision for _, precision in names(chosen())} == {"float32"}
    assert {precision for _, precision in names(chosen(int8=True))} == {"float32", "int8"}
    found = names(chosen(precisions=["float16"], int8=True))
    assert {precision for _, precision in found} == {"float16"}


Fill = Callable[[Path, int], Path]


@pytest.fixture(scope="module")
def config(model: Path) -> ModelConfig:
    return load_config(model)


def photos_of(config: ModelConfig, **wanted: Any) -> Photos:
    return choose_photos(config, TrainedOn(), **wanted)


def distinct(*groups: np.ndarray) -> list[set[bytes]]:
    return [{picture.tobytes() for picture in group} for group in groups]


def test_pictures_made_here_have_no_truth(config: ModelConfig) -> None:
    found = photos_of(config)
    assert found.pictures.shape == (32, *config.spec.size, 3) and found.truth is None
    assert found.calibration is None and found.pictures.std() > 20


def test_a_folder_without_splits_is_divided(config: ModelConfig, photos: Path) -> None:
    found = photos_of(config, data=str(photos), int8="if possible")
    assert found.calibration is not None and found.truth is not None
    judged, calibrated = distinct(found.pictures, found.calibration)
    assert judged and calibrated and not judged & calibrated
    assert len(found.truth) == len(found.pictures) and set(found.truth) == {0, 1, 2}
    whole = photos_of(config, data=str(photos))
    assert len(whole.pictures) == 36 and whole.calibration is None


def test_the_training_split_calibrates_and_the_test_split_judges(
    config: ModelConfig, photo_folder: Fill, tmp_path: Path
) -> None:
    photo_folder(tmp_path / "d" / "train", 4)
    photo_folder(tmp_path / "d" / "test", 6)  # of which 4 are copies of those in train
    found = photos_of(config, data=str(tmp_path / "d"), int8="if possible")
    assert len(found.pictures) == 18 and found.calibration is None  # nothing is left to calibrate
    photo_folder(tmp_path / "e" / "train", 8)
    photo_folder(tmp_path / "e" / "test", 2)
    found = photos_of(config, data=str(tmp_path / "e"), int8="if possible")
    assert found.calibration is not None and len(found.calibration) == 18
    assert "(test)" in found.source and not set.intersection(
        *distinct(found.pictures, found.calibration)
    )


def test_int8_by_default_is_left_out_with_a_note_and_by_name_is_an_error(
    config: ModelConfig, photo_folder: Fill, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    photo_folder(tmp_path / "validation", 2)
    found = photos_of(config, data=str(tmp_path), int8="if possible")
    assert found.calibration is None and len(found.pictures) == 6
    assert "int8 is left out" in capsys.readouterr().err
    with pytest.raises(DataError, match="give calibration"):
        photos_of(config, data=str(tmp_path), int8="yes")
    with pytest.raises(ArtifactError, match=r"give calibration, a folder of photos, or data"):
        photos_of(config, int8="yes")


def test_a_folder_to_calibrate_on(config: ModelConfig, photos: Path) -> None:
    found = photos_of(config, calibration=str(photos / "ball"), int8="yes")
    assert found.calibration is not None and len(found.calibration) == 12
    assert found.calibrated_on == f"12 photos of {photos / 'ball'}" and found.truth is None


def test_of_many_photos_some_are_drawn_always_the_same(
    config: ModelConfig, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert draw_some("abc", 3) == ["a", "b", "c"]
    some = draw_some(range(1000), 10)
    assert some == draw_some(range(1000), 10) == sorted(set(some)) and some != list(range(10))
    monkeypatch.setattr(choices, "MOST_PHOTOS", 10)
    found = photos_of(config, data=str(photos))
    assert len(found.pictures) == 10 and found.truth is not None and len(set(found.truth)) > 1
    assert dataclasses.asdict(found)["source"].startswith("10 photos of ")
