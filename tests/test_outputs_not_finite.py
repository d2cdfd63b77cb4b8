"""A model whose outputs overflow for some photos: an error for these, and never NaN anywhere."""

import json
from pathlib import Path

import numpy as np
import pytest

import mobilenetv2 as mn
from mobilenetv2.cli.main import main
from mobilenetv2.errors import OutputError
from mobilenetv2.model import store

LARGEST = float(np.finfo(np.float32).max)


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory: pytest.TempPathFactory, model: Path, photos: Path) -> Path:
    """The model with a classifier that adds up to infinity for half of the photos."""
    config, arrays = store.load(model)
    found = mn.predict(photos, model, features=True)
    sums = [float(one.features.sum()) for one in found if one.error is None]
    arrays = dict(arrays)
    weight, bias = np.zeros_like(arrays["classifier.weight"]), arrays["classifier.bias"].copy()
    weight[0], bias[0] = 0.2 * LARGEST / np.median(sums), 0.8 * LARGEST
    arrays |= {"classifier.weight": weight, "classifier.bias": bias}
    folder = tmp_path_factory.mktemp("overflowing") / "model"
    store.save(folder, config, arrays)
    return folder


def no_nan(text: str) -> None:
    """Raise unless every line is JSON as other programs read it."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    for line in text.splitlines():
        json.loads(line, parse_constant=refuse)


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch", "openvino", "litert"])
def test_predict_gives_an_error_for_each_photo_without_an_answer(
    overflowing: Path, photos: Path, runtime: str, capsys: pytest.CaptureFixture[str]
) -> None:
    packages = {"litert": "ai_edge_litert", "torch": "torch", "openvino": "openvino"}
    if runtime in packages:
        pytest.importorskip(packages[runtime])
    command = ["predict", str(photos), "--model", str(overflowing), "--runtime", runtime, "--json"]
    assert main(command) == 1
    out, err = capsys.readouterr()
    no_nan(out)
    rows = [json.loads(line) for line in out.splitlines()]
    errors = [row for row in rows if "error" in row]
    assert 0 < len(errors) < len(rows) == 36
    for row in errors:
        assert row["error"].startswith(f"{row['image']}: {overflowing}: ")
        assert "not finite" in row["error"]
    assert f"{len(errors)} of 36 photos have no answer" in err


def test_other_verbs_refuse_or_count_them(
    overflowing: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    for command, status in (
        (["evaluate", str(photos), "--model", str(overflowing), "--json"], 2),
        (["audit", str(photos), "--model", str(overflowing), "--json"], 2),
        (["explain", str(photos), "--model", str(overflowing), "--output", out, "--json"], 1),
    ):
        assert main(command) == status, command
        given, err = capsys.readouterr()
        no_nan(given)
        where = given if status == 1 else err
        assert "not finite" in where and str(overflowing) in where, command
        assert ".png: " in where or ".jpg: " in where  # the photo


def test_one_photo_is_an_exception_in_python(overflowing: Path, photos: Path) -> None:
    classify = mn.Classifier(overflowing)
    answers = classify([photos])
    failed = [answer.photo for answer in answers if answer.error is not None]
    assert failed[0] is not None
    with pytest.raises(OutputError, match=f"{failed[0].name}: .*not finite"):
        classify(failed[0])


def test_an_export_of_it_is_not_kept(
    overflowing: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.onnx", "a.tflite"):
        if name == "a.tflite":
            pytest.importorskip("ai_edge_litert")
        command = ["export", str(overflowing), str(tmp_path / name), "--keep-inexact", "--json"]
        assert main([*command, "--photos", str(photos)]) == 1
        out, err = capsys.readouterr()
        no_nan(out)
        assert "not finite" in out + err
    assert list(tmp_path.iterdir()) == []
