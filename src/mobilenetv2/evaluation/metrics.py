"""Metrics of a classifier: accuracy, loss, metrics of each class, 95% intervals."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.evaluation.predictions import Predictions
from mobilenetv2.model.outputs import log_sigmoid
from mobilenetv2.text import plain

Z95 = 1.959963984540054
"""Two-sided 95% quantile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Recall and precision of one class."""

    name: str
    photos: int
    recall: float
    """Share of the class's photos that were answered with it; NaN without photos."""
    recall_interval: tuple[float, float]
    precision: float
    """Share of the answers with this class that are correct; NaN without such answers."""
    precision_interval: tuple[float, float]
    f1: float = math.nan
    """F1 score: harmonic mean of recall and precision; NaN without photos and answers. The JSON has
    it for 'sigmoid' outputs only."""
    average_precision: float = math.nan
    """Average precision of 'sigmoid' outputs; NaN for other outputs or without photos."""


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """Multi-label metrics ('sigmoid' outputs), with a threshold of 0.5 for each class."""

    exact_match: float
    """Share of photos with a correct decision for every class."""
    exact_match_interval: tuple[float, float]
    macro_f1: float
    """Mean F1 over the classes with photos or answers."""
    mean_average_precision: float
    """Mean average precision over the classes with photos; NaN without any."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """Metrics of a classifier on a set of photos; shares are from 0 to 1, intervals are 95%."""

    images: int
    """Number of photos."""
    top1: float
    """Top-1 accuracy; NaN if photos may have several classes."""
    top1_interval: tuple[float, float]
    top5: float
    """Top-5 accuracy; NaN if photos may have several classes."""
    loss: float
    """Mean cross-entropy in nats; for 'sigmoid' outputs, mean binary cross-entropy over photos and
    classes."""
    confusion: NDArray
    """Confusion matrix, int64 (classes, classes): rows are true classes, columns answers. It is
    empty, (0, 0), if photos may have several classes."""
    classes: tuple[ClassFigures, ...]
    """Metrics of each class, in the order of the model's outputs."""
    labels: LabelFigures | None = None
    """Multi-label metrics of 'sigmoid' outputs; None for other outputs."""

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy, or the share of exact matches if photos may have several classes."""
        return self.labels.exact_match if math.isnan(self.top1) and self.labels else self.top1

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """Interval (95%) of :attr:`accuracy`."""
        if math.isnan(self.top1) and self.labels:
            return self.labels.exact_match_interval
        return self.top1_interval

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON; NaN becomes None."""
        of_a_class = ("name", "photos", "recall", "recall_interval", "precision")
        of_a_class += ("precision_interval", *(("f1", "average_precision") if self.labels else ()))
        return {
            **plain(self, "images", "top1", "top1_interval", "top5", "loss"),
            **(plain(self.labels, *LabelFigures.__slots__) if self.labels else {}),
            "classes": [plain(row, *of_a_class) for row in self.classes],
            "confusion": self.confusion.tolist() if self.confusion.size else None,
        }


def measure(predictions: Predictions) -> Metrics:
    """Return the metrics of predictions for at least one photo."""
    count, classes = len(predictions.truth), len(predictions.names)
    confusion = np.zeros((0, 0), np.int64)
    right, top1, top5, top1_interval = 0, math.nan, math.nan, wilson(0, 0)
    if not predictions.several:
        answers, rank = np.empty((2, count), np.int64)
        for part, scores in predictions.parts():
            answers[part] = scores.argmax(1)
            true = scores[np.arange(len(scores)), predictions.truth[part]]
            # A tie counts as correct: the rank is the number of classes with strictly higher
            # scores. NaN counts as incorrect.
            rank[part] = (~(scores <= true[:, None])).sum(1)
        right = int((answers == predictions.truth).sum())
        top1, top1_interval, top5 = right / count, wilson(right, count), float((rank < 5).mean())
        confusion = np.zeros((classes, classes), np.int64)
        np.add.at(confusion, (predictions.truth, answers), 1)
    if predictions.outputs == "sigmoid":
        rows, labels = _label_figures(predictions)
    else:
        rows, labels = [], None
        for index, name in enumerate(predictions.names):
            photos, named = int(confusion[index].sum()), int(confusion[:, index].sum())
            rows.append(_class_figures(name, photos, named, int(confusion[index, index])))
    return Metrics(
        count, top1, top1_interval, top5, _loss(predictions), confusion, tuple(rows), labels
    )


def _loss(predictions: Predictions) -> float:
    if predictions.outputs == "sigmoid":
        predictions = predictions.decisions()
    losses = np.empty(len(predictions.truth))
    for part, scores in predictions.parts():
        true = scores[np.arange(len(scores)), predictions.truth[part]]
        with np.errstate(invalid="ignore"):  # logits that are not finite give NaN
            if predictions.outputs == "logit":
                losses[part] = -log_sigmoid(true)
            else:
                peak = scores.max(1)
                losses[part] = np.log(np.exp(scores - peak[:, None]).sum(1)) + peak - true
    return float(losses.mean())


def _class_figures(name: str, photos: int, named: int, right: int) -> ClassFigures:
    return ClassFigures(
        name, photos,
        right / photos if photos else math.nan, wilson(right, photos),
        right / named if named else math.nan, wilson(right, named),
        2 * right / (photos + named) if photos + named else math.nan,
    )  # fmt: skip


def _label_figures(predictions: Predictions) -> tuple[list[ClassFigures], LabelFigures]:
    targets, decided = predictions.targets, predictions.logits > 0
    rows = []
    for name, scores, truth, said in zip(
        predictions.names, predictions.logits.T, targets.T, decided.T, strict=True
    ):
        photos, named, right = (int(one.sum()) for one in (truth, said, truth & said))
        rows.append(
            dataclasses.replace(
                _class_figures(name, photos, named, right),
                average_precision=average_precision(scores, truth),
            )
        )
    exact = int((targets == decided).all(1).sum())
    return rows, LabelFigures(
        exact / len(targets), wilson(exact, len(targets)),
        _mean([row.f1 for row in rows]), _mean([row.average_precision for row in rows]),
    )  # fmt: skip


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def average_precision(scores: NDArray, truth: NDArray) -> float:
    """Return the average precision of one class: the mean precision over all recalls.

    Args:
        scores: scores of the class, float (photos,); NaN ranks last.
        truth: True for the photos of the class, bool (photos,).

    Returns:
        Average precision from 0 to 1; NaN if no photo is of the class.
    """
    photos = int(truth.sum())
    if not photos:
        return math.nan
    order = np.argsort(-scores, kind="stable")
    ranked, found = scores[order], np.cumsum(truth[order])
    last = np.append(ranked[1:] != ranked[:-1], True)  # equal scores have the same rank
    found, named = found[last], np.flatnonzero(last) + 1
    return float((np.diff(found, prepend=0) * found / named).sum() / photos)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return Wilson's 95% interval of a proportion; (0, 1) without trials.

    It is also accurate near 0 and 1 and for few trials.
    """
    if trials == 0:
        return (0.0, 1.0)
    share, square = successes / trials, Z95**2 / trials
    centre = (share + square / 2) / (1 + square)
    half = math.sqrt(share * (1 - share) * square + square**2 / 4) / (1 + square)
    return (max(0.0, centre - half), min(1.0, centre + half))
