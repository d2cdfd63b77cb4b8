"""Networks whose outputs are any of n, or one logit, through the verbs that answer."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.cli.main import main
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

HEADS = {
    "sigmoid": ClassifierSpec("max", (HiddenSpec(9, bias=False),), outputs="sigmoid"),
    "logit": ClassifierSpec(outputs="logit"),
}


@pytest.fixture(params=HEADS)
def headed(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """What the outputs are, and a model folder of the classes 'ball' and 'box'."""
    spec = NetworkSpec(
        width=0.1, classes=2, size=(32, 32), head_channels=24, classifier=HEADS[request.param]
    )
    config = ModelConfig(spec, Preprocessing.default(spec), Labels(("ball", "box")))
    store.save(tmp_path / "model", config, random_arrays(spec))
    return request.param, tmp_path / "model"


@pytest.fixture
def two(photos: Path, tmp_path: Path) -> Path:
    for name in ("ball", "box"):
        (tmp_path / "two" / name).mkdir(parents=True)
        for file in (photos / name).iterdir():
            (tmp_path / "two" / name / file.name).write_bytes(file.read_bytes())
    return tmp_path / "two"


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert main([str(argument) for argument in arguments]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[0])


def test_every_verb_that_answers_follows_the_outputs(
    headed: tuple[str, Path], two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs, model = headed
    photo = next((two / "ball").iterdir())
    answer = printed(capsys, "predict", photo, "--model", model, "--json")["predictions"]
    shares = {one["label"]: one["probability"] for one in answer}
    assert set(shares) == {"ball", "box"}
    assert (sum(shares.values()) == pytest.approx(1)) == (outputs == "logit")
    drawn = printed(
        capsys, "explain", photo, "--model", model, "--output", tmp_path / "x.png", "--json"
    )["explanations"]
    assert {one["label"]: one["probability"] for one in drawn} == pytest.approx(shares, abs=1e-6)
    report = tmp_path / "report"
    found = printed(capsys, "evaluate", two, "--model", model, "--report", report, "--json")
    assert ("macro_f1" in found) == (outputs == "sigmoid")
    assert found["top1"] == np.trace(found["confusion"]) / 24 and found["loss"] > 0
    assert "answer glows (Grad-CAM)" in (report / "report.html").read_text("utf-8")
    assert main(["evaluate", str(two), "--model", str(model)]) == 0
    out = capsys.readouterr().out
    assert ("mAP" in out) == ("F1" in out) == (outputs == "sigmoid") and "top-1" in out
    assert printed(capsys, "audit", two, "--model", model, "--json")["photos"] == 24
