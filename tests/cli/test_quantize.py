"""The verb: verified int8 files, a table, and errors in one sentence."""

import json
from pathlib import Path

import pytest

from mobilenetv2.cli.main import main


def test_int8_of_a_folder_without_splits(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "int8.onnx"
    words = ["quantize", str(model), str(out), "--data", str(photos)]
    assert (
        main([*words, "--calibration-photos", "12", "--weight-bits", "7", "--force", "--json"]) == 0
    )
    found, said = capsys.readouterr()
    row = json.loads(found)
    assert row["format"] == "onnx" and row["bytes"] == out.stat().st_size
    assert "7-bit weights" in row["method"]
    assert row["photos"] >= 24 and row["agreement"] > 0.6  # chance: a third
    assert "calibrating on 12 photos of" in said
    assert main(["predict", str(photos / "ball" / "00.png"), "--model", str(out), "--json"]) == 0
    assert main([*words, "--force"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_the_runs_own_split_is_used(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["quantize", str(trained / "best"), str(tmp_path), "--data", str(photos)]
    assert main([*words, "--format", "onnx", "--force"]) == 0
    shown = capsys.readouterr().out
    assert "float32" in shown and "onnx int8" in shown and "(validation)" in shown
    assert (tmp_path / "model-int8.onnx").is_file()


def test_what_is_wrong_is_one_sentence(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["quantize", str(model)]
    for words, message in (
        ([*base, str(tmp_path / "m"), "--data", str(photos)], "no format has this ending"),
        (
            [*base, str(tmp_path / "m.mnn"), "--data", str(photos)],
            "has no int8; choose onnx",
        ),
        ([*base, str(tmp_path / "m.onnx"), "--data", "nowhere"], "nowhere"),
        (
            [*base, str(tmp_path / "m.onnx"), "--data", str(photos), "--epochs", "2"],
            "epochs needs train",
        ),
        (
            [*base, str(tmp_path / "m.onnx"), "--data", str(photos), "--calibration", str(photos)],
            "all its photos are used for the measurement",
        ),
        (
            [
                *base,
                str(tmp_path / "m.xml"),
                "--data",
                str(photos),
                "--method",
                "nncf",
                "--per-tensor",
            ],
            "does not support per_tensor",
        ),
        (
            [*base, str(tmp_path / "m.onnx"), "--data", str(photos), "--format", "onnx,litert"],
            "give a folder instead",
        ),
    ):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error
    assert list(tmp_path.iterdir()) == []
