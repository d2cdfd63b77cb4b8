"""The effect of numerics: what the same weights answer under others (``--ignore-numerics``)."""

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.editions.edition import find
from mobilenetv2.evaluate.predictions import class_scores
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.records import ModelConfig

BATCH = 8


@dataclass(frozen=True, slots=True)
class NumericsEffect:
    """The same pictures through both networks."""

    pictures: int
    agreements: int
    """Pictures with the same best class."""
    difference: float
    """Largest |difference of logits|."""
    scale: float
    """Largest |logit| before."""

    def __str__(self) -> str:
        return (
            f"{self.agreements} of {self.pictures} photos keep their best class; logits of up to "
            f"{self.scale:.3g} change by up to {self.difference:.3g}"
        )


def numerics_effect(
    before: ModelConfig, after: ModelConfig, arrays: Arrays, pictures: NDArray
) -> NumericsEffect:
    """Compare two configs with the same weights.

    Args:
        arrays: canonical.
        pictures: uint8 (batch, height, width, channels), at the networks' size.
    """
    # Either computes the same; the plain reference takes a second a picture.
    edition = find("torch" if find_spec("torch") else "numpy")
    logits = []
    for config in (before, after):
        network = edition.build(config)
        edition.load(network, arrays)
        predict = edition.predictor(network)
        parts = [predict(pictures[i : i + BATCH]) for i in range(0, len(pictures), BATCH)]
        logits.append(np.concatenate(parts))
    one, other = logits
    first, second = (class_scores(x, before.spec.classifier.outputs).argmax(1) for x in logits)
    return NumericsEffect(
        len(pictures), int((first == second).sum()),
        float(np.abs(one - other).max()), float(np.abs(one).max()),
    )  # fmt: skip
