"""An exported file against its edition: the same pictures through both, logits held together."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError
from mobilenetv2.formats import Precision
from mobilenetv2.images.preprocess import normalise
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.runtime.engine import Engine
from mobilenetv2.spec.records import ModelConfig

TOLERANCES: Mapping[Precision, float] = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 1e-1}
"""A difference of logits is at most this times max(1, the reference's largest). bfloat16 has three
bits less than float16."""
RANDOM = 2
"""Random tensors beside the pictures."""
WIDER = (33, 64)
"""Rows and columns that a picture of another size has more: an odd number and an even one."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found."""

    photos: int
    random: int
    difference: float
    """Largest |difference| of any logit; infinite where one is not a number."""
    largest: float
    """Largest |logit| of the reference."""
    deviation: float
    """Standard deviation of the reference's logits: near 0 little is compared."""
    tolerance: float
    same_top1: int
    """Of the photos: how many have the reference's best class."""

    @property
    def relative(self) -> float:
        """The difference as a share of max(1, the reference's largest)."""
        return self.difference / max(1.0, self.largest)

    @property
    def passed(self) -> bool:
        """Whether the file is the network."""
        return self.relative <= self.tolerance

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "photos": self.photos,
            "random_tensors": self.random,
            "max_abs_difference": self.difference if np.isfinite(self.difference) else None,
            "max_abs_reference": self.largest,
            "standard_deviation_of_reference": self.deviation,
            "relative": self.relative if np.isfinite(self.relative) else None,
            "tolerance": self.tolerance,
            "same_top1": self.same_top1,
            "passed": self.passed,
        }


class Reference:
    """What the plain edition, in float64, answers; computed once for all formats.

    Args:
        arrays: canonical.
        photos: uint8 (n, height, width, channels) at the network's size, at least one.
    """

    def __init__(self, config: ModelConfig, arrays: Arrays, photos: NDArray) -> None:
        self.config, self.arrays, self.photos = config, arrays, photos
        self._random = np.random.default_rng(0)

    @cached_property
    def network(self) -> plain.MobileNetV2:
        """The plain edition."""
        network = plain.build(self.config, dtype="float64")
        plain.load(network, self.arrays)
        return network

    @cached_property
    def pictures(self) -> tuple[NDArray, NDArray]:
        """(the photos and noise as uint8 pictures, their logits): for graphs that normalise."""
        noise = self._random.integers(0, 256, (RANDOM, *self.photos.shape[1:]), np.uint8)
        x = np.concatenate([self.photos, noise])
        return x, self._answers(normalise(x, self.config.preprocessing))

    @cached_property
    def tensors(self) -> tuple[NDArray, NDArray]:
        """(the photos normalised and normal noise, float32 NCHW; their logits)."""
        photos = normalise(self.photos, self.config.preprocessing)
        noise = self._random.normal(size=(RANDOM, *photos.shape[1:])).astype(np.float32)
        x = np.concatenate([photos, noise])
        return x, self._answers(x)

    @cached_property
    def elsewhere(self) -> "Reference":
        """The same for a picture of another size, of files that take any."""
        more = ((0, 0), (0, WIDER[0]), (0, WIDER[1]), (0, 0))
        return Reference(self.config, self.arrays, np.pad(self.photos[:1], more, "reflect"))

    def _answers(self, x: NDArray) -> NDArray:
        # One by one: a whole batch in float64 takes much memory.
        return np.concatenate([self.network(x[i : i + 1]) for i in range(len(x))])

    def compare(self, engine: Engine, precision: Precision) -> Comparison:
        """The engine's logits against the reference's.

        Raises:
            ArtifactError: it gives another number of outputs, or cannot run.
        """
        x, expected = self.pictures if engine.takes_pictures else self.tensors
        found = engine.run(x, "logits")
        if found.shape != expected.shape:
            raise ArtifactError(
                f"its logits have shape {list(found.shape)}, not {list(expected.shape)}"
            )
        difference = np.abs(found.astype(np.float64) - expected).max()
        count = len(self.photos)
        same = found[:count].argmax(1) == expected[:count].argmax(1)
        return Comparison(
            count, RANDOM, float(difference) if np.isfinite(difference) else float("inf"),
            float(np.abs(expected).max()), float(expected.std()), TOLERANCES[precision],
            int(same.sum()),
        )  # fmt: skip
