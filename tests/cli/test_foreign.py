"""Files of other programs on the command line: predicted, with what was assumed on stderr."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from foreign_networks import Foreign

from mobilenetv2.cli.main import main


def test_predict_takes_labels_preprocessing_and_resize(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Foreign(classes=3, last="Softmax").write(tmp_path / "net.onnx")
    (tmp_path / "names.txt").write_text("0: hat\n1: shoes\n2: bag\n", "utf-8")
    options = ["--labels", str(tmp_path / "names.txt"), "--preprocessing", "-1..1"]
    words = ["predict", str(photos), "--model", str(path), *options, "--resize", "cover", "--json"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == 36
    assert {guess["label"] for guess in lines[0]["predictions"]} == {"hat", "shoes", "bag"}
    for part in ("note: net.onnx: a file of another program", "'-1..1' was given", "--labels"):
        assert part in err


def test_mistakes_are_one_sentence_with_options(
    refused: Callable[..., str], photos: Path, tmp_path: Path, model: Path
) -> None:
    path = Foreign(classes=3).write(tmp_path / "net.onnx")
    (tmp_path / "two.txt").write_text("hat\nshoes\n", "utf-8")
    said = refused("predict", photos, "--model", path, "--labels", tmp_path / "two.txt")
    assert "2 labels by --labels for 3 classes" in said
    said = refused("predict", photos, "--model", path, "--preprocessing", "keros")
    assert "'keros'" in said and "keras" in said
    said = refused("predict", photos, "--model", model, "--labels", tmp_path / "two.txt")
    assert "--labels only apply" in said or "--labels only" in said
