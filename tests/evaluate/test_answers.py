"""Answers taken some rows at a time are those of all at once, and take little memory."""

import math
import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from mobilenetv2.evaluate import metrics
from mobilenetv2.evaluate.answers import answers
from mobilenetv2.evaluate.calibration import calibration
from mobilenetv2.evaluate.metrics import measure, row_parts, softmax


def drawn(photos: int, classes: int) -> tuple[NDArray, NDArray]:
    random = np.random.default_rng([photos, classes])
    logits = random.normal(0, 3, (photos, classes)).astype(np.float32)
    return logits, random.integers(0, classes, photos)


def test_rows_are_divided_without_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "AT_ONCE", 30)
    for shape, lengths in (
        ((10, 7), [4, 4, 2]),
        ((3, 100), [1, 1, 1]),
        ((0, 5), []),
        ((2, 0), [2]),
    ):
        parts = list(row_parts(np.zeros(shape)))
        assert [part.stop - part.start for part in parts] == lengths
        assert [row for part in parts for row in range(part.start, part.stop)] == list(
            range(shape[0])
        )


@pytest.mark.parametrize("at_once", [1, 40, 2**20])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_they_are_those_of_all_probabilities(
    at_once: int, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "AT_ONCE", at_once)
    logits, truth = drawn(50, 9)
    found, probabilities = answers(logits, truth, scale), softmax(scale * logits.astype(float))
    assert_array_equal(found.classes, logits.argmax(1))
    assert_array_equal(found.right, logits.argmax(1) == truth)
    assert_allclose(found.sure, probabilities.max(1), rtol=1e-12)
    assert_allclose(found.of_truth, probabilities[np.arange(50), truth], rtol=1e-12)
    squares = ((probabilities - np.eye(9)[truth]) ** 2).sum(1)
    assert_allclose(found.distance, squares, rtol=1e-12)


def test_a_certain_and_right_answer_is_at_no_distance() -> None:
    found = answers(np.array([[40.0, 0.0], [0.0, 700.0]]), np.array([0, 1]))
    assert (found.distance >= 0).all() and found.distance.max() < 1e-30


def test_where_the_network_gives_no_numbers_there_are_none() -> None:
    found = answers(np.array([[np.nan, 1.0], [np.inf, 0.0], [0.0, 1.0]]), np.array([0, 0, 1]))
    assert [math.isnan(value) for value in found.sure] == [True, True, False]
    assert_array_equal(np.isnan(found.of_truth), np.isnan(found.distance))


def test_figures_take_less_memory_than_the_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "AT_ONCE", 2**16)
    logits, truth = drawn(20_000, 200)
    names = tuple(map(str, range(200)))
    tracemalloc.start()
    try:
        measure(logits, truth, names)
        calibration(logits, truth)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.5 * logits.nbytes
