"""Heads on the command line: one logit, several classes a photo, and the softmax over one class."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2 import Classifier
from mobilenetv2.cli.main import main
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

Output = pytest.CaptureFixture[str]
NAMES = ("ball", "box", "triangle")
HEADS = {
    "sigmoid": ClassifierSpec("max", (HiddenSpec(9, bias=False),), outputs="sigmoid"),
    "logit": ClassifierSpec(outputs="logit"),
}


def make(folder: Path, classes: int, head: ClassifierSpec, bias: tuple[float, ...] = ()) -> Path:
    """A model folder with random weights, its last bias as given."""
    spec = published("small", width=0.1, classes=classes, size=32, classifier=head)
    labels = Labels(NAMES[:classes])
    arrays = random_arrays(spec)
    if bias:
        arrays["classifier.bias"] = np.array(bias, np.float32)
    store.save(folder, ModelConfig(spec, Preprocessing.default(spec), labels), arrays)
    return folder


def predicted(capsys: Output, *words: str | Path) -> list[dict[str, Any]]:
    assert main(["predict", *map(str, words), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_one_logit_gives_both_classes(
    runtime: str, photos: Path, tmp_path: Path, capsys: Output
) -> None:
    model = make(tmp_path / "m", 2, ClassifierSpec(outputs="logit"))
    for row in predicted(capsys, photos / "ball", "--model", model, "--runtime", runtime):
        values = {one["label"]: one["probability"] for one in row["predictions"]}
        assert set(values) == {"ball", "box"} and sum(values.values()) == pytest.approx(1)
        assert 0 < values["ball"] < 1
    answer = Classifier(model)(photos / "ball" / "00.png")
    assert [guess.label for guess in answer.top()] == [
        one["label"]
        for one in predicted(capsys, photos / "ball" / "00.png", "--model", model)[0]["predictions"]
    ]


def test_of_sigmoids_every_class_above_a_half_is_shown(
    photos: Path, tmp_path: Path, capsys: Output
) -> None:
    head = ClassifierSpec(hidden=(HiddenSpec(8),), outputs="sigmoid")
    photo = photos / "box" / "00.png"
    several = make(tmp_path / "several", 3, head, (60.0, 50.0, -50.0))
    (row,) = predicted(capsys, photo, "--model", several)
    assert [one["label"] for one in row["predictions"]] == ["ball", "box"]
    assert min(one["probability"] for one in row["predictions"]) > 0.9
    (row,) = predicted(capsys, photo, "--model", several, "--top", "1")
    assert len(row["predictions"]) == 1
    none = make(tmp_path / "none", 3, head, (-50.0, -50.0, -50.0))
    assert predicted(capsys, photo, "--model", none)[0]["predictions"] == []
    assert main(["predict", str(photo), "--model", str(none)]) == 0
    assert "no class above 50%" in capsys.readouterr().out
    assert main(["predict", str(photo), "--model", str(none), "--csv", str(tmp_path / "c")]) == 0
    assert (tmp_path / "c").read_text().splitlines()[1] == f"{photo},,,,,"


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_a_softmax_over_one_class_is_refused_by_whatever_asks_for_its_answer(
    runtime: str, photos: Path, tmp_path: Path, refused: Callable[..., str], capsys: Output
) -> None:
    model = make(tmp_path / "one", 1, ClassifierSpec())
    asked: list[list[str | Path]] = [
        ["predict", photos / "ball", "--model", model, "--runtime", runtime],
        ["evaluate", photos, "--model", model, "--runtime", runtime],
        ["explain", photos / "ball", "--model", model, "--runtime", runtime],
        ["audit", photos, "--model", model, "--runtime", runtime],
        ["export", model, tmp_path / "m.onnx"],
        ["quantize", model, tmp_path / "m.onnx", "--data", photos],
    ]
    for words in asked:
        message = refused(*words)
        assert str(model) in message and "a softmax over one class" in message
        assert '"outputs": "logit"' in message
    words = [photos / "ball" / "00.png", "--model", model, "--features"]
    assert len(predicted(capsys, *words)[0]["features"]) > 1  # its features are as good as any


def test_the_description_shows_the_head(tmp_path: Path, capsys: Output) -> None:
    head = ClassifierSpec("max", (HiddenSpec(100, bias=False, dropout=0.3),), False, "sigmoid")
    model = make(tmp_path / "m", 3, head)
    assert main(["describe", "--spec", str(model)]) == 0
    shown = capsys.readouterr().out
    for part in ("max pooling", "hidden 100 without bias (relu)", "dropout 0.3",
                 "linear 3 without bias", "sigmoid", "hidden.0"):  # fmt: skip
        assert part in shown, part


def test_heads_are_evaluated_and_exported(photos: Path, tmp_path: Path, capsys: Output) -> None:
    head = ClassifierSpec("max", (HiddenSpec(8),), outputs="sigmoid")
    model = make(tmp_path / "m", 3, head)
    assert main(["evaluate", str(photos), "--model", str(model)]) == 0
    assert "top-1" in capsys.readouterr().out
    assert main(["export", str(model), str(tmp_path / "m.onnx"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True
    photo = photos / "box" / "00.png"
    ours, theirs = (
        predicted(capsys, photo, "--model", one) for one in (model, tmp_path / "m.onnx")
    )
    assert [one["label"] for one in ours[0]["predictions"]] == [
        one["label"] for one in theirs[0]["predictions"]
    ]


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
    if outputs == "logit":
        assert set(shares) == {"ball", "box"} and sum(shares.values()) == pytest.approx(1)
    assert main(["export", str(model), str(tmp_path / "m.onnx")]) == 0
    capsys.readouterr()
    drawn, exported = (
        printed(capsys, "explain", photo, "--model", one, "--output", tmp_path / name, "--json")
        for one, name in ((model, "x.png"), (tmp_path / "m.onnx", "y.png"))
    )
    assert exported["explanations"] == [
        {**one, "probability": pytest.approx(one["probability"])} for one in drawn["explanations"]
    ]
    drawn = drawn["explanations"]
    every = {one["label"]: one["probability"] for one in drawn}
    shown = {name: p for name, p in every.items() if outputs == "logit" or p > 0.5}
    assert set(every) == {"ball", "box"} and shown == pytest.approx(shares, abs=1e-6)
    report = tmp_path / "report"
    found = printed(capsys, "evaluate", two, "--model", model, "--report", report, "--json")
    assert ("macro_f1" in found) == (outputs == "sigmoid")
    assert found["top1"] == np.trace(found["confusion"]) / 24 and found["loss"] > 0
    assert "support the answer (Grad-CAM)" in (report / "report.html").read_text("utf-8")
    assert main(["evaluate", str(two), "--model", str(model)]) == 0
    out = capsys.readouterr().out
    assert ("mAP" in out) == ("F1" in out) == (outputs == "sigmoid") and "top-1" in out
    assert printed(capsys, "audit", two, "--model", model, "--json")["photos"] == 24
