"""A new classifier on cached features: every photo goes through the frozen network once.

The head is multinomial logistic regression, a convex problem with one solution, so scikit-learn's
solver replaces a training loop: no learning rate, no epochs, seconds instead of minutes.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import require
from mobilenetv2.evaluate.metrics import Metrics, measure
from mobilenetv2.evaluate.predictions import Predictions
from mobilenetv2.progress import track

INVERSE_PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""scikit-learn's C: the choice is made on the selection photos."""
MOST_ITERATIONS = 300


@dataclass(frozen=True, slots=True)
class Head:
    """A fitted classifier and how it was chosen."""

    weight: NDArray
    """float32 (classes, features)."""
    bias: NDArray
    """float32 (classes,)."""
    inverse_penalty: float
    train: Metrics
    selection: Metrics


def fit(
    train: tuple[NDArray, NDArray], selection: tuple[NDArray, NDArray], names: tuple[str, ...]
) -> Head:
    """Fit one classifier for each penalty and keep that of the lowest loss on the selection photos.

    Features are standardised while fitting, and that is folded into the result.

    Args:
        train: (float (photos, features), int (photos,)); every class has photos.
        selection: the same for the photos that choose.
        names: of the classes.
    """
    linear = require("sklearn.linear_model")
    mean = train[0].mean(0)
    std = np.maximum(train[0].std(0), 1e-6)
    standard = (train[0] - mean) / std
    best: Head | None = None
    for c in track(INVERSE_PENALTIES, "fitting the head", len(INVERSE_PENALTIES)):
        model = linear.LogisticRegression(C=c, max_iter=MOST_ITERATIONS)
        with warnings.catch_warnings():
            # Not converged is fine: the selection photos judge the result as it is.
            warnings.simplefilter("ignore", require("sklearn.exceptions").ConvergenceWarning)
            model.fit(standard, train[1])
        coefficients, intercept = _for_every_class(model, len(names))
        weight = (coefficients / std).astype(np.float32)
        bias = (intercept - weight @ mean).astype(np.float32)
        measured = [
            measure(Predictions(features @ weight.T + bias, labels, names))
            for features, labels in (train, selection)
        ]
        head = Head(weight, bias, c, *measured)
        if best is None or _rank(head) > _rank(best):
            best = head
    assert best is not None
    return best


def _for_every_class(model: object, classes: int) -> tuple[NDArray, NDArray]:
    """(classes, features) and (classes,): two classes come as one row, its sign telling which."""
    coefficients = np.asarray(model.coef_)  # type: ignore[attr-defined]
    intercept = np.asarray(model.intercept_)  # type: ignore[attr-defined]
    if classes == 2:
        return (
            np.concatenate([-coefficients, coefficients]) / 2,
            np.concatenate([-intercept, intercept]) / 2,
        )
    return coefficients, intercept


def _rank(head: Head) -> tuple[float, float]:
    # As for epochs, the loss: the share of right ones is chance where few photos choose. Not
    # tempered, for where photos are few no temperature follows.
    return -head.selection.loss, head.selection.top1
