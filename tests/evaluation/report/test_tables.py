import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mobilenetv2.evaluation.metrics import ClassFigures, measure, wilson
from mobilenetv2.evaluation.predictions import Predictions
from mobilenetv2.evaluation.report.result import Result
from mobilenetv2.evaluation.report.tables import (
    MOST,
    class_table,
    confusion_table,
    confusions,
    dot,
    headline,
    weakest,
)


def test_the_figure_comes_with_its_interval_in_words(
    make_result: Callable[..., Result], parse: Callable[[str], Any]
) -> None:
    result = make_result()
    page = parse(headline(result))
    metrics = result.metrics
    low, high = metrics.top1_interval
    right = int((result.predictions.logits.argmax(1) == result.predictions.truth).sum())
    assert page.text().startswith(f"{metrics.top1:.1%}")
    assert f"{right} of 36 photos were classified correctly" in page.text("b")
    assert f"expect an accuracy between {low:.1%} and {high:.1%}" in page.text("p")
    new = dataclasses.replace(result, split=dataclasses.replace(result.split, name="test"))
    assert f"{right} of 36 new photos were classified correctly" in parse(headline(new)).text("b")
    assert f"{result.calibration.error:.1%}" in page.text("b")


def test_of_five_classes_the_first_five_are_no_figure(
    make_result: Callable[..., Result], parse: Callable[[str], Any]
) -> None:
    assert "top-5" not in parse(headline(make_result())).text("span")
    many = make_result(names=tuple("abcdef"))
    assert "top-5" in parse(headline(many)).text("span")


def test_the_weakest_class_is_named_with_what_it_is_taken_for() -> None:
    names = ("hat", "shoe", "belt")
    logits = np.eye(3)[[0, 0, 1, 2, 2, 2, 1]]
    truth = np.array([0, 0, 1, 1, 1, 2, 1])
    said = weakest(measure(Predictions(logits[:6], truth[:6], names)))
    assert all(part in said for part in ("shoe", "1 of 3", "others", "mostly confused with belt"))
    kept = [0, 2, 3, 6]
    said = weakest(measure(Predictions(logits[kept], truth[kept], names)))
    assert all(part in said for part in ("shoe", "2 of 3", "the other is", "with belt"))
    said = weakest(measure(Predictions(logits[:2], truth[:2], names)))
    assert "All classes" in said and "2 photos" in said


def test_of_classes_that_are_found_equally_seldom_a_few_are_named() -> None:
    names, truth = tuple("abcd"), np.arange(4)
    for missed, said in ((2, "a and b"), (3, "a, b and 1 more"), (4, "a, b and 2 more")):
        answers = np.where(truth < missed, (truth + 1) % 4, truth)
        metrics = measure(Predictions(np.eye(4)[answers], truth, names))
        assert f"are {said}: " in weakest(metrics) and "0%" in weakest(metrics)


@pytest.mark.parametrize("name", ["train", "selection"])
def test_photos_to_train_on_tell_no_true_accuracy(
    name: str, make_result: Callable[..., Result], parse: Callable[[str], Any]
) -> None:
    result = make_result()
    seen = dataclasses.replace(result, split=dataclasses.replace(result.split, name=name))
    text = parse(headline(seen)).text("p")
    low, high = result.metrics.top1_interval
    assert f"95% interval is {low:.1%} to {high:.1%}. The model" in text and "expect" not in text


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ("bbbc", "mostly confused with b"),
        ("bbcd", "most often confused with b"),
        ("bbcc", "most often confused with b and c"),
        ("bcd", "most often confused with b, c and 1 more"),
        ("c", "the other is confused with c"),
    ],
)
def test_mostly_is_more_than_half(answers: str, said: str) -> None:
    truth = np.array([0, *[0] * len(answers), 1, 2, 3])
    given = np.array([0, *("abcd".index(answer) for answer in answers), 1, 2, 3])
    found = weakest(measure(Predictions(np.eye(4)[given], truth, tuple("abcd"))))
    assert "is a: " in found and f"1 of {len(answers) + 1}" in found
    assert found.endswith(f"{said}.")


def row(name: str, right: int, photos: int, named: int = 10) -> ClassFigures:
    share = right / photos if photos else math.nan
    precision = 0.5 if named else math.nan
    return ClassFigures(name, photos, share, wilson(right, photos), precision, wilson(5, named))


def test_the_worst_come_first_and_classes_without_photos_not_at_all(
    parse: Callable[[str], Any],
) -> None:
    page = parse(class_table([row("good", 9, 10), row("none", 0, 0), row("bad", 2, 10)]))
    heads = [text for tag, text in page.texts if tag == "th"]
    assert heads == ["class", "photos", "recall", "precision", "bad", "good"]
    assert len(page.of("svg", "dots")) == 2
    first = page.of("svg", "dots")[0]["aria-label"]
    low, high = wilson(2, 10)
    assert first == f"recall 20.0% (95% interval {low:.1%} to {high:.1%})"


def test_of_many_classes_the_better_ones_are_closed_until_opened(
    parse: Callable[[str], Any],
) -> None:
    page = parse(class_table([row(f"c{i}", i, 200) for i in range(MOST + 3)]))
    assert page.text("summary") == "3 better classes"
    assert len(page.of("svg", "dots")) == MOST + 3
    names = [name for name, _ in page.elements]
    assert names[: names.index("details")].count("svg") == MOST


def test_a_thousand_classes_are_a_table_of_a_bounded_size(parse: Callable[[str], Any]) -> None:
    markup = class_table([row(f"class {i}", i, 1000) for i in range(1000)])
    assert len(markup) < 900_000
    assert parse(markup).text("summary") == f"{1000 - MOST} better classes"


def test_a_class_that_was_never_answered_has_no_precision(parse: Callable[[str], Any]) -> None:
    page = parse(class_table([row("a", 0, 4, named=0)]))
    assert "nan" not in page.text() and page.of("td", "n")[-1]["title"] == "no such answers"


def test_a_dot_lies_at_its_share_on_its_whisker(parse: Callable[[str], Any]) -> None:
    page = parse(dot(0.75, (0.5, 0.9), "recall"))
    whisker = page.of("line", "whisker")[0]
    assert (whisker["x1"], whisker["x2"]) == ("50.00%", "90.00%")
    assert page.of("circle")[0]["cx"] == "75.00%"


MATRIX = np.array([[8, 2, 0, 0], [1, 5, 0, 0], [0, 4, 6, 0], [0, 0, 0, 0]])
NAMES = ("a", "b & c", "d", "unmet")


def test_the_matrix_has_the_counts_of_the_classes_that_were_met(
    parse: Callable[[str], Any],
) -> None:
    page = parse(confusion_table(MATRIX, NAMES))
    said = [cell["title"] for cell in page.of("td") if "title" in cell]
    assert said == [
        "true a, answer a: 8 of 10 (80%)", "true a, answer b & c: 2 of 10 (20%)",
        "true b & c, answer a: 1 of 6 (17%)", "true b & c, answer b & c: 5 of 6 (83%)",
        "true d, answer b & c: 4 of 10 (40%)", "true d, answer d: 6 of 10 (60%)",
    ]  # fmt: skip
    assert len(page.of("td", "right")) == 3 and len(page.of("td", "wrong")) == 3
    assert len(page.of("td")) == 1 + 9 and "unmet" not in page.text()


def test_a_class_that_was_only_answered_has_a_column(parse: Callable[[str], Any]) -> None:
    page = parse(confusion_table(np.array([[1, 1], [0, 0]]), ("x", "y")))
    assert page.text("b") == "xy" and len(page.of("td")) == 1 + 4


def test_confusions_come_by_how_often() -> None:
    assert confusions(MATRIX, 10) == [(2, 1, 4, 10), (0, 1, 2, 10), (1, 0, 1, 6)]
    assert confusions(MATRIX, 1) == [(2, 1, 4, 10)]
    assert confusions(np.diag([3, 4]), 5) == []


def test_of_many_classes_only_the_list_is_shown(parse: Callable[[str], Any]) -> None:
    count = MOST + 1
    matrix = np.eye(count, dtype=int) * 3
    matrix[1, 0] = 2
    page = parse(confusion_table(matrix, [f"c{i}" for i in range(count)]))
    assert page.of("table") == [] and "with 41 classes" in page.text()
    assert "c1" in page.text("b") and "2 of 5" in page.text("span")


def test_the_headline_of_any_of_n_has_its_figures(
    make_result: Callable[..., Result], parse: Callable[[str], Any]
) -> None:
    several = make_result(outputs="sigmoid", several=True)
    labels = several.metrics.labels
    assert labels is not None
    page = parse(headline(several))
    assert page.text().startswith(f"{labels.exact_match:.1%}")
    right = round(36 * labels.exact_match)
    assert f"{right} of 36 photos were classified correctly" in page.text("b")
    assert "the decisions about all classes of a photo are correct" in page.text("b")
    assert f"{labels.mean_average_precision:.1%}mAP" in page.text("b", "span")
    assert f"{labels.macro_f1:.1%}F1" in page.text("b", "span")
    assert "binary cross-entropy" in page.text("small")
    one = make_result(outputs="sigmoid", names=tuple("abcdef"))
    page = parse(headline(one))
    assert page.text().startswith(f"{one.metrics.top1:.1%}")
    assert {"mAP", "exact match", "top-5"} <= {t for tag, t in page.texts if tag == "span"}


def test_a_class_of_any_of_n_is_not_taken_for_another() -> None:
    logits = np.array([[2.0, -1.0], [-1.0, 2.0], [-1.0, -2.0]])
    metrics = measure(Predictions(logits, np.array([0, 1, 1]), ("a", "b"), "sigmoid"))
    assert "is b: " in weakest(metrics) and weakest(metrics).endswith("1 of 2 photos.")
    metrics = measure(Predictions(logits, np.zeros((3, 2)), ("a", "b"), "sigmoid"))
    assert weakest(metrics).startswith("No photo ")
