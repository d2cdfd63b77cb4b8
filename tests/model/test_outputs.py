"""Probabilities against the definitions, where these can be computed, and at their ends."""

import dataclasses

import numpy as np
import pytest

from mobilenetv2.errors import OutputError, SpecError
from mobilenetv2.model.initialisation import with_classes
from mobilenetv2.model.outputs import (
    answering_classes,
    log_sigmoid,
    logits_of,
    probabilities,
    require_answers,
    require_probabilities,
    sigmoid,
    softmax,
)
from mobilenetv2.spec.network import ClassifierSpec, NetworkSpec, Outputs
from mobilenetv2.spec.records import ModelConfig, Origin

LOGITS = np.random.default_rng(0).normal(scale=3, size=(5, 4)).astype(np.float32)


def test_softmax_is_its_definition_and_does_not_overflow() -> None:
    powers = np.exp(LOGITS.astype(np.float64))
    np.testing.assert_allclose(softmax(LOGITS), powers / powers.sum(1, keepdims=True), rtol=1e-12)
    assert softmax(np.array([[1000.0, 1000.0, -1000.0]])).tolist() == [[0.5, 0.5, 0.0]]
    assert np.isnan(softmax(np.array([[np.inf, 0.0]]))).any()


@pytest.mark.parametrize("kind", ["softmax", "sigmoid", "logit"])
def test_logits_of_probabilities_give_them_again(kind: Outputs) -> None:
    logits = LOGITS[:, :1] if kind == "logit" else LOGITS
    given = probabilities(logits, kind)
    found = logits_of(given[:, -logits.shape[1] :].astype(np.float32), kind)
    np.testing.assert_allclose(probabilities(found, kind), given, atol=1e-6)
    if kind != "softmax":
        np.testing.assert_allclose(found, logits, rtol=1e-4)
    certain = logits_of(np.array([[0.0], [1.0]]), kind)
    assert np.isfinite(certain).all() and certain[0] < -80 and certain[1] >= 0


def test_sigmoid_is_its_definition_and_does_not_overflow() -> None:
    np.testing.assert_allclose(sigmoid(LOGITS), 1 / (1 + np.exp(-LOGITS.astype(float))), rtol=1e-6)
    assert sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist() == [0.0, 0.5, 1.0]
    assert log_sigmoid(np.array([-1000.0, 1000.0])).tolist() == [-1000.0, 0.0]


def test_one_logit_is_two_classes_and_never_one_of_100_percent() -> None:
    found = probabilities(np.array([[0.0], [2.0], [-800.0]]), "logit")
    assert found.shape == (3, 2)
    np.testing.assert_allclose(found.sum(1), 1)
    np.testing.assert_allclose(found[1], softmax(np.array([[0.0, 2.0]]))[0])
    assert found[0].tolist() == [0.5, 0.5] and found[2].tolist() == [1.0, 0.0]


def test_sigmoids_are_each_their_own() -> None:
    np.testing.assert_array_equal(probabilities(LOGITS, "sigmoid"), sigmoid(LOGITS))
    np.testing.assert_array_equal(probabilities(LOGITS), softmax(LOGITS))


@pytest.mark.parametrize("outputs", ["softmax", "sigmoid"])
def test_the_shape_stays(outputs: str) -> None:
    assert probabilities(np.zeros((2, 3, 4)), outputs).shape == (2, 3, 4)  # type: ignore[arg-type]


def test_the_most_probable_classes_answer_and_of_sigmoids_those_above_a_half() -> None:
    values = np.array([0.1, 0.7, 0.5, 0.9, 0.0, 0.2, 0.05])
    assert answering_classes(values, "softmax") == [3, 1, 2, 5, 0]
    assert answering_classes(values, "softmax", 2) == [3, 1]
    assert answering_classes(values, "sigmoid") == [3, 1]
    assert answering_classes(values, "sigmoid", 1) == [3]
    assert answering_classes(np.full(8, 0.9), "sigmoid") == list(range(8))
    assert answering_classes(np.array([0.2, 0.5]), "sigmoid") == []


def test_a_softmax_over_one_class_is_no_answer() -> None:
    def check(classes: int, outputs: Outputs = "softmax") -> None:
        spec = NetworkSpec(classes=classes, classifier=ClassifierSpec(outputs=outputs))
        require_answers(ModelConfig.default(spec), "shoes")

    with pytest.raises(SpecError, match=r'^shoes: a softmax over one class.*"outputs": "logit"'):
        check(1)
    check(2)
    check(2, "logit")
    check(1, "sigmoid")


def test_a_classifier_that_was_never_trained_has_no_answers() -> None:
    config = ModelConfig.default(NetworkSpec(classes=1000))
    origin = Origin("features.pth", untrained_classifier=True)
    with pytest.raises(SpecError, match=r"^body: .*'features.pth'.*weights='body'.*features=True"):
        require_answers(dataclasses.replace(config, origin=origin), "body")
    require_answers(with_classes(dataclasses.replace(config, origin=origin), 3), "body")


def test_probabilities_lie_between_0_and_1_and_those_of_a_softmax_sum_to_1() -> None:
    good = np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)
    assert require_probabilities(good, "softmax", "m.tflite") is good
    require_probabilities(np.array([[0.9, 0.8]]), "sigmoid", "m.tflite")
    require_probabilities(np.zeros((0, 3)), "softmax", "m.tflite")
    rounded = np.round(softmax(np.random.default_rng(0).normal(size=(9, 500))) * 256) / 256
    require_probabilities(rounded, "softmax", "m.tflite")  # as integers of 8 bits
    cases: list[tuple[list[list[float]], Outputs]] = [
        ([[0.9, 0.8]], "softmax"), ([[1.5, -0.5]], "softmax"), ([[0.5, 1.2]], "sigmoid"),
        ([[-0.2]], "logit"), ([[np.nan, 1.0]], "softmax"), ([[0.0, 0.0]], "softmax"),
    ]  # fmt: skip
    for bad, kind in cases:
        with pytest.raises(OutputError, match=r"m\.tflite: its outputs are no"):
            require_probabilities(np.array(bad), kind, "m.tflite")
