"""``--model`` left out: the embedded model answers, and that is said."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenetv2 import Classifier
from mobilenetv2.cli.main import main
from mobilenetv2.hub.catalogue import DEFAULT

NAMES = "airplane automobile bird cat deer dog frog horse ship truck".split()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def test_predict_answers_and_says_who_does(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(photo), "--json"]) == 0
    out, err = capsys.readouterr()
    (row,) = [json.loads(line) for line in out.splitlines()]
    assert len({g["label"] for g in row["predictions"]} & set(NAMES)) == 5
    assert "embedded" in err and "airplane" in err and f"--model {DEFAULT}" in err
    assert "for your own train one" in err
    assert main(["predict", str(photo), "--json", "--model", "embedded"]) == 0
    again, err = capsys.readouterr()
    assert json.loads(again)["predictions"] == row["predictions"]
    assert err == ""
    answer = Classifier()(photo)
    assert [guess.label for guess in answer.top(5)] == [g["label"] for g in row["predictions"]]


def test_explain_and_evaluate_do_without_one_too(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(photo), "--output", str(tmp_path / "out.png")]) == 0
    assert "embedded" in capsys.readouterr().err and (tmp_path / "out.png").is_file()
    for name in ("cat", "ship"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "a.png").write_bytes(photo.read_bytes())
    assert main(["evaluate", str(tmp_path / "data"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert "embedded" in err and json.loads(out)["images"] == 2
