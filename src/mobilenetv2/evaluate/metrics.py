"""Figures of a classifier from its logits: top-k accuracy, loss, per-class figures, intervals."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054
"""Two-sided 95% quantile of the normal distribution."""
AT_ONCE = 2**20
"""Logits that are worked on at once: 8 MB in float64, of which a few copies are held."""


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class: how many of its photos were found, how many so named were right."""

    name: str
    photos: int
    recall: float
    recall_interval: tuple[float, float]
    precision: float
    """NaN where nothing was given this name."""
    precision_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Metrics:
    """A classifier on a set of photos. Fractions, not percent."""

    images: int
    top1: float
    top1_interval: tuple[float, float]
    top5: float
    loss: float
    """Mean cross-entropy in nats."""
    confusion: NDArray
    """int64 (classes, classes): rows are the truth, columns the answers."""
    classes: tuple[ClassFigures, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON; a figure that does not exist is null."""
        return {
            "images": self.images,
            "top1": self.top1,
            "top1_interval": list(self.top1_interval),
            "top5": self.top5,
            "loss": number(self.loss),
            "classes": [
                {
                    "name": row.name,
                    "photos": row.photos,
                    "recall": number(row.recall),
                    "recall_interval": list(row.recall_interval),
                    "precision": number(row.precision),
                    "precision_interval": list(row.precision_interval),
                }
                for row in self.classes
            ],
            "confusion": self.confusion.tolist(),
        }


def measure(logits: NDArray, labels: NDArray, names: tuple[str, ...]) -> Metrics:
    """All figures.

    Args:
        logits: float (photos, classes); at least one photo.
        labels: int (photos,), the true classes.
        names: of the classes.
    """
    count, classes = logits.shape
    answers, rank, losses = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count)
    for part in row_parts(logits):
        values = logits[part].astype(np.float64)
        answers[part] = values.argmax(1)
        true = values[np.arange(len(values)), labels[part]]
        # A tie counts for the class: its rank is the number of classes that are strictly better.
        # Where the network gives no numbers, nothing counts for it.
        rank[part] = (~(values <= true[:, None])).sum(1)
        peak = values.max(1)
        with np.errstate(invalid="ignore"):  # as in softmax
            losses[part] = np.log(np.exp(values - peak[:, None]).sum(1)) + peak - true
    right = int((answers == labels).sum())
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, answers), 1)
    return Metrics(
        images=count,
        top1=right / count,
        top1_interval=wilson(right, count),
        top5=float((rank < 5).mean()),
        loss=float(losses.mean()),
        confusion=confusion,
        classes=tuple(_class(name, i, confusion) for i, name in enumerate(names)),
    )


def row_parts(logits: NDArray) -> Iterator[slice]:
    """Rows to work on at a time: float64 copies of all, several of them, would be many gigabytes.

    Args:
        logits: (photos, classes).
    """
    count, classes = logits.shape
    rows = max(1, AT_ONCE // max(1, classes))
    return (slice(start, min(start + rows, count)) for start in range(0, count, rows))


def _class(name: str, index: int, confusion: NDArray) -> ClassFigures:
    right = int(confusion[index, index])
    photos, named = int(confusion[index].sum()), int(confusion[:, index].sum())
    return ClassFigures(
        name, photos,
        right / photos if photos else math.nan, wilson(right, photos),
        right / named if named else math.nan, wilson(right, named),
    )  # fmt: skip


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95% interval of a proportion: honest also near 0 and 1 and for few trials.

    Without trials nothing is known: (0, 1).
    """
    if trials == 0:
        return (0.0, 1.0)
    share, square = successes / trials, Z95**2 / trials
    centre = (share + square / 2) / (1 + square)
    half = math.sqrt(share * (1 - share) * square + square**2 / 4) / (1 + square)
    return (max(0.0, centre - half), min(1.0, centre + half))


def softmax(logits: NDArray) -> NDArray:
    """Probabilities along the last axis, in float64; NaN where a logit is NaN or infinite."""
    with np.errstate(invalid="ignore"):
        shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
        exponents = np.exp(shifted)
        return np.asarray(exponents / exponents.sum(-1, keepdims=True))


def number(value: float) -> float | None:
    """A figure for JSON, which knows neither NaN nor infinity: they are null."""
    return value if math.isfinite(value) else None
