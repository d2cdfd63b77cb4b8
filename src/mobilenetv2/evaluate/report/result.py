"""What a report is about: a model, the photos it was asked about, what it answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.dataset import Split
from mobilenetv2.evaluate.answers import Answers, answers
from mobilenetv2.evaluate.calibration import TEMPERATURE, Calibration, calibrated
from mobilenetv2.evaluate.metrics import Metrics, measure
from mobilenetv2.spec.records import ModelConfig

SEEN = ("train", "selection")
"""Splits that models are trained on or chosen by: figures of them flatter."""


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
    answers: Answers
    metrics: Metrics
    calibration: Calibration
    before: Calibration | None
    """What it would be without the temperature; None: the model has none."""
    how: Mapping[str, str] = field(default_factory=dict)
    """What computed the answers: 'runtime', 'device', 'flips'; empty where nobody says."""

    @classmethod
    def of(
        cls, model: str, data: str, split: Split, config: ModelConfig, logits: NDArray,
        truth: NDArray, how: Mapping[str, str] | None = None,
    ) -> "Result":  # fmt: skip
        """Measure it."""
        found, temperature = answers(logits, truth), divided_by(config)
        before = calibrated(answers(logits, truth, temperature)) if temperature else None
        return cls(
            model, data, split, config, logits, truth, found,
            measure(logits, truth, config.labels.names), calibrated(found), before,
            how or {},
        )  # fmt: skip

    @property
    def temperature(self) -> float | None:
        """That the model's classifier was divided by; None: it was not."""
        return divided_by(self.config)

    def calibrations(self) -> list[tuple[str, Calibration]]:
        """What there is to draw, each with its title: before and after the temperature."""
        if self.before is None:
            return [("As it is", self.calibration)]
        return [
            ("Before", self.before), (f"After temperature {self.temperature:.2f}", self.calibration)
        ]  # fmt: skip

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
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


def divided_by(config: ModelConfig) -> float | None:
    """The temperature that a config names, if it can be one."""
    found = config.metrics.get(TEMPERATURE)
    return found if found is not None and 0 < found < np.inf else None


def surest_mistakes(given: Answers, most: int) -> list[Answer]:
    """Wrong answers, the surest first."""
    return _chosen(given, np.flatnonzero(~given.right), -given.sure, most)


def least_sure(given: Answers, most: int) -> list[Answer]:
    """Right answers, the least sure first."""
    return _chosen(given, np.flatnonzero(given.right), given.sure, most)


def _chosen(given: Answers, among: NDArray, key: NDArray, most: int) -> list[Answer]:
    return [
        Answer(
            int(photo), int(given.truth[photo]), int(given.classes[photo]),
            float(given.sure[photo]), float(given.of_truth[photo]),
        )
        for photo in among[np.argsort(key[among], kind="stable")[:most]]
    ]  # fmt: skip
