"""A result in words."""

import numpy as np
import pytest

from mobilenetv2.evaluation.metrics import Metrics, measure
from mobilenetv2.evaluation.predictions import Predictions
from mobilenetv2.evaluation.report.words import (
    class_advice,
    expectation,
    first_sentence,
    right_of,
    split_words,
)
from mobilenetv2.spec.network import Outputs

NAMES = ("ant", "bee", "cat", "dog")


def figures(answers: str, truth: str, outputs: Outputs = "softmax") -> Metrics:
    """Measured on answers, both as first letters; a '-' is no answer of 'sigmoid' outputs."""
    letters = [name[0] for name in NAMES]
    logits = np.array([[9.0 if letter == said else -9.0 for letter in letters] for said in answers])
    wanted = np.array([letters.index(letter) for letter in truth])
    return measure(Predictions(logits, wanted, NAMES, outputs))


@pytest.mark.parametrize(
    ("answers", "truth", "said"),
    [
        ("a" * 29 + "b", "a" * 30, "29 of 30 new photos were classified correctly"),
        ("a", "a", "1 of 1 new photo was classified correctly"),
        ("a" * 1234, "a" * 1234, "1,234 of 1,234 new photos were classified correctly"),
    ],
)
def test_right_photos_are_counted(answers: str, truth: str, said: str) -> None:
    assert right_of(figures(answers, truth)) == said
    assert first_sentence(figures(answers, truth)).startswith(f"{said} (")


def test_a_percentage_follows_and_photos_may_be_called_otherwise() -> None:
    found = figures("a" * 29 + "b", "a" * 30)
    assert first_sentence(found, "photo") == "29 of 30 photos were classified correctly (96.7%)."


def test_the_interval_is_what_to_expect_and_a_wide_one_asks_for_photos() -> None:
    few, many = figures("aab", "aaa"), figures("ab" * 300, "ab" * 300)
    low, high = few.top1_interval
    assert f"between {low:.1%} and {high:.1%} (95% interval)" in expectation(few)
    assert "the test split is small" in expectation(
        few
    ) and "the test split is small" not in expectation(many)


def test_the_classes_found_least_often_come_with_what_they_are_taken_for() -> None:
    advice = class_advice(figures("abcc" + "ccd" + "d", "abbb" + "ccc" + "d"))
    assert (
        "bee (1 of 3 correct, mostly confused with cat); cat (2 of 3 correct, confused with dog). "
        in advice
    )
    assert "ant" not in advice and "dog (" not in advice
    tied = class_advice(figures("abcd", "abbb"))
    assert "bee (1 of 3 correct, most often confused with cat and dog)" in tied
    assert "All test photos were classified correctly" in class_advice(figures("abcd", "abcd"))


def test_at_most_three_classes_are_named() -> None:
    advice = class_advice(figures("bbba", "aaab" + "", "softmax"))
    assert advice.count(" correct") == 2
    advice = class_advice(figures("bcda" * 2, "abcd" * 2))
    assert [name for name in NAMES if f"{name} (" in advice] == ["ant", "bee", "cat"]


def test_of_any_of_n_no_class_is_taken_for_another() -> None:
    logits = np.array([[9.0, -9, -9, -9], [-9, -9, -9, -9], [-9, -9, 9, 9]])
    truth = np.eye(4, dtype=bool)[:3]
    advice = class_advice(measure(Predictions(logits, truth, NAMES, "sigmoid")))
    assert "bee (0 of 1 correct)" in advice


def test_splits_have_the_fields_names_and_those_in_files() -> None:
    assert [split_words(name) for name in ("train", "selection", "validation", "test")] == [
        "training split", "validation split", "test split",
        "test split",
    ]  # fmt: skip
    assert (split_words("all"), split_words("holiday")) == ("all photos", "holiday")
