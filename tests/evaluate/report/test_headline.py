import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mobilenetv2.evaluate.metrics import measure
from mobilenetv2.evaluate.report.headline import headline, weakest
from mobilenetv2.evaluate.report.result import Result


def test_the_figure_comes_with_its_interval_in_words(
    make_result: Callable[..., Result], parse: Callable[[str], Any]
) -> None:
    result = make_result()
    page = parse(headline(result))
    metrics = result.metrics
    low, high = metrics.top1_interval
    right = int((result.logits.argmax(1) == result.truth).sum())
    assert page.text().startswith(f"{metrics.top1:.1%}")
    assert f"It is right on {right} of 36 photos." in page.text("b")
    assert f"its true accuracy lies between {low:.1%} and {high:.1%}" in page.text("p")
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
    said = weakest(measure(logits[:6], truth[:6], names))
    assert said == "It finds shoe least often: 1 of 3; the others it takes mostly for belt."
    kept = [0, 2, 3, 6]
    said = weakest(measure(logits[kept], truth[kept], names))
    assert said == "It finds shoe least often: 2 of 3; the other it takes for belt."
    assert (
        weakest(measure(logits[:2], truth[:2], names))
        == "Every class was always found in these 2 photos."
    )


def test_of_classes_that_are_found_equally_seldom_a_few_are_named() -> None:
    names, truth = tuple("abcd"), np.arange(4)
    for missed, said in ((2, "a and b"), (3, "a, b and 1 more"), (4, "a, b and 2 more")):
        answers = np.where(truth < missed, (truth + 1) % 4, truth)
        metrics = measure(np.eye(4)[answers], truth, names)
        assert weakest(metrics) == f"It finds {said} least often: 0% of their photos."


@pytest.mark.parametrize("name", ["train", "selection"])
def test_photos_to_train_on_tell_no_true_accuracy(
    name: str, make_result: Callable[..., Result], parse: Callable[[str], Any]
) -> None:
    result = make_result()
    seen = dataclasses.replace(result, split=dataclasses.replace(result.split, name=name))
    text = parse(headline(seen)).text("p")
    low, high = result.metrics.top1_interval
    assert f"The 95% interval is {low:.1%} to {high:.1%}, but of photos that models are" in text
    assert "true accuracy" not in text


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ("bbbc", "the others it takes mostly for b"),
        ("bbcd", "the others it takes most often for b"),
        ("bbcc", "the others it takes most often for b and c"),
        ("bcd", "the others it takes most often for b, c and 1 more"),
        ("c", "the other it takes for c"),
    ],
)
def test_mostly_is_more_than_half(answers: str, said: str) -> None:
    truth = np.array([0, *[0] * len(answers), 1, 2, 3])
    given = np.array([0, *("abcd".index(answer) for answer in answers), 1, 2, 3])
    found = weakest(measure(np.eye(4)[given], truth, tuple("abcd")))
    assert found == f"It finds a least often: 1 of {len(answers) + 1}; {said}."
