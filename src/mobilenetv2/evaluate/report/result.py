"""What a report is about: a model, the photos it was asked about, what it answered."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.dataset import Split
from mobilenetv2.evaluate.calibration import Calibration, calibration
from mobilenetv2.evaluate.metrics import Metrics, measure, softmax
from mobilenetv2.spec.records import ModelConfig


@dataclass(frozen=True, slots=True)
class Answer:
    """A photo by its place in the split, what it is, what was answered, and how surely."""

    photo: int
    truth: int
    answer: int
    probability: float
    of_truth: float
    """The probability that the true class was given."""


@dataclass(frozen=True, slots=True)
class Result:
    """A model on a split, measured."""

    model: str
    """As a person gave it."""
    data: str
    split: Split
    config: ModelConfig
    logits: NDArray
    """float (photos, classes), in the split's order."""
    truth: NDArray
    """int (photos,), as outputs of the model."""
    metrics: Metrics
    calibration: Calibration

    @classmethod
    def of(
        cls, model: str, data: str, split: Split, config: ModelConfig, logits: NDArray,
        truth: NDArray,
    ) -> "Result":  # fmt: skip
        """Measure it."""
        metrics = measure(logits, truth, config.labels.names)
        return cls(
            model, data, split, config, logits, truth, metrics, calibration(logits, truth)
        )  # fmt: skip

    @property
    def temperature(self) -> float | None:
        """That the model's classifier was divided by; None: it was not."""
        found = self.config.metrics.get("temperature")
        return found if found is not None and 0 < found < np.inf else None

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        measured = self.calibration.to_dict()
        return {
            "model": self.model,
            "data": self.data,
            "split": self.split.name,
            **self.metrics.to_dict(),
            "calibration_error": measured["error"],
            "calibration": measured,
        }


def surest_mistakes(logits: NDArray, truth: NDArray, most: int) -> list[Answer]:
    """The surest first.

    Args:
        logits: float (photos, classes).
        truth: int (photos,).
    """
    answers, sure = _answers(logits)
    return _chosen(logits, truth, np.flatnonzero(answers != truth), -sure, most)


def least_sure(logits: NDArray, truth: NDArray, most: int) -> list[Answer]:
    """Right answers, the least sure first."""
    answers, sure = _answers(logits)
    return _chosen(logits, truth, np.flatnonzero(answers == truth), sure, most)


def _answers(logits: NDArray) -> tuple[NDArray, NDArray]:
    probabilities = softmax(logits)
    return probabilities.argmax(1), probabilities.max(1)


def _chosen(
    logits: NDArray, truth: NDArray, among: NDArray, key: NDArray, most: int
) -> list[Answer]:
    kept = among[np.argsort(key[among], kind="stable")[:most]]
    probabilities = softmax(logits[kept])
    return [
        Answer(
            int(photo), int(truth[photo]), int(row.argmax()), float(row.max()),
            float(row[truth[photo]]),
        )
        for photo, row in zip(kept, probabilities, strict=True)
    ]  # fmt: skip
