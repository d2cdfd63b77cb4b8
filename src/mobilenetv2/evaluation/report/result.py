"""The content of a report: a model, the photos of a split, its answers and its metrics."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.dataset import Split
from mobilenetv2.evaluation.calibration import TEMPERATURE, Calibration, measure_calibration
from mobilenetv2.evaluation.metrics import Metrics, measure
from mobilenetv2.evaluation.predictions import Answers, Predictions, answers_of
from mobilenetv2.spec.foreign import AnyConfig


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a photo and its probability.

    If photos may have several classes, it is the decision about one class.
    """

    photo: int
    """Index of the photo in the split."""
    truth: tuple[int, ...]
    """Indices of the true classes of the photo."""
    answer: int
    """Index of the answered class, or of the class of the decision."""
    probability: float
    """Probability of that class."""
    of_truth: float
    """Probability of the true class; NaN if photos may have several classes."""
    right: bool
    """True for a correct answer."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of the evaluation of a model on a split."""

    model: str
    """Name or path of the model, as given."""
    data: str
    """Place of the photos, as given."""
    split: Split
    config: AnyConfig
    predictions: Predictions
    """Logits and true classes of the photos, in the order of the split."""
    answers: Answers
    """Answer to each photo; if photos may have several classes, decision about each class."""
    metrics: Metrics
    calibration: Calibration
    before: Calibration | None
    """Calibration before temperature scaling; None for a model without it."""
    how: Mapping[str, str] = field(default_factory=dict)
    """Settings of the evaluation: 'runtime', 'device', 'flips'; empty if unknown."""

    @classmethod
    def of(
        cls, model: str, data: str, split: Split, config: AnyConfig, predictions: Predictions,
        how: Mapping[str, str] | None = None,
    ) -> "Result":  # fmt: skip
        """Return the result of a model's predictions for a split."""
        temperature = temperature_of(config)
        before = measure_calibration(predictions.scaled(temperature)) if temperature else None
        answers = answers_of(predictions.decisions() if predictions.several else predictions)
        return cls(
            model, data, split, config, predictions, answers, measure(predictions),
            measure_calibration(predictions), before, how or {},
        )  # fmt: skip

    @property
    def temperature(self) -> float | None:
        """Temperature of the model's temperature scaling; None without it."""
        return temperature_of(self.config)

    def calibrations(self) -> list[tuple[str, Calibration]]:
        """Return (title, calibration) pairs to draw: before and after temperature scaling."""
        if self.before is None:
            return [("Without temperature scaling", self.calibration)]
        return [
            ("Before temperature scaling", self.before),
            (f"After (temperature {self.temperature:.2f})", self.calibration),
        ]  # fmt: skip

    def most_confident_errors(self, most: int) -> list[Answer]:
        """Return wrong answers, the most confident first."""
        wrong = np.flatnonzero(~self.answers.right)
        return self._chosen(wrong, -self.answers.confidence, most)

    def least_sure(self, most: int) -> list[Answer]:
        """Return correct answers, the least confident first; none if photos may have several
        classes."""
        right = np.flatnonzero(self.answers.right & (not self.predictions.several))
        return self._chosen(right, self.answers.confidence, most)

    def _chosen(self, among: NDArray, key: NDArray, most: int) -> list[Answer]:
        places = among[np.argsort(key[among], kind="stable")[:most]].tolist()
        return [self._decision(p) if self.predictions.several else self._answer(p) for p in places]

    def _answer(self, photo: int) -> Answer:
        found = self.answers
        return Answer(
            photo, (int(found.truth[photo]),), int(found.classes[photo]),
            float(found.confidence[photo]), float(found.of_truth[photo]), bool(found.right[photo]),
        )  # fmt: skip

    def _decision(self, place: int) -> Answer:
        photo, class_ = divmod(place, len(self.predictions.names))
        truth = tuple(np.flatnonzero(self.predictions.truth[photo]).tolist())
        sure = float(self.answers.confidence[place])
        probability = sure if self.answers.classes[place] else 1 - sure
        return Answer(photo, truth, class_, probability, math.nan, bool(self.answers.right[place]))

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        measured = self.calibration.to_dict()
        return {
            "model": self.model,
            "data": self.data,
            "split": self.split.name,
            "how": dict(self.how),
            **self.metrics.to_dict(),
            "calibration_error": measured["error"],
            "calibration": measured,
        }


def temperature_of(config: AnyConfig) -> float | None:
    """Return the temperature in a config; None if there is none or it is not a valid one."""
    found = config.metrics.get(TEMPERATURE)
    return found if found is not None and 0 < found < np.inf else None
