"""A finished run in words: the figures it states and the advice it draws from them."""

import json
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.evaluate.metrics import Metrics, measure
from mobilenetv2.evaluate.predictions import Predictions
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train.recipe import Cache, Recipe
from mobilenetv2.train.record import RunFolder
from mobilenetv2.train.summary import Summary, named, summarise

NAMES = ("ant", "bee", "cat")


def figures(answers: str, truth: str) -> Metrics:
    """Measured on sure answers; both as letters, 'abc'."""
    table = {name[0]: index for index, name in enumerate(NAMES)}
    logits = np.eye(3)[[table[letter] for letter in answers]] * 9
    return measure(Predictions(logits, np.array([table[letter] for letter in truth]), NAMES))


PLAIN = Recipe()
ALL_RIGHT = figures("abc" * 10, "abc" * 10)
HALF_RIGHT = figures("a" * 30, "a" * 15 + "b" * 15)


def summary(
    folder: Path, train: Metrics, held_out: Metrics, epochs: int = 2, took: float = 40.0,
    recipe: Recipe = PLAIN, head: float = 0.0,
) -> tuple[Summary, str]:  # fmt: skip
    config = ModelConfig.default(published("small", width=0.35, classes=3, size=(32, 48)))
    rows = [
        {"epoch": epoch, "seconds": took, "selection_top1": 0.5, "selection_loss": loss}
        for epoch, loss in [(0, head)] * bool(head) + [(e + 1, 0.5) for e in range(epochs)]
    ]
    parts = {"train": train, "selection": HALF_RIGHT, "validation": held_out}
    made = summarise(RunFolder(folder), "photos/", recipe, config, parts, "validation", rows, 90)
    return made, (folder / "summary.md").read_text("utf-8")


def test_it_names_the_network_the_data_the_time_and_the_held_out_figure(tmp_path: Path) -> None:
    made, text = summary(tmp_path / "..", ALL_RIGHT, figures("aabbbb", "abbbbb"))
    assert "width 0.35 at 32 x 48 pixels" in text
    assert "trained on photos/ in 1.5 minutes: 2 epochs of the network" in text
    assert "On 6 photos of validation that it never saw" in text
    assert "right on 83.3% (95% interval 43.6% to 97.0%)" in text
    assert "| photos | number | top-1 | loss |\n|" in text  # of three classes five are all
    assert "| train | 30 | 100.0% | 0.000 |" in text
    assert "| validation | 6 | 83.3% | 1.500 |" in text
    assert (made.held_out, made.epochs, made.seconds) == ("validation", 2, 90)


def test_of_more_than_five_classes_the_top_five_are_stated(tmp_path: Path) -> None:
    config = ModelConfig.default(published("small", width=0.35, classes=6, size=32))
    logits = np.eye(6)[[0, 1, 2, 3, 4, 0]] * 9 - np.arange(6)
    found = measure(Predictions(logits, np.arange(6), tuple("abcdef")))
    parts = {"train": found, "validation": found}
    summarise(RunFolder(tmp_path), "photos/", PLAIN, config, parts, "validation", [], 90)
    text = (tmp_path / "summary.md").read_text("utf-8")
    assert "| photos | number | top-1 | top-5 | loss |\n|" in text
    assert "| validation | 6 | 83.3% | 83.3% |" in text


def test_a_run_that_was_resumed_has_its_earlier_epochs_in_its_time(tmp_path: Path) -> None:
    made, text = summary(tmp_path, ALL_RIGHT, ALL_RIGHT, took=1500.0)
    assert "in 50.0 minutes" in text and made.seconds == 3000


def test_a_classifier_that_no_epoch_bettered_is_said_to_be_kept(tmp_path: Path) -> None:
    made, text = summary(tmp_path, ALL_RIGHT, ALL_RIGHT, head=0.4)
    assert (
        "2 epochs of the network, none of them with a lower loss on 30 photos that choose" in text
    )
    assert made.epochs == 2
    text = summary(tmp_path, HALF_RIGHT, HALF_RIGHT, head=0.4)[1]
    assert "more epochs would help" not in text  # of the classifier that was kept
    assert "none of them" not in summary(tmp_path, ALL_RIGHT, ALL_RIGHT, head=0.6)[1]


def test_it_says_which_part_was_trained(tmp_path: Path) -> None:
    later = Recipe(trained="later", cache=Cache(14, 2))
    _, text = summary(tmp_path, ALL_RIGHT, ALL_RIGHT, recipe=later)
    assert "2 epochs of what follows the first 14 blocks" in text


def test_it_calls_the_network_by_its_blocks(tmp_path: Path) -> None:
    config = ModelConfig.default(published("mobilenet-v1", width=0.25, classes=3, size=32))
    figures = {"train": ALL_RIGHT, "validation": ALL_RIGHT}
    summarise(RunFolder(tmp_path), "photos/", Recipe(), config, figures, "validation", [], 90)
    assert "\nA MobileNetV1 of width 0.25 at 32 x 32" in (tmp_path / "summary.md").read_text()


@pytest.mark.parametrize(
    "train, held_out, advice",
    [
        (
            ALL_RIGHT,
            HALF_RIGHT,
            "right on its training photos 50 points more often than on new ones",
        ),
        (ALL_RIGHT, figures("abc" * 10, "abc" * 8 + "aba" * 2), "7 points"),
        (HALF_RIGHT, HALF_RIGHT, "does not yet know its training photos: more epochs"),
        (HALF_RIGHT, ALL_RIGHT, "does not yet know its training photos: more epochs"),
        (
            ALL_RIGHT,
            ALL_RIGHT,
            "on new photos at least about as often as on those it was trained on",
        ),
    ],
)
def test_the_advice_follows_from_the_two_figures(
    tmp_path: Path, train: Metrics, held_out: Metrics, advice: str
) -> None:
    assert advice in summary(tmp_path, train, held_out)[1]


def test_the_weakest_classes_come_with_what_they_are_taken_for(tmp_path: Path) -> None:
    text = summary(tmp_path, ALL_RIGHT, figures("aaccab" + "cc", "aabbbb" + "cc"))[1]
    assert "Weakest classes: bee (25% of 4 found, most often taken for cat)." in text
    assert (
        "Every class was always found in these 30 photos."
        in summary(tmp_path, ALL_RIGHT, ALL_RIGHT)[1]
    )


def test_of_a_classifier_alone_the_advice_is_not_of_epochs(tmp_path: Path) -> None:
    text = summary(tmp_path, ALL_RIGHT, HALF_RIGHT, epochs=0)[1]
    assert "50 points" in text and "more epochs" not in text and "the default" in text
    assert "more epochs" not in summary(tmp_path, HALF_RIGHT, HALF_RIGHT, epochs=0)[1]


def test_the_name_of_a_folder_is_no_markup() -> None:
    assert named("<b>hat & cap") == "&lt;b&gt;hat &amp; cap"


def test_curves_are_shown_where_there_were_epochs(tmp_path: Path) -> None:
    assert "![curves](curves.png)" in summary(tmp_path, ALL_RIGHT, ALL_RIGHT)[1]
    without = summary(tmp_path, ALL_RIGHT, ALL_RIGHT, epochs=0)[1]
    assert "curves.png" not in without
    assert "minutes: only a new classifier" in without


def test_it_becomes_json(tmp_path: Path) -> None:
    made = summary(tmp_path, ALL_RIGHT, ALL_RIGHT)[0]
    assert json.loads(json.dumps(made.to_dict())) == {
        "run": str(tmp_path),
        "model": str(tmp_path / "best"),
        "held_out": "validation",
        "epochs": 2,
        "seconds": 90,
        "metrics": {},
    }
