import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from mobilenetv2.editions import numpy as edition
from mobilenetv2.evaluation.calibration import (
    COLDEST,
    HOTTEST,
    fit_temperature,
    measure_calibration,
    measure_tempered,
    temper,
)
from mobilenetv2.evaluation.metrics import measure, wilson
from mobilenetv2.evaluation.predictions import Predictions
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.outputs import softmax
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig


def numbered(logits: NDArray, labels: NDArray) -> Predictions:
    return Predictions(logits, labels, tuple(map(str, range(logits.shape[1]))))


def drawn(seed: int, photos: int, classes: int, scale: float = 3.0) -> tuple[NDArray, NDArray]:
    """Logits, and labels drawn from their own probabilities: calibrated but for chance."""
    random = np.random.default_rng([seed, photos, classes])
    logits = random.normal(0, scale, (photos, classes))
    labels = [random.choice(classes, p=row) for row in softmax(logits)]
    return logits, np.array(labels)


def plain_error(logits: NDArray, labels: NDArray, bins: int) -> float:
    """Guo et al., equation 3, word for word."""
    sure, right = softmax(logits).max(1), logits.argmax(1) == labels
    total = 0.0
    for m in range(1, bins + 1):
        inside = [i for i, p in enumerate(sure) if (m - 1) / bins < p <= m / bins]
        if inside:
            accuracy = sum(bool(right[i]) for i in inside) / len(inside)
            confidence = sum(sure[i] for i in inside) / len(inside)
            total += len(inside) / len(labels) * abs(accuracy - confidence)
    return total


@given(st.integers(0, 99), st.integers(1, 80), st.integers(1, 9), st.integers(1, 20))
def test_the_error_is_the_articles(seed: int, photos: int, classes: int, bins: int) -> None:
    logits, labels = drawn(seed, photos, classes)
    made = measure_calibration(numbered(logits, labels), bins)
    assert made.error == pytest.approx(plain_error(logits, labels, bins), abs=1e-12)
    assert sum(row.count for row in made.bins) == photos == made.count
    assert made.accuracy == pytest.approx((logits.argmax(1) == labels).mean())
    assert made.confidence == pytest.approx(softmax(logits).max(1).mean())
    squares = (softmax(logits) - np.eye(classes)[labels]) ** 2
    assert made.brier == pytest.approx(squares.sum() / photos)
    # Bins only average: no division of the photos shows less than the difference of the means.
    assert made.mass_error >= abs(made.accuracy - made.confidence) - 1e-12


def test_bins_have_their_counts_means_and_intervals() -> None:
    # Confidences 0.9 (3 photos, 2 right) and 0.6 (2 photos, 1 right) of two classes.
    sure = np.array([0.9, 0.9, 0.9, 0.6, 0.6])
    logits = np.stack([np.log(sure), np.log(1 - sure)], 1)
    made = measure_calibration(numbered(logits, np.array([0, 0, 1, 0, 1])), 5)
    assert [(row.low, row.high) for row in made.bins] == [
        (0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0)
    ]  # fmt: skip
    assert [row.count for row in made.bins] == [0, 0, 2, 0, 3]  # 0.6 belongs to what it closes
    last = made.bins[4]
    assert (last.confidence, last.accuracy) == pytest.approx((0.9, 2 / 3))
    assert last.interval == wilson(2, 3)
    assert math.isnan(made.bins[0].confidence) and made.bins[0].interval == (0, 1)
    assert made.error == pytest.approx(0.6 * (0.9 - 2 / 3) + 0.4 * 0.1)


def test_equally_full_bins_do_not_hang_on_the_order_of_the_photos() -> None:
    sure = np.repeat([0.8, 0.95], 20)
    logits = np.stack([np.log(sure), np.log(1 - sure)], 1)
    labels = np.random.default_rng(0).integers(0, 2, 40)
    order = np.random.default_rng(1).permutation(40)
    made, again = (
        measure_calibration(numbered(logits, labels)),
        measure_calibration(numbered(logits[order], labels[order])),
    )
    assert made.mass_error == pytest.approx(again.mass_error, abs=1e-12)


@pytest.mark.parametrize("cautious", [True, False])
@pytest.mark.parametrize("classes", [2, 10, 300])
@pytest.mark.parametrize("wrong", [0.2, 0.5, 1.0, 3.0, 12.0])
def test_the_temperature_is_scipys_and_finds_what_was_done_to_calibrated_logits(
    classes: int, wrong: float, cautious: bool
) -> None:
    logits, labels = drawn(1, 400, classes)
    logits = (logits * wrong).astype(np.float32)
    found = fit_temperature(numbered(logits, labels), cautious)

    # As if one answer more were right and one were the next guess, spread over all photos.
    others = np.where(np.arange(classes) == labels[:, None], -np.inf, logits).argmax(1)
    twice, weights = np.concatenate([labels, others]), np.repeat([401 / 402, 1 / 402], 400)
    if not cautious:
        weights = np.repeat([1.0, 0.0], 400)

    def loss(log: float) -> float:
        tempered = softmax(np.concatenate([logits, logits]) / np.exp(log))
        found = log_loss(twice, tempered, labels=range(classes), sample_weight=weights)
        return float(found)

    bounds = (math.log(COLDEST), math.log(HOTTEST))
    best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-9})
    assert math.log(found) == pytest.approx(best.x, abs=1e-5)
    assert found == pytest.approx(wrong, rel=0.2)  # but for chance
    before, after = (
        measure_calibration(numbered(logits, labels)),
        measure_calibration(numbered(logits / found, labels)),
    )
    if wrong != 1:
        assert after.error < before.error


@given(st.integers(0, 999), st.integers(0, 30), st.integers(1, 5), st.floats(1e-3, 1e3))
def test_a_temperature_is_bounded_whatever_comes(
    seed: int, photos: int, classes: int, scale: float
) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(0, scale, (photos, classes))
    found = fit_temperature(numbered(logits, random.integers(0, classes, photos)))
    assert COLDEST * (1 - 1e-9) <= found <= HOTTEST * (1 + 1e-9)


def test_answers_that_are_always_wrong_are_as_unsure_as_allowed() -> None:
    found = fit_temperature(numbered(np.array([[5.0, 0, 0]] * 60), np.array([1] * 60)))
    assert found == pytest.approx(HOTTEST)


@pytest.mark.parametrize("cautious", [True, False])
@pytest.mark.parametrize("scale", [0.5, 4.0, 15.0])
@pytest.mark.parametrize("photos", [10, 100, 2000])
def test_answers_that_are_always_right_are_not_made_certain(
    scale: float, photos: int, cautious: bool
) -> None:
    """Laplace: after n right answers of n the next is right with (n + 1) / (n + 2)."""
    labels = np.arange(photos) % 3
    logits = scale * np.eye(3)[labels]
    found = fit_temperature(numbered(logits, labels), cautious)
    assert softmax(logits / found).max(1) == pytest.approx((photos + 1) / (photos + 2), abs=1e-9)


def test_one_slight_mistake_among_many_right_answers_makes_nobody_certain() -> None:
    """By likelihood alone it was 0.28, and the loss of the others 0.34, without any 0.24."""
    right = np.tile([3.0, 0, 0, 0], (150, 1))
    slight, gross = [[1.0, 1.1, 0, 0]], [[0.0, 3.0, 0, 0]]
    found = fit_temperature(numbered(np.concatenate([right, slight]), np.zeros(151, int)))
    assert 0.4 < found < 0.8
    assert (
        fit_temperature(numbered(np.concatenate([right, slight]), np.zeros(151, int)), False) < 0.3
    )
    others, truth = np.concatenate([right, *[gross] * 5]), np.zeros(155, int)
    names = tuple("abcd")
    assert (
        measure(Predictions(others / found, truth, names)).loss
        < measure(Predictions(others, truth, names)).loss
    )


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((0, 3)), np.zeros(0, int)),
        (np.zeros((5, 3)), np.arange(5) % 3),
        (np.full((4, 2), 7.0), np.arange(4) % 2),
        (np.ones((4, 1)), np.zeros(4, int)),
        (np.full((4, 2), np.nan), np.arange(4) % 2),
    ],
)
def test_where_nothing_can_be_said_the_temperature_is_1(logits: NDArray, labels: NDArray) -> None:
    assert fit_temperature(numbered(logits, labels)) == 1.0


def test_photos_without_numbers_are_left_out_of_a_temperature_and_make_no_error_figure() -> None:
    logits, labels = drawn(2, 100, 4, 6.0)
    broken = np.concatenate([logits, [[np.nan] * 4, [np.inf, 0, 0, 0]]])
    more = np.concatenate([labels, [0, 0]])
    assert fit_temperature(numbered(broken, more)) == fit_temperature(numbered(logits, labels))
    made = measure_calibration(numbered(broken, more))
    assert math.isnan(made.error) and math.isnan(made.brier)
    assert json.loads(json.dumps(made.to_dict(), allow_nan=False))["error"] is None


def test_one_class_is_certain_and_right() -> None:
    made = measure_calibration(numbered(np.ones((3, 1)), np.zeros(3, int)))
    assert (made.error, made.brier, made.confidence, made.accuracy) == (0, 0, 1, 1)


def test_a_background_output_takes_its_share() -> None:
    logits, labels = drawn(3, 200, 4)
    with_background = np.concatenate([np.full((200, 1), -30.0), logits], 1)
    made, plain = (
        measure_calibration(numbered(with_background, labels + 1)),
        measure_calibration(numbered(logits, labels)),
    )
    assert made.error == pytest.approx(plain.error, abs=1e-9)
    assert fit_temperature(numbered(with_background, labels + 1)) == pytest.approx(
        fit_temperature(numbered(logits, labels)), rel=1e-6
    )
    louder = np.concatenate([np.full((200, 1), 3.0), logits], 1)
    assert measure_calibration(numbered(louder, labels + 1)).accuracy < plain.accuracy


@pytest.mark.parametrize("scale", [0.3, 1.0, 6.0])
def test_tempered_figures_are_those_of_the_best_temperature_whatever_the_scale(
    scale: float,
) -> None:
    logits, labels = drawn(5, 400, 4)
    names = tuple("abcd")
    found, plain = (
        measure_tempered(Predictions(scale * logits, labels, names)),
        measure(Predictions(logits, labels, names)),
    )
    assert found.top1 == plain.top1
    assert found.loss == pytest.approx(
        measure_tempered(Predictions(logits, labels, names)).loss, rel=1e-9
    )
    least = min(
        measure(Predictions(logits / temperature, labels, names)).loss
        for temperature in np.geomspace(0.05, 20, 400)
    )
    assert found.loss == pytest.approx(least, abs=1e-4) and found.loss <= least + 1e-9


def test_a_tempered_network_gives_the_logits_divided_and_the_same_answers() -> None:
    config = ModelConfig.default(published("small", width=0.1, classes=4))
    arrays = random_arrays(config.spec)
    before = {name: array.copy() for name, array in arrays.items()}
    tempered = temper(arrays, 1.7)
    pictures = np.random.default_rng(0).integers(0, 256, (3, *config.spec.size, 3), np.uint8)
    found = []
    for weights in (arrays, tempered):
        network = edition.build(config)
        edition.load(network, weights)
        found.append(edition.predictor(network)(pictures))
    np.testing.assert_allclose(found[1], found[0] / 1.7, rtol=1e-4, atol=1e-5)
    assert_array_equal(found[0].argmax(1), found[1].argmax(1))
    assert tempered.keys() == arrays.keys()
    for name, array in arrays.items():
        assert_array_equal(array, before[name])  # the old ones are not touched
        assert tempered[name].dtype == array.dtype
        same = not name.startswith("classifier.")
        assert np.array_equal(tempered[name], array) == same


@pytest.mark.parametrize("seed", range(3))
def test_photos_of_one_confidence_are_as_right_as_they_are_together(seed: int) -> None:
    logits = np.tile(np.log([0.9, 0.1]), (100, 1))
    labels = np.random.default_rng(seed).permutation(np.repeat([0, 1], [90, 10]))
    made = measure_calibration(numbered(logits, labels))
    assert made.error == pytest.approx(0, abs=1e-12)
    assert made.mass_error == pytest.approx(0, abs=1e-12)


def test_without_ties_equally_full_bins_are_plain_means() -> None:
    logits, labels = drawn(5, 90, 3)
    sure, right = softmax(logits).max(1), logits.argmax(1) == labels
    order = np.argsort(sure).reshape(15, 6)
    expected = np.abs(sure[order].mean(1) - right[order].mean(1)).mean()
    assert measure_calibration(numbered(logits, labels)).mass_error == pytest.approx(
        expected, abs=1e-12
    )


def test_among_photos_without_numbers_there_is_no_error_of_equally_full_bins() -> None:
    logits, labels = drawn(6, 40, 3)
    logits[[3, 7, 20]] = np.nan
    assert math.isnan(measure_calibration(numbered(logits, labels)).mass_error)


def test_one_logit_is_calibrated_and_tempered_as_a_softmax_of_0_and_the_logit() -> None:
    logits, labels = drawn(8, 400, 2, 5.0)
    one = Predictions(logits[:, 1:] - logits[:, :1], labels, ("a", "b"), "logit")
    for cautious in (True, False):
        assert fit_temperature(one, cautious) == pytest.approx(
            fit_temperature(numbered(logits, labels), cautious), rel=1e-9
        )
    made, expected = measure_calibration(one), measure_calibration(numbered(logits, labels))
    assert (made.error, made.brier) == pytest.approx((expected.error, expected.brier), rel=1e-9)
    assert [row.count for row in made.bins] == [row.count for row in expected.bins]


def drawn_decisions(photos: int, scale: float) -> Predictions:
    """Logits of any of four classes, and truth drawn from the probabilities without the scale."""
    random = np.random.default_rng(photos)
    logits = random.normal(-1, 2, (photos, 4))
    truth = random.random(logits.shape) < 1 / (1 + np.exp(-logits))
    return Predictions(scale * logits, truth, tuple("abcd"), "sigmoid")


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_the_temperature_of_any_of_n_has_the_least_binary_cross_entropy(scale: float) -> None:
    given = drawn_decisions(400, scale)
    found = fit_temperature(given, cautious=False)
    assert found == pytest.approx(scale, rel=0.2)

    def loss(log: float) -> float:
        probabilities = 1 / (1 + np.exp(-given.logits / np.exp(log)))
        return float(log_loss(given.truth.ravel(), probabilities.ravel()))

    bounds = (math.log(COLDEST), math.log(HOTTEST))
    best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-9})
    assert math.log(found) == pytest.approx(best.x, abs=1e-4)
    assert measure_tempered(given).loss == pytest.approx(loss(best.x), rel=1e-9)
    before, after = measure_calibration(given), measure_calibration(given.scaled(1 / found))
    assert after.error < 0.03 and (scale == 1 or after.error < before.error)


def test_of_any_of_n_every_decision_counts() -> None:
    given = drawn_decisions(100, 2.0)
    probabilities = 1 / (1 + np.exp(-given.logits))
    sure, right = np.maximum(probabilities, 1 - probabilities), (given.logits > 0) == given.truth
    made = measure_calibration(given, 10)
    assert (made.count, made.decisions, made.noun) == (400, True, "decision")
    assert made.confidence == pytest.approx(sure.mean()) and made.accuracy == right.mean()
    assert made.brier == pytest.approx(2 * ((probabilities - given.truth) ** 2).mean())
    expected = 0.0
    for low in np.arange(10) / 10:
        inside = (sure > low) & (sure <= low + 0.1)
        if inside.any():
            expected += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
    assert made.error == pytest.approx(expected, abs=1e-12)
    plain = made.to_dict()["bins"]
    assert isinstance(plain, list) and "decisions" in plain[0] and "photos" not in plain[0]


def test_a_classifier_without_bias_is_tempered() -> None:
    tempered = temper({"classifier.weight": np.ones((2, 3), np.float32)}, 2.0)
    assert list(tempered) == ["classifier.weight"] and (tempered["classifier.weight"] == 0.5).all()
