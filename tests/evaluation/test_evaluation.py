"""``evaluate`` from Python: the figures as attributes, notes, the report, short forms."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilenetv2 as mn
from mobilenetv2.cli.main import main
from mobilenetv2.errors import DataError, MobileNetV2Error
from mobilenetv2.evaluation.evaluation import Evaluation, evaluate
from mobilenetv2.evaluation.metrics import wilson


@pytest.fixture(scope="module")
def found(model: Path, photos: Path) -> Evaluation:
    return evaluate(model, photos)


def test_the_figures_are_those_of_the_answers(found: Evaluation, model: Path, photos: Path) -> None:
    classes = {"triangle": 0, "ball": 1, "box": 2}
    paths = sorted(photos.rglob("*.*"))
    answers = mn.Classifier(model)(paths)
    truth = np.array([classes[path.parent.name] for path in paths])
    named = np.array([answer.index for answer in answers])
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (truth, named), 1)
    np.testing.assert_array_equal(found.confusion, confusion)
    right = int((truth == named).sum())
    assert 0 < right < 36
    assert (found.top1, found.interval) == (right / 36, wilson(right, 36))
    assert (found.images, found.split, found.top5) == (36, "all", 1.0)
    values = np.stack([answer.probabilities for answer in answers])
    assert found.loss == pytest.approx(-np.log(values[np.arange(36), truth]).mean(), abs=1e-5)
    assert [row.name for row in found.classes] == list(found.labels.names)
    assert [row.recall for row in found.classes] == (confusion.diagonal() / 12).tolist()
    assert found.photos == [str(path) for path in paths]
    np.testing.assert_array_equal(found.predictions.truth, truth)
    assert found.calibration.count == 36 and found.metrics.images == 36


def test_its_json_is_the_commands(
    found: Evaluation, model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(photos), "--model", str(model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found.to_dict()))


@pytest.mark.slow
def test_the_report_is_written_at_once_or_later(
    found: Evaluation, model: Path, photos: Path, tmp_path: Path, capsys: Any
) -> None:
    page = found.report(tmp_path / "later" / "deep")
    assert page == tmp_path / "later" / "deep" / "report.html" and page.is_file()
    evaluate(model, photos, report=tmp_path / "at once")
    assert f"report: {tmp_path / 'at once' / 'report.html'}\n" in capsys.readouterr().err
    names = [sorted(path.name for path in folder.iterdir())
             for folder in (page.parent, tmp_path / "at once")]  # fmt: skip
    assert names[0] == names[1] and "metrics.json" in names[0]
    assert "Grad-CAM" in page.read_text("utf-8")


def test_a_private_report_shows_no_photo_and_no_place(
    found: Evaluation, model: Path, photos: Path, tmp_path: Path
) -> None:
    pages = [
        found.report(tmp_path / "later", private=True),
        evaluate(model, photos, report=tmp_path / "once", private=True).report(tmp_path / "open"),
        tmp_path / "once" / "report.html",
    ]
    texts = [page.read_text("utf-8") for page in pages]
    assert ["data:image" in text.replace("data:,", "") for text in texts] == [False, True, False]
    assert [str(photos) in text for text in texts] == [False, True, False]


def test_that_the_model_was_trained_on_these_photos_is_said_and_kept(
    trained: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluate(trained / "best", photos)
    (note,) = found.notes
    assert note.startswith("The model was trained on 27 and selected with 3 of these 36 photos")
    assert "note: the model was trained on 27" in capsys.readouterr().err
    assert "trained on 27" in found._repr_html_()
    held_out = evaluate(str(trained / "best"), str(photos), split="validation")
    assert held_out.notes == () and (held_out.images, held_out.split) == (6, "validation")
    same = evaluate(trained / "best", photos, split="test")  # the test split of the pages
    assert (same.split, same.photos) == ("validation", held_out.photos)
    with pytest.raises(DataError, match="names no photos of 'none'"):
        evaluate(trained / "best", photos, split="none")


def test_a_network_in_memory_is_measured_and_reported_as_its_folder_is(
    model: Path, photos: Path, found: Evaluation, tmp_path: Path
) -> None:
    network = mn.load(model)
    ours = evaluate(network, photos)
    assert ours.result.model == "MobileNetV2" and ours.notes == found.notes
    np.testing.assert_array_equal(ours.predictions.logits, found.predictions.logits)
    page = ours.report(tmp_path / "report").read_text("utf-8")
    theirs = found.report(tmp_path / "theirs").read_text("utf-8")
    assert page.count("data:image") == theirs.count("data:image") > 0


def test_folders_that_match_by_index_only_are_said(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("0", "1", "2", "3"):
        (tmp_path / name).mkdir()
        shutil.copy(photos / "ball" / "00.png", tmp_path / name)
    (note,) = evaluate("embedded", tmp_path).notes
    assert "by index: 0 as 'airplane', 1 as 'automobile', 2 as 'bird' and 1 more; if" in note
    assert f"note: {note[0].lower()}{note[1:-1]}" in capsys.readouterr().err


def test_unreadable_photos_are_left_out_and_named(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for copy in range(4):
        for shape in ("ball", "box", "triangle"):
            shutil.copytree(photos / shape, tmp_path / "d" / shape / f"{shape}-{copy}")
    (tmp_path / "d" / "ball" / "ball-0" / "00.png").write_text("no picture")
    found = evaluate(model, tmp_path / "d")
    assert found.images == 143 and "00.png: not a picture" in found.notes[0]
    assert found.notes[0] in capsys.readouterr().err


def test_it_is_short_and_a_notebook_gets_tables(found: Evaluation, model: Path) -> None:
    low, high = found.interval
    assert repr(found) == (
        f"Evaluation({model} on {found.result.data} (all): {found.top1:.1%} top-1 accuracy "
        f"(n = 36), 95% interval {low:.1%} to {high:.1%})"
    )
    page = found._repr_html_()
    assert page.count("<table>") == 2 and "<th>box, crate</th>" in page
    assert f"{found.loss:.4f}" in page


def test_runtime_and_flips_are_recorded(model: Path, photos: Path) -> None:
    found = evaluate(model, photos, runtime="torch", flips=True, threads=1)
    assert found.result.how == {"runtime": "torch", "device": "cpu", "flips": "yes"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "tset"}, "names photos of 'tset'"),
        ({"runtime": "onnx"}, "runtime 'onnx' is unknown"),
        ({"threads": 0}, "threads 0 must be at least 1"),
        ({"device": "gpu"}, "PyTorch cannot use it here"),
    ],
)
def test_options_that_cannot_be(
    options: dict[str, Any], message: str, model: Path, photos: Path
) -> None:
    with pytest.raises(MobileNetV2Error, match=message):
        evaluate(model, photos, **options)
