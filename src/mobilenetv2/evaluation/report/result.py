"""The content of a report: a model, the photos it was asked about, its answers, its figures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.dataset import Split
from mobilenetv2.evaluation.calibration import TEMPERATURE, Calibration, measure_calibration
from mobilenetv2.evaluation.metrics import Metrics, measure
from mobilenetv2.evaluation.predictions import Answers, Predictions, answers_of
from mobilenetv2.spec.records import ModelConfig


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to a photo, and its confidence.

    Where a photo may have several classes, it is the yes or no to one of them.
    """

    photo: int
    """Index of the photo in the split."""
    truth: tuple[int, ...]
    """The classes of the photo."""
    answer: int
    """The class that was answered, or decided on."""
    probability: float
    """Probability of that class."""
    of_truth: float
    """The probability of the true class; NaN where a photo may have several."""
    right: bool


@dataclass(frozen=True, slots=True)
class Result:
    """A model on a split, measured."""

    model: str
    """Name of the model, as a person gave it."""
    data: str
    split: Split
    config: ModelConfig
    predictions: Predictions
    """Logits and labels of the photos of the split, in its order."""
    answers: Answers
    """The answer to each photo; where one may have several classes, to each class of each."""
    metrics: Metrics
    calibration: Calibration
    before: Calibration | None
    """The calibration without the temperature; None: the model has none."""
    how: Mapping[str, str] = field(default_factory=dict)
    """Settings that computed the answers: 'runtime', 'device', 'flips'; empty where unknown."""

    @classmethod
    def of(
        cls, model: str, data: str, split: Split, config: ModelConfig, predictions: Predictions,
        how: Mapping[str, str] | None = None,
    ) -> "Result":  # fmt: skip
        """Measure a model's predictions for a split."""
        temperature = temperature_of(config)
        before = measure_calibration(predictions.scaled(temperature)) if temperature else None
        answers = answers_of(predictions.decisions() if predictions.several else predictions)
        return cls(
            model, data, split, config, predictions, answers, measure(predictions),
            measure_calibration(predictions), before, how or {},
        )  # fmt: skip

    @property
    def temperature(self) -> float | None:
        """The temperature that the classifier was divided by; None: it was not."""
        return temperature_of(self.config)

    def calibrations(self) -> list[tuple[str, Calibration]]:
        """Return what there is to draw, each with its title: before and after the temperature."""
        if self.before is None:
            return [("As it is", self.calibration)]
        return [
            ("Before", self.before), (f"After temperature {self.temperature:.2f}", self.calibration)
        ]  # fmt: skip

    def most_confident_errors(self, most: int) -> list[Answer]:
        """Return wrong answers, the most confident first."""
        wrong = np.flatnonzero(~self.answers.right)
        return self._chosen(wrong, -self.answers.confidence, most)

    def least_sure(self, most: int) -> list[Answer]:
        """Return right answers, the least confident first; none where a photo may have several
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


def temperature_of(config: ModelConfig) -> float | None:
    """Return the temperature that a config names, if it can be one."""
    found = config.metrics.get(TEMPERATURE)
    return found if found is not None and 0 < found < np.inf else None
