import json
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from mobilenetv2.evaluation.calibration import measure_calibration
from mobilenetv2.evaluation.metrics import measure
from mobilenetv2.evaluation.predictions import Predictions
from mobilenetv2.evaluation.report.result import Result
from mobilenetv2.model.outputs import softmax

LOGITS = np.array([[0.0, 2.0], [3.0, 0.0], [0.0, 1.0], [0.0, 5.0]])


@pytest.fixture
def answered(make_result: Callable[..., Result]) -> Callable[[Sequence[int]], Result]:
    """A result of four photos of two classes, with the logits above."""

    def make(truth: Sequence[int]) -> Result:
        given = make_result()
        split = given.split.with_photos(given.split.photos[:4])
        predictions = Predictions(LOGITS, np.array(truth), ("a", "b"))
        return Result.of("m", "d", split, given.config, predictions)

    return make


def test_the_most_confident_errors_come_first(answered: Callable[[Sequence[int]], Result]) -> None:
    mistakes = answered([0, 0, 0, 0]).most_confident_errors(2)
    assert [(m.photo, m.truth, m.answer, m.right) for m in mistakes] == [
        (3, (0,), 1, False), (0, (0,), 1, False),
    ]  # fmt: skip
    assert mistakes[0].probability == pytest.approx(1 / (1 + np.exp(-5)))
    assert mistakes[0].of_truth == pytest.approx(1 / (1 + np.exp(5)))
    assert answered([1, 0, 1, 1]).most_confident_errors(2) == []


def test_the_least_sure_right_answers_come_first(
    answered: Callable[[Sequence[int]], Result],
) -> None:
    found = answered([1, 0, 1, 0]).least_sure(9)
    assert [answer.photo for answer in found] == [2, 0, 1]
    assert all(a.probability == a.of_truth == softmax(LOGITS[a.photo]).max() for a in found)
    assert all(answer.right for answer in found)


def test_a_result_is_measured_and_plain_as_json(make_result: Callable[..., Result]) -> None:
    result = make_result()
    assert result.metrics.top1 == measure(result.predictions).top1
    assert result.calibration == measure_calibration(result.predictions)
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert (plain["model"], plain["data"], plain["split"]) == ("models/shapes", "photos", "all")
    assert plain["calibration_error"] == plain["calibration"]["error"] == result.calibration.error


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [({}, None), ({"temperature": 1.5}, 1.5), ({"temperature": 0.0}, None),
     ({"temperature": float("inf")}, None)],
)  # fmt: skip
def test_a_temperature_is_what_the_config_says_if_it_can_be_one(
    metrics: dict[str, float], expected: float | None, make_result: Callable[..., Result]
) -> None:
    assert make_result(metrics).temperature == expected


def test_what_computed_is_in_the_json(make_result: Callable[..., Result]) -> None:
    given = make_result()
    assert given.to_dict()["how"] == {}
    how = {"runtime": "torch", "device": "cuda", "flips": "yes"}
    made = Result.of("m", "d", given.split, given.config, given.predictions, how)
    assert made.to_dict()["how"] == how


def test_where_photos_have_several_classes_the_mistakes_are_of_single_classes(
    make_result: Callable[..., Result],
) -> None:
    given = make_result()
    split = given.split.with_photos(given.split.photos[:3])
    logits = np.array([[4.0, -3.0], [1.0, -2.0], [-5.0, -6.0]])
    truth = np.array([[1, 1], [0, 0], [0, 0]])
    predictions = Predictions(logits, truth, ("a", "b"), "sigmoid")
    result = Result.of("m", "d", split, given.config, predictions)
    missed, extra = result.most_confident_errors(9)
    assert (missed.photo, missed.answer, missed.truth, missed.right) == (0, 1, (0, 1), False)
    assert missed.probability == pytest.approx(1 / (1 + np.exp(3))) and math.isnan(missed.of_truth)
    assert (extra.photo, extra.answer, extra.truth) == (1, 0, ())
    assert extra.probability == pytest.approx(1 / (1 + np.exp(-1)))
    assert result.least_sure(9) == []
    assert result.to_dict()["top1"] is None and result.calibration.decisions
