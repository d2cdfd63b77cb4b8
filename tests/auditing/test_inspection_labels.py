"""Confident disagreement, against the definition written out and a set with known mistakes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobilenetv2.auditing.inspection import ENOUGH, find_label_errors, thresholds


def by_definition(
    probabilities: NDArray, labels: NDArray, seen: NDArray
) -> list[tuple[int, int, float]]:
    """(photo, class, margin): a photo at a time."""
    classes = probabilities.shape[1]
    limits = {}
    for k in range(classes):
        own = [i for i, label in enumerate(labels) if label == k]
        new = [i for i in own if not seen[i]]
        used = new if len(new) >= ENOUGH else own
        if used:
            limits[k] = np.mean([probabilities[i, k] for i in used])
    found = []
    for i, label in enumerate(labels):
        confident = [k for k in limits if probabilities[i, k] >= limits[k]]
        if not confident:
            continue
        best = max(confident, key=lambda k: probabilities[i, k])
        margin = probabilities[i, best] - probabilities[i, label]
        if best != label and margin > 0:
            found.append((i, best, margin))
    return sorted(found, key=lambda one: (-one[2], one[0]))


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(2, 5), st.booleans())
def test_it_is_the_definition(seed: int, photos: int, classes: int, some_seen: bool) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(classes, 0.5), photos)
    labels = random.integers(0, classes, photos)
    seen = (random.random(photos) < 0.5) & some_seen
    found = find_label_errors(probabilities, labels, seen if some_seen else None)
    wanted = by_definition(probabilities, labels, seen)
    assert [(one.photo, one.answer) for one in found] == [(i, k) for i, k, _ in wanted]
    for one in found:
        assert one.label == labels[one.photo] != one.answer
        assert one.of_label == probabilities[one.photo, one.label]
        assert one.of_answer == probabilities[one.photo, one.answer] > one.of_label
        assert one.trained_on == seen[one.photo]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_found_are_wrong_labels_and_most_of_them(seed: int) -> None:
    """A good model, whose own mistakes are no surer than its answers, and 20 labels turned over."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, 500)
    logits = random.normal(size=(500, 4)) + 3.5 * np.eye(4)[truth]
    assert 0.95 < (logits.argmax(1) == truth).mean() < 1
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = truth.copy()
    turned = random.choice(500, 20, replace=False)
    labels[turned] = (labels[turned] + 1 + random.integers(0, 3, 20)) % 4
    found = {one.photo for one in find_label_errors(probabilities, labels)}
    assert found <= set(turned.tolist()) and len(found) > 10
    assert not find_label_errors(probabilities, truth)


def test_a_class_that_the_model_finds_hard_is_not_suspected_as_a_whole() -> None:
    """All of class 1 get 0.4, class 0 gets 0.6: below what photos of class 0 get."""
    probabilities = np.array([[0.95, 0.05]] * 6 + [[0.6, 0.4]] * 6)
    labels = np.array([0] * 6 + [1] * 6)
    assert find_label_errors(probabilities, labels) == []
    probabilities[6] = [0.99, 0.01]
    (one,) = find_label_errors(probabilities, labels)
    assert (one.photo, one.answer) == (6, 0)


def test_learnt_photos_set_no_threshold_where_there_are_enough_others() -> None:
    probabilities = np.array([[0.99, 0.01]] * 10 + [[0.7, 0.3]] * ENOUGH)
    labels = np.zeros(len(probabilities), np.int64)
    seen = np.arange(len(labels)) < 10
    assert thresholds(probabilities, labels, seen)[0] == np.float64(0.7)
    fewer = slice(0, len(labels) - 1)
    mean = probabilities[fewer, 0].mean()
    assert thresholds(probabilities[fewer], labels[fewer], seen[fewer])[0] == mean


def test_photos_without_an_answer_and_classes_without_photos_are_passed_over() -> None:
    probabilities = np.array([[np.nan, np.nan, np.nan], [0.1, 0.1, 0.8], [0.9, 0.1, 0.0]])
    labels = np.array([0, 0, 1])
    limits = thresholds(probabilities, labels, np.zeros(3, bool))
    assert limits.tolist() == [0.1, 0.1, np.inf]
    assert [one.photo for one in find_label_errors(probabilities, labels)] == [2]  # never class 2
    assert find_label_errors(probabilities[:1], labels[:1]) == []
    assert find_label_errors(np.zeros((0, 3)), np.zeros(0, np.int64)) == []
