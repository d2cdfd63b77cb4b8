"""Label errors: photos that a model confidently takes for another class than their folder's.

Confident learning (C. G. Northcutt, L. Jiang, I. L. Chuang 2021, JAIR 70, arXiv 1911.00068,
section 3.1): a model is confident that a photo is of a class where it gives the class at least the
probability that it gives it on average on the photos labelled so. A class that the model finds
hard has a low threshold, so that its photos are not all suspected. Beyond the article, the other
class must be likelier than the label itself, and the ranking is by how much.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ENOUGH = 5
"""Photos that were not trained on, from which a class takes its threshold; with fewer it takes
that of all its photos."""


@dataclass(frozen=True, slots=True)
class LabelError:
    """A photo by its place, its label, and the class that the model takes it for."""

    photo: int
    label: int
    answer: int
    of_label: float
    """Probability of the label."""
    of_answer: float
    trained_on: bool
    """The model has learnt this label, which it doubts all the same."""


def find_label_errors(
    probabilities: NDArray, labels: NDArray, trained_on: NDArray | None = None
) -> list[LabelError]:
    """Return the labels that a model doubts, the most confident disagreement first.

    Args:
        probabilities: float (photos, classes); rows that are not numbers are skipped.
        labels: int (photos,).
        trained_on: bool (photos,): the model has learnt these photos' labels. It is surer of them
            than of others, so that they set no threshold where there are enough others.
    """
    seen = np.zeros(len(labels), bool) if trained_on is None else trained_on
    limits = thresholds(probabilities, labels, seen)
    known = np.isfinite(probabilities).all(1)
    confident = np.where(probabilities >= limits, probabilities, -1.0)
    confident[~known] = -1.0
    answers = confident.argmax(1)
    rows = np.arange(len(labels))
    of_label, of_answer = probabilities[rows, labels], confident[rows, answers]
    margins = of_answer - of_label
    doubted = np.flatnonzero(known & (answers != labels) & (margins > 0))
    return [
        LabelError(
            int(place), int(labels[place]), int(answers[place]),
            float(of_label[place]), float(of_answer[place]), bool(seen[place]),
        )
        for place in doubted[np.argsort(-margins[doubted], kind="stable")]
    ]  # fmt: skip


def thresholds(probabilities: NDArray, labels: NDArray, trained_on: NDArray) -> NDArray:
    """Return the mean probability of each class on the photos labelled so: float (classes,).

    A class without photos has no threshold: infinity, so that nothing is taken for it.
    """
    known = np.isfinite(probabilities).all(1)
    limits = np.full(probabilities.shape[1], np.inf)
    for label in range(probabilities.shape[1]):
        own = known & (labels == label)
        new = own & ~trained_on
        chosen = new if new.sum() >= ENOUGH else own
        if chosen.any():
            limits[label] = probabilities[chosen, label].mean()
    return limits
