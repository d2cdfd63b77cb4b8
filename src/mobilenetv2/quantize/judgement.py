"""Float against int8 on photos that neither was calibrated or trained on."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.dataset import Split
from mobilenetv2.evaluate.metrics import Z95, wilson
from mobilenetv2.evaluate.predictions import predict_split
from mobilenetv2.runtime.engine import Engine, predictor
from mobilenetv2.spec.records import Preprocessing

MOST_LOST = 2.0
"""Points of top-1 that int8 may lose."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One network on the judged photos, beside its float self."""

    photos: int
    right: int
    float_right: int
    both: int
    """How many both are right on."""
    same: int
    """How many have the float network's best class."""
    difference: float
    """Mean |difference| of the logits."""

    @property
    def top1(self) -> float:
        """Share of photos that it is right on."""
        return self.right / self.photos

    @property
    def drop(self) -> float:
        """Points of top-1 lost; negative where int8 is better."""
        return 100 * (self.float_right - self.right) / self.photos

    @property
    def drop_interval(self) -> tuple[float, float]:
        """95% interval of the drop, in points: paired, since both saw the same photos.

        Agresti and Min, Statistics in Medicine 24 (2005): half a photo is added to each of the
        four combinations of right and wrong, so that none lost of few is no certainty.
        """
        lost, won = self.float_right - self.both + 0.5, self.right - self.both + 0.5
        count = self.photos + 2
        half = Z95 * math.sqrt(lost + won - (lost - won) ** 2 / count) / count
        centre = (lost - won) / count
        return (100 * (centre - half), 100 * (centre + half))

    @property
    def agreement(self) -> float:
        """Share of photos with the float network's best class."""
        return self.same / self.photos

    @property
    def passed(self) -> bool:
        """Whether it loses no more than is allowed."""
        return self.drop <= MOST_LOST

    def to_dict(self) -> dict[str, Any]:
        """For JSON: fractions, the drop in points."""
        return {
            "photos": self.photos,
            "top1": self.top1,
            "top1_interval": list(wilson(self.right, self.photos)),
            "float_top1": self.float_right / self.photos,
            "drop_points": self.drop,
            "drop_interval": list(self.drop_interval),
            "agreement": self.agreement,
            "agreement_interval": list(wilson(self.same, self.photos)),
            "mean_abs_difference": self.difference,
            "passed": self.passed,
        }


class Judge:
    """Photos with their truth, and what the float network answers for them.

    Args:
        split: the judged photos.
        outputs: class of the dataset -> output of the network.
        reference: the float network's engine.
    """

    def __init__(
        self, split: Split, outputs: Sequence[int], record: Preprocessing, reference: Engine
    ) -> None:
        self.split, self.record = split, record
        self.truth = np.array([outputs[photo.label] for photo in split.photos])
        self.expected = self._logits(reference, "float32")

    def judge(self, engine: Engine, label: str) -> Judgement:
        """What another engine answers for the same photos."""
        found = self._logits(engine, label)
        answers, before = found.argmax(1), self.expected.argmax(1)
        return Judgement(
            len(found), int((answers == self.truth).sum()), int((before == self.truth).sum()),
            int(((answers == self.truth) & (before == self.truth)).sum()),
            int((answers == before).sum()), float(np.abs(found - self.expected).mean()),
        )  # fmt: skip

    def _logits(self, engine: Engine, label: str) -> NDArray:
        predict: Callable[[NDArray], NDArray] = predictor(engine, self.record)
        logits, _ = predict_split(predict, self.split, self.record, f"measuring {label}")
        return logits
