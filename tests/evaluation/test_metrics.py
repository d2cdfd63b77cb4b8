import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn import metrics as reference

from mobilenetv2.evaluation.metrics import average_precision, measure, wilson
from mobilenetv2.evaluation.predictions import Predictions
from mobilenetv2.model.outputs import softmax
from mobilenetv2.spec.network import Outputs
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
    precision, recall, f1, support = reference.precision_recall_fscore_support(
        labels, answers, labels=every, zero_division=np.nan
    )
    assert_allclose([row.precision for row in made.classes], precision)
    assert_allclose([row.recall for row in made.classes], recall)
    assert_allclose([row.f1 for row in made.classes], f1)
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


def drawn_labels(seed: int, photos: int = 300, classes: int = 6) -> tuple[NDArray, NDArray]:
    """Logits and bool truth of photos with none to several classes."""
    random = np.random.default_rng(seed)
    truth = random.random((photos, classes)) < np.linspace(0.05, 0.6, classes)
    logits = random.normal(0, 2, truth.shape) + np.where(truth, 1.0, -1.0)
    return np.round(logits, 1).astype(np.float32), truth  # rounded: some scores are equal


@pytest.mark.parametrize("seed", range(4))
def test_figures_of_any_of_n_are_scikit_learns(seed: int) -> None:
    logits, truth = drawn_labels(seed)
    made = measure(Predictions(logits, truth, names(6), "sigmoid"))
    decided, probabilities = logits > 0, 1 / (1 + np.exp(-logits.astype(np.float64)))
    assert made.labels is not None
    for row, said, score, true in zip(made.classes, decided.T, logits.T, truth.T, strict=True):
        assert row.photos == true.sum()
        assert row.recall == pytest.approx(reference.recall_score(true, said))
        assert row.recall_interval == wilson(int((true & said).sum()), row.photos)
        assert row.precision == pytest.approx(reference.precision_score(true, said))
        assert row.precision_interval == wilson(int((true & said).sum()), int(said.sum()))
        assert row.f1 == pytest.approx(reference.f1_score(true, said))
        expected = reference.average_precision_score(true, score)
        assert row.average_precision == pytest.approx(expected, abs=1e-12)
    macro = reference.f1_score(truth, decided, average="macro")
    assert made.labels.macro_f1 == pytest.approx(macro, abs=1e-12)
    mean = reference.average_precision_score(truth, logits, average="macro")
    assert made.labels.mean_average_precision == pytest.approx(mean, abs=1e-12)
    assert made.labels.exact_match == reference.accuracy_score(truth, decided)
    exact = int((truth == decided).all(1).sum())
    assert made.labels.exact_match_interval == made.accuracy_interval == wilson(exact, 300)
    assert made.accuracy == made.labels.exact_match
    losses = [reference.log_loss(t, p) for t, p in zip(truth.T, probabilities.T, strict=True)]
    assert made.loss == pytest.approx(np.mean(losses), rel=1e-9)


def test_folders_of_classes_are_the_one_hot_case_of_any_of_n() -> None:
    random = np.random.default_rng(0)
    labels, logits = random.integers(0, 8, 200), random.normal(-1, 2, (200, 8))
    logits[np.arange(200), labels] += 3
    made = measure(Predictions(logits, labels, names(8), "sigmoid"))
    several = measure(Predictions(logits, np.eye(8)[labels], names(8), "sigmoid"))
    chosen = measure(Predictions(logits, labels, names(8)))
    assert (made.labels, made.classes, made.loss) == (several.labels, several.classes, several.loss)
    assert (made.top1, made.top1_interval, made.top5) == (
        chosen.top1, chosen.top1_interval, chosen.top5,
    )  # fmt: skip
    assert made.accuracy == made.top1 and made.accuracy_interval == made.top1_interval
    assert_array_equal(made.confusion, chosen.confusion)
    assert math.isnan(several.top1) and math.isnan(several.top5) and not several.confusion.size


def test_one_logit_is_a_softmax_of_0_and_the_logit() -> None:
    random = np.random.default_rng(0)
    labels, logits = random.integers(0, 2, 100), random.normal(0, 3, (100, 1)).astype(np.float32)
    made = measure(Predictions(logits, labels, names(2), "logit"))
    twice = measure(Predictions(np.hstack([0 * logits, logits]), labels, names(2)))
    assert made.to_dict() == twice.to_dict() | {"loss": pytest.approx(twice.loss, rel=1e-9)}
    probabilities = 1 / (1 + np.exp(-logits[:, 0].astype(np.float64)))
    assert made.loss == pytest.approx(reference.log_loss(labels, probabilities), rel=1e-9)
    extreme = measure(Predictions(np.array([[1e4], [-1e4]]), np.array([0, 1]), names(2), "logit"))
    assert (extreme.loss, extreme.top1) == (1e4, 0)


def test_classes_without_photos_or_answers_are_left_out_of_means_and_null() -> None:
    logits = np.array([[1.0, -1.0, -1.0], [1.0, 1.0, -1.0], [-1.0, -1.0, -1.0]])
    truth = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 0]])
    made = measure(Predictions(logits, truth, names(3), "sigmoid"))
    assert made.labels is not None
    assert [row.f1 for row in made.classes[:2]] == [1, 0] and math.isnan(made.classes[2].f1)
    assert (made.labels.macro_f1, made.labels.mean_average_precision) == (0.5, 1)
    plain = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert (plain["top1"], plain["top5"], plain["confusion"]) == (None, None, None)
    assert plain["exact_match"] == pytest.approx(2 / 3) and plain["macro_f1"] == 0.5
    assert plain["mean_average_precision"] == 1 and len(plain["exact_match_interval"]) == 2
    assert [row["f1"] for row in plain["classes"]] == [1, 0, None]
    assert [row["average_precision"] for row in plain["classes"]] == [1, None, None]
    nothing = measure(Predictions(logits, 0 * truth, names(3), "sigmoid"))
    assert nothing.labels is not None and math.isnan(nothing.labels.mean_average_precision)


def test_one_of_n_has_no_figures_of_any_of_n() -> None:
    plain = measure(Predictions(np.eye(3), np.arange(3), names(3))).to_dict()
    assert list(plain) == [
        "images", "top1", "top1_interval", "top5", "loss", "classes", "confusion"
    ]  # fmt: skip
    assert measure(Predictions(np.eye(3), np.arange(3), names(3))).labels is None


@pytest.mark.parametrize("outputs", ["sigmoid", "logit"])
def test_a_network_that_gives_no_numbers_decides_nothing_right(outputs: Outputs) -> None:
    columns = 1 if outputs == "logit" else 2
    logits = np.full((4, columns), np.nan)
    made = measure(Predictions(logits, np.ones(4, int), names(2), outputs))
    assert (made.top1, math.isnan(made.loss)) == (0, True)
    json.dumps(made.to_dict(), allow_nan=False)


def test_scores_that_are_no_numbers_come_last() -> None:
    truth = np.array([True, True, False])
    assert average_precision(np.array([np.nan, 2.0, 1.0]), truth) == pytest.approx((1 + 2 / 3) / 2)
    assert math.isnan(average_precision(np.arange(3.0), np.zeros(3, bool)))
