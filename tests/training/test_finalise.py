"""The end of a run: what is tempered, measured and written down, and how it is put into words."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.evaluation.calibration import FEWEST, measure_calibration
from mobilenetv2.evaluation.metrics import Metrics, measure
from mobilenetv2.evaluation.predictions import Predictions
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.training.checkpoint import COLUMNS, Row
from mobilenetv2.training.finalise import finalise, summary, take_figures
from mobilenetv2.training.folder import RunFolder
from mobilenetv2.training.job import Job, Run
from mobilenetv2.training.recipe import Cache, Recipe
from mobilenetv2.training.splits import Splits

Begun = Callable[..., Run]
RECIPE = Recipe().changed(precision="float32")


@pytest.fixture
def splits(photos: Path) -> Splits:
    whole = open_dataset(photos).splits["all"]
    parts = (whole.with_photos(whole.photos[i::3], n) for i, n in enumerate("abc"))
    train, selection, held_out = parts
    return Splits(
        train.with_photos(train.photos, "train"),
        selection.with_photos(selection.photos * 10, "selection"),
        held_out.with_photos(held_out.photos, "validation"),
    )


@pytest.fixture
def too_sure(begun: Begun, splits: Splits) -> Begun:
    """A run whose best network is far too sure of its answers."""

    def make(folder: Path, recipe: Recipe = RECIPE, photos: Splits = splits) -> Run:
        run = begun(folder, photos, recipe, published("small", width=0.1, classes=3))
        arrays = random_arrays(run.config.spec)
        arrays["classifier.weight"] = 20 * arrays["classifier.weight"]
        store.save(run.best, run.config, arrays)
        return run

    return make


def test_the_temperature_is_fitted_on_selection_and_no_answer_changes(
    too_sure: Begun, tmp_path: Path
) -> None:
    run = too_sure(tmp_path)
    config, arrays = store.load(run.best)
    run.trainer.load(arrays)
    before = run.predict(run.splits.held_out, "before")
    found = take_figures(run).config
    assert isinstance(found, ModelConfig)
    config, temperature = found, found.metrics["temperature"]
    assert temperature > 2
    assert config.metrics["validation.calibration_error_before"] == pytest.approx(
        measure_calibration(before).error, rel=1e-4
    )
    assert config.metrics["validation.calibration_error"] == pytest.approx(
        measure_calibration(before.scaled(1 / temperature)).error, rel=1e-4
    )
    assert set(run.figures) == {"train", "selection", "validation"}
    assert run.figures["validation"].top1 == (before.logits.argmax(1) == before.truth).mean()
    saved, tempered = store.load(run.best)
    assert saved == config == run.config and run.metrics == config.metrics
    for name, array in tempered.items():
        expected = arrays[name] / temperature if name.startswith("classifier") else arrays[name]
        assert array == pytest.approx(expected, rel=1e-6)


def test_a_run_killed_after_it_and_resumed_has_the_same_weights_and_figures(
    too_sure: Begun, tmp_path: Path
) -> None:
    run, again = too_sure(tmp_path), too_sure(tmp_path / "other")
    take_figures(run)
    weights = (run.best / "model.safetensors").read_bytes()
    again.files = run.files
    take_figures(again)
    assert (run.best / "model.safetensors").read_bytes() == weights
    assert again.metrics == pytest.approx(run.metrics, rel=1e-6)


def test_few_photos_fit_no_temperature(
    splits: Splits, too_sure: Begun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = splits.selection.with_photos(splits.selection.photos[: FEWEST - 1], "selection")
    run = too_sure(tmp_path, photos=replace(splits, selection=few))
    _, before = store.load(run.best)
    assert "temperature" not in take_figures(run).config.metrics
    after = store.load(run.best)[1]
    assert all(np.array_equal(after[name], before[name]) for name in before)
    assert "no temperature scaling: it needs 50 photos" in capsys.readouterr().err


def test_without_calibration_the_weights_stay(too_sure: Begun, tmp_path: Path) -> None:
    run = too_sure(tmp_path, RECIPE.changed(calibrate=False))
    _, before = store.load(run.best)
    config = take_figures(run).config
    assert "temperature" not in config.metrics
    assert config.metrics["validation.calibration_error"] > 0.1
    after = store.load(run.best)[1]
    assert all(np.array_equal(after[name], before[name]) for name in before)


NAMES = ("ant", "bee", "cat")


def figures(answers: str, truth: str) -> Metrics:
    """Measured on sure answers; both as letters, 'abc'."""
    table = {name[0]: index for index, name in enumerate(NAMES)}
    logits = np.eye(3)[[table[letter] for letter in answers]] * 9
    return measure(Predictions(logits, np.array([table[letter] for letter in truth]), NAMES))


PLAIN = Recipe()
ALL_RIGHT = figures("abc" * 10, "abc" * 10)
HALF_RIGHT = figures("a" * 30, "a" * 15 + "b" * 15)


def finished(
    folder: Path, config: ModelConfig, recipe: Recipe, figures: dict[str, Metrics], rows: list[Row]
) -> Run:
    """A run of which only the summary is left to be made."""
    nothing: Any = None
    held_out: Any = SimpleNamespace(
        held_out=SimpleNamespace(name="validation"), train=[nothing] * 10
    )
    job = Job("photos/", folder, None, recipe)
    return Run(
        job, RunFolder(folder), recipe, config, held_out, nothing, rows=rows, figures=figures,
        seconds=90,
    )  # fmt: skip


def summed(
    folder: Path, train: Metrics, held_out: Metrics, epochs: int = 2, recipe: Recipe = PLAIN,
    head: float = 0.0,
) -> tuple[Run, str]:  # fmt: skip
    config = ModelConfig.default(published("small", width=0.35, classes=3, size=(32, 48)))
    rows: list[Row] = [
        {"epoch": epoch, "seconds": 40.0, "selection_top1": 0.5, "selection_loss": loss}
        for epoch, loss in [(0, head)] * bool(head) + [(e + 1, 0.5) for e in range(epochs)]
    ]
    parts = {"train": train, "selection": HALF_RIGHT, "validation": held_out}
    run = finished(folder, config, recipe, parts, rows)
    return run, summary(run)


def test_it_names_the_network_the_data_the_time_and_the_held_out_figure(tmp_path: Path) -> None:
    made, text = summed(tmp_path / "..", ALL_RIGHT, figures("aabbbb", "abbbbb"))
    assert "width 0.35 at 32 x 48 pixels" in text
    assert "trained on photos/ in 1.5 minutes: 2 epochs of the network" in text
    assert "accuracy on the test split: 83.3% (n = 6, 95% interval 43.6%" in text
    assert "| split | photos | top-1 | 95% interval | loss | calibration error |\n|" in text
    assert "| training split | 30 | 100.0% | 88.6% to 100.0% | 0.000 | - |" in text
    assert "| test split | 6 | 83.3% | 43.6% to 97.0% | 1.500 | - |" in text
    assert "called train, selection, validation." in text
    assert (made.held_out, made.epochs, made.seconds) == ("validation", 2, 90)


def test_of_more_than_five_classes_the_top_five_are_stated(tmp_path: Path) -> None:
    config = ModelConfig.default(published("small", width=0.35, classes=6, size=32))
    logits = np.eye(6)[[0, 1, 2, 3, 4, 0]] * 9 - np.arange(6)
    found = measure(Predictions(logits, np.arange(6), tuple("abcdef")))
    parts = {"train": found, "validation": found}
    text = summary(finished(tmp_path, config, PLAIN, parts, []))
    assert "| 95% interval | top-5 | loss |" in text
    assert "| 6 | 83.3% | 43.6% to 97.0% | 83.3% |" in text


def test_a_run_that_was_resumed_has_its_earlier_epochs_in_its_time(
    too_sure: Begun, tmp_path: Path
) -> None:
    run = too_sure(tmp_path)
    figures = {"selection_loss": 0.5, "selection_top1": 0.5, "seconds": 1500.0}
    run.rows = [dict.fromkeys(COLUMNS, 0.5) | figures | {"epoch": epoch} for epoch in (1, 2)]
    finalise(run)
    assert run.seconds == 3000
    assert "in 50.0 minutes" in run.files.summary.read_text("utf-8")


def test_a_classifier_that_no_epoch_bettered_is_said_to_be_kept(tmp_path: Path) -> None:
    made, text = summed(tmp_path, ALL_RIGHT, ALL_RIGHT, head=0.4)
    assert (
        "2 epochs of the network. No epoch had a lower temperature-scaled validation loss" in text
    )
    assert made.epochs == 2
    text = summed(tmp_path, HALF_RIGHT, HALF_RIGHT, head=0.4)[1]
    assert "more epochs" not in text  # of the classifier that was kept
    assert "none with" not in summed(tmp_path, ALL_RIGHT, ALL_RIGHT, head=0.6)[1]


def test_it_says_which_part_was_trained(tmp_path: Path) -> None:
    later = Recipe().changed(trained="later", cache=Cache(14, 2))
    _, text = summed(tmp_path, ALL_RIGHT, ALL_RIGHT, recipe=later)
    assert "2 epochs of the layers after the first 14 blocks" in text


def test_it_calls_the_network_by_its_blocks(tmp_path: Path) -> None:
    config = ModelConfig.default(published("mobilenet-v1", width=0.25, classes=3, size=32))
    figures = {"train": ALL_RIGHT, "validation": ALL_RIGHT}
    text = summary(finished(tmp_path, config, PLAIN, figures, []))
    assert "\nA MobileNetV1 of width 0.25 at 32 x 32" in text


def test_it_begins_with_how_many_new_photos_were_right_and_what_to_do_next(tmp_path: Path) -> None:
    made, text = summed(tmp_path / "my run", ALL_RIGHT, figures("aabbbb", "abbbbb"))
    lines = text.splitlines()
    assert lines[0] == "# my run"
    assert lines[2].startswith("5 of 6 new photos were classified correctly (83.3%). ")
    assert "expect an accuracy between 43.6% and 97.0% (95% interval)" in lines[2]
    assert lines[4] == "## What to do next"
    steps = [line for line in lines if line.startswith("- ")]
    assert "Open report.html and look at the errors (1 photo)" in steps[0]
    command = f"`mobilenetv2 predict PHOTO --model '{made.best}'`"
    assert command in steps[1] and f"`mobilenetv2.Classifier({str(made.best)!r})" in steps[1]
    assert "Do not use this model yet" in steps[2]  # 2 to 4 of 6 would be luck
    assert "Add photos of the classes" in steps[4]
    assert text.index("## Details") > text.index(steps[-1])


def test_what_may_be_chance_or_a_guess_is_not_called_overfitting(tmp_path: Path) -> None:
    few = figures("abc" * 4, "abc" * 3 + "aba")
    text = summed(tmp_path, figures("abc" * 10, "abc" * 10), few)[1]
    assert "Overfitting" in text  # 100% is outside the interval of 11 of 12
    near = figures("abc" * 10, "abc" * 9 + "aba")
    text = summed(tmp_path, near, figures("abc" * 4, "abc" * 3 + "aba"))[1]
    assert "Overfitting" not in text and "With 12 new photos the difference may be chance" in text
    assert "Do not use this model" not in text
    guessed = figures("aabb", "aaaa")
    assert "Do not use this model yet" in summed(tmp_path, guessed, guessed)[1]


@pytest.mark.parametrize(
    "train, held_out, advice",
    [
        (
            ALL_RIGHT,
            HALF_RIGHT,
            "only 50% on new photos, 50 percentage points less. More photos or stronger",
        ),
        (ALL_RIGHT, figures("abc" * 10, "abc" * 8 + "aba" * 2), "7 percentage points"),
        (HALF_RIGHT, HALF_RIGHT, "Underfitting: the accuracy on training photos is only 50%"),
        (HALF_RIGHT, ALL_RIGHT, "Underfitting"),
        (ALL_RIGHT, ALL_RIGHT, "No overfitting"),
    ],
)
def test_the_advice_follows_from_the_two_figures(
    tmp_path: Path, train: Metrics, held_out: Metrics, advice: str
) -> None:
    assert advice in summed(tmp_path, train, held_out)[1]


def test_of_a_classifier_alone_the_advice_is_not_of_epochs(tmp_path: Path) -> None:
    text = summed(tmp_path, ALL_RIGHT, HALF_RIGHT, epochs=0)[1]
    assert "50 percentage points" in text and "more epochs" not in text and "at least 400" in text
    assert "more epochs" not in summed(tmp_path, HALF_RIGHT, HALF_RIGHT, epochs=0)[1]


def test_the_name_of_a_folder_is_no_markup(tmp_path: Path) -> None:
    names = ("<b>hat & cap", "bee", "cat")
    wrong = measure(Predictions(np.eye(3)[[1] * 6], np.array([0, 0, 1, 1, 2, 2]), names))
    text = summed(tmp_path, wrong, wrong, epochs=0)[1]
    assert "&lt;b&gt;hat &amp; cap (0 of 2 correct, confused with bee)" in text or "mostly" in text
    assert "<b>" not in text


def test_a_private_summary_names_no_place(tmp_path: Path) -> None:
    run, _ = summed(tmp_path / "secret" / "run", ALL_RIGHT, HALF_RIGHT)
    run.job = replace(run.job, private=True, data="/home/anna/class 4b")
    text = summary(run)
    assert not any(word in text for word in ("secret", "anna", "4b", str(tmp_path)))
    assert "--model best" in text and "left out of this report" in text
    assert "Do not share split.csv, start.json, recipe.toml, checkpoint.safetensors" in text


def test_curves_are_shown_where_there_were_epochs(tmp_path: Path) -> None:
    assert "![curves](curves.png)" in summed(tmp_path, ALL_RIGHT, ALL_RIGHT)[1]
    without = summed(tmp_path, ALL_RIGHT, ALL_RIGHT, epochs=0)[1]
    assert "curves.png" not in without
    assert "minutes: only a new classifier" in without


def test_it_becomes_json(tmp_path: Path) -> None:
    made = summed(tmp_path, ALL_RIGHT, ALL_RIGHT)[0]
    assert json.loads(json.dumps(made.to_dict())) == {
        "run": str(tmp_path),
        "model": str(tmp_path / "best"),
        "held_out": "validation",
        "epochs": 2,
        "seconds": 90,
        "metrics": {},
    }


def test_a_finished_run_is_short_and_a_table_with_a_picture_in_a_notebook(tmp_path: Path) -> None:
    run = summed(tmp_path / "<i>", ALL_RIGHT, figures("aabbbb", "abbbbb"))[0]
    assert (
        repr(run)
        == f"<Run {tmp_path / '<i>'}: 5 of 6 new photos were classified correctly, 2 epochs>"
    )
    assert "<img" not in run._repr_html_()
    run.folder.mkdir()
    (run.folder / "confusion.png").write_bytes(b"a picture")
    shown = run._repr_html_()
    assert (
        "<b>5 of 6 new photos were classified correctly (83.3%).</b>" in shown
        and "&lt;i&gt;" in shown
    )
    assert 'src="data:image/png;base64,YSBwaWN0dXJl"' in shown and "<i>" not in shown
    assert "<th>test split</th><td>6</td><td>83.3%</td>" in shown
    run.figures = {}
    assert repr(run) == f"<Run {tmp_path / '<i>'}: not finished, 2 epochs>"
    assert run._repr_html_() == f"<p>&lt;Run {tmp_path}/&lt;i&gt;: not finished, 2 epochs&gt;</p>"
