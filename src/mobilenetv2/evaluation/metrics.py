"""Metrics of a classifier: accuracy, loss, metrics of each class, confidence intervals."""

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
    """NaN without photos, as are ``f1`` and ``average_precision``."""
    recall_interval: tuple[float, float]
    precision: float
    """NaN where no answer named this class."""
    precision_interval: tuple[float, float]
    f1: float = math.nan
    """F1 score; NaN unless the outputs are 'sigmoid', as is ``average_precision``."""
    average_precision: float = math.nan


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """Multi-label metrics ('sigmoid' outputs): each class is decided at 0.5."""

    exact_match: float
    """Share of photos on which every class was decided correctly."""
    exact_match_interval: tuple[float, float]
    macro_f1: float
    """Mean F1 over the classes that have photos or were named."""
    mean_average_precision: float
    """Mean average precision over the classes that have photos; NaN if none has."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """Metrics of a classifier on a set of photos, as fractions; intervals are 95%."""

    images: int
    top1: float
    """NaN where a photo may have several classes, as is ``top5``."""
    top1_interval: tuple[float, float]
    top5: float
    loss: float
    """Mean cross-entropy in nats; for 'sigmoid' outputs binary cross-entropy, over classes, too."""
    confusion: NDArray
    """int64 (classes, classes): rows are the truth, columns the answers; (0, 0) where a photo may
    have several classes."""
    classes: tuple[ClassFigures, ...]
    labels: LabelFigures | None = None
    """Multi-label metrics of 'sigmoid' outputs; None for others."""

    @property
    def accuracy(self) -> float:
        """``top1``; where a photo may have several classes, the share of exact matches."""
        return self.labels.exact_match if math.isnan(self.top1) and self.labels else self.top1

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """95% interval of :attr:`accuracy`."""
        if math.isnan(self.top1) and self.labels:
            return self.labels.exact_match_interval
        return self.top1_interval

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON; a figure that does not exist is null."""
        of_a_class = ("name", "photos", "recall", "recall_interval", "precision")
        of_a_class += ("precision_interval", *(("f1", "average_precision") if self.labels else ()))
        return {
            **plain(self, "images", "top1", "top1_interval", "top5", "loss"),
            **(plain(self.labels, *LabelFigures.__slots__) if self.labels else {}),
            "classes": [plain(row, *of_a_class) for row in self.classes],
            "confusion": self.confusion.tolist() if self.confusion.size else None,
        }


def measure(predictions: Predictions) -> Metrics:
    """Return all metrics of predictions for at least one photo."""
    count, classes = len(predictions.truth), len(predictions.names)
    confusion = np.zeros((0, 0), np.int64)
    right, top1, top5, top1_interval = 0, math.nan, math.nan, wilson(0, 0)
    if not predictions.several:
        answers, rank = np.empty((2, count), np.int64)
        for part, scores in predictions.parts():
            answers[part] = scores.argmax(1)
            true = scores[np.arange(len(scores)), predictions.truth[part]]
            # A tie counts for the class: its rank is the number of classes that are strictly
            # better. Where the network gives no numbers, nothing counts for it.
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
        with np.errstate(invalid="ignore"):  # logits that are no finite numbers give NaN
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
                f1=2 * right / (photos + named) if photos + named else math.nan,
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
    """Return the average precision of scores: the mean precision over all recalls.

    Args:
        scores: float (photos,) of one class; NaN comes last.
        truth: bool (photos,): the photos of the class.

    Returns:
        0 to 1; NaN where no photo is of the class.
    """
    photos = int(truth.sum())
    if not photos:
        return math.nan
    order = np.argsort(-scores, kind="stable")
    ranked, found = scores[order], np.cumsum(truth[order])
    last = np.append(ranked[1:] != ranked[:-1], True)  # equal scores pass a threshold together
    found, named = found[last], np.flatnonzero(last) + 1
    return float((np.diff(found, prepend=0) * found / named).sum() / photos)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return Wilson's 95% interval of a proportion; it holds near 0 and 1 and for few trials, too.

    Without trials it is (0, 1).
    """
    if trials == 0:
        return (0.0, 1.0)
    share, square = successes / trials, Z95**2 / trials
    centre = (share + square / 2) / (1 + square)
    half = math.sqrt(share * (1 - share) * square + square**2 / 4) / (1 + square)
    return (max(0.0, centre - half), min(1.0, centre + half))
