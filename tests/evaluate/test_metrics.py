import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import binomtest
from sklearn import metrics as reference

from mobilenetv2.evaluate.metrics import measure, wilson
from mobilenetv2.evaluate.outputs import softmax
from mobilenetv2.evaluate.predictions import Predictions
from mobilenetv2.text import finite


def names(count: int) -> tuple[str, ...]:
    return tuple(f"class {index}" for index in range(count))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("photos", "classes"), [(500, 12), (60, 7), (300, 3), (40, 30)])
def test_every_figure_is_scikit_learns(seed: int, photos: int, classes: int) -> None:
    random = np.random.default_rng([seed, photos])
    labels = random.integers(0, classes, photos)
    logits = random.normal(0, 3, (photos, classes)).astype(np.float32)
    logits[np.arange(photos), labels] += 2
    answers, every = logits.argmax(1), np.arange(classes)
    made = measure(Predictions(logits, labels, names(classes)))
    assert made.images == photos
    assert made.top1 == pytest.approx(reference.accuracy_score(labels, answers), abs=1e-12)
    with warnings.catch_warnings():  # of three classes, five are always enough: it warns of that
        warnings.simplefilter("ignore")
        top5 = reference.top_k_accuracy_score(labels, logits, k=5, labels=every)
    assert made.top5 == pytest.approx(top5, abs=1e-12)
    loss = reference.log_loss(labels, softmax(logits), labels=every)
    assert made.loss == pytest.approx(loss, rel=1e-9)
    assert made.confusion.dtype == np.int64
    assert_array_equal(made.confusion, reference.confusion_matrix(labels, answers, labels=every))
    precision, recall, _, support = reference.precision_recall_fscore_support(
        labels, answers, labels=every, zero_division=np.nan
    )
    assert_allclose([row.precision for row in made.classes], precision)
    assert_allclose([row.recall for row in made.classes], recall)
    assert [row.photos for row in made.classes] == support.tolist()
    assert [row.name for row in made.classes] == list(names(classes))


@given(st.integers(0, 400), st.integers(1, 400))
def test_wilsons_interval_is_scipys(successes: int, trials: int) -> None:
    successes = min(successes, trials)
    expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    low, high = wilson(successes, trials)
    assert low == pytest.approx(expected.low, abs=1e-12)
    assert high == pytest.approx(expected.high, abs=1e-12)
    assert 0 <= low < high <= 1
    assert low - 1e-12 <= successes / trials <= high + 1e-12


def test_without_trials_nothing_is_known() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_intervals_are_of_what_they_stand_at() -> None:
    logits = np.eye(3)[[0, 0, 0, 1, 1, 2]]
    made = measure(Predictions(logits, np.array([0, 0, 1, 1, 2, 2]), names(3)))
    assert made.top1_interval == wilson(4, 6)
    assert [row.recall_interval for row in made.classes] == [
        wilson(2, 2), wilson(1, 2), wilson(1, 2),
    ]  # fmt: skip
    assert [row.precision_interval for row in made.classes] == [
        wilson(2, 3), wilson(1, 2), wilson(1, 1),
    ]  # fmt: skip


def test_a_tie_counts_for_the_class_among_the_five_and_goes_to_the_first_as_the_answer() -> None:
    logits = np.array([[9, 8, 7, 6, 1, 1, 1, 0.0]] * 4)
    labels = np.array([4, 6, 7, 0])  # tied for the fifth place, the same, behind, first
    assert measure(Predictions(logits, labels, names(8))).top5 == 0.75
    level = measure(Predictions(np.zeros((4, 8)), np.array([0, 1, 2, 3]), names(8)))
    assert level.top1 == 0.25
    assert level.confusion[:, 0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert level.loss == pytest.approx(math.log(8))


def test_large_logits_do_not_overflow() -> None:
    logits = np.array([[1e4, -1e4], [3e38, 0]], np.float32)
    made = measure(Predictions(logits, np.array([1, 0]), names(2)))
    assert made.loss == pytest.approx(1e4)
    assert_allclose(softmax(logits), [[1, 0], [1, 0]])


def test_probabilities_sum_to_one_along_the_last_axis_in_double_precision() -> None:
    logits = np.random.default_rng(0).normal(0, 5, (2, 3, 11)).astype(np.float16)
    made = softmax(logits)
    assert made.dtype == np.float64
    assert_allclose(made.sum(-1), 1, rtol=1e-14)
    expected = np.exp(logits.astype(np.float64))
    assert_allclose(made, expected / expected.sum(-1, keepdims=True), rtol=1e-12)


def test_what_does_not_exist_is_null_in_json_and_everything_else_is_there() -> None:
    logits = np.eye(4)[[0, 0, 1]]
    made = measure(Predictions(logits, np.array([0, 2, 1]), names(4)))
    assert math.isnan(made.classes[3].recall) and math.isnan(made.classes[2].precision)
    plain = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert (plain["images"], plain["top1"], plain["top5"]) == (3, pytest.approx(2 / 3), 1.0)
    assert plain["top1_interval"] == list(made.top1_interval)
    assert plain["loss"] == made.loss
    assert plain["confusion"] == made.confusion.tolist()
    assert plain["classes"][2] == {
        "name": "class 2", "photos": 1, "recall": 0.0, "recall_interval": list(wilson(0, 1)),
        "precision": None, "precision_interval": [0.0, 1.0],
    }  # fmt: skip
    assert (plain["classes"][3]["recall"], plain["classes"][3]["photos"]) == (None, 0)


def test_a_network_that_gives_no_numbers_is_not_right_and_its_loss_is_null() -> None:
    logits = np.full((10, 8), np.nan, np.float32)
    made = measure(Predictions(logits, np.arange(10) % 7 + 1, names(8)))
    assert (made.top1, made.top5) == (0, 0)
    plain = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert plain["loss"] is None


def test_an_infinite_loss_is_null_as_json_and_nobody_is_warned() -> None:
    logits = np.array([[0.0, -np.inf], [np.inf, 0.0], [0.0, 1.0]])
    made = measure(Predictions(logits[:1], np.array([1]), names(2)))
    assert made.loss == math.inf
    assert json.loads(json.dumps(made.to_dict(), allow_nan=False))["loss"] is None
    found = softmax(logits)  # a warning would be an error here
    assert np.isnan(found).any(1).tolist() == [False, True, False]
    measure(Predictions(logits, np.array([0, 0, 0]), names(2)))


def test_only_finite_numbers_are_numbers_of_json() -> None:
    assert [finite(value) for value in (0.5, math.nan, math.inf, -math.inf)] == [
        0.5, None, None, None
    ]  # fmt: skip
