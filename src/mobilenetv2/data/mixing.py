"""Targets of a batch, and pictures mixed with each other: mixup and CutMix.

Mixup is Zhang et al., arXiv 1710.09412; CutMix is Yun et al., arXiv 1905.04899.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Mixing:
    """How batches are mixed; of the two, one is drawn for a batch where both are asked for."""

    mixup: float = 0.0
    """Alpha of the beta distribution of the shares: 0.2 mixes little, 1 anything. 0: never."""
    cutmix: float = 0.0
    """The same for the area that is pasted from another picture."""
    share: float = 1.0
    """Of the batches that are mixed."""

    def __post_init__(self) -> None:
        for name in ("mixup", "cutmix"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= 100):
                raise RecipeError(f"{name} {value!r} must be from 0 to 100")
        if not 0 <= self.share <= 1:
            raise RecipeError(f"share {self.share!r} must be from 0 to 1")


def targets(labels: NDArray, classes: int, smoothing: float = 0.0) -> NDArray:
    """int64 (batch,) -> float32 (batch, classes): 1 - s + s / K for the class, s / K for others."""
    found = np.full((len(labels), classes), smoothing / classes, np.float32)
    found[np.arange(len(labels)), labels] += np.float32(1 - smoothing)
    return found


def mix(
    pictures: NDArray, wanted: NDArray, how: Mixing, random: np.random.Generator
) -> tuple[NDArray, NDArray]:
    """Each picture with another one of the batch.

    Args:
        pictures: uint8 (batch, height, width, channels), or maps of floats: what frozen blocks
            made of pictures is mixed like these (Verma et al., arXiv 1806.05236).
        wanted: float32 (batch, classes).

    Returns:
        New arrays of the same shapes, or those given where the batch is not mixed.
    """
    kinds = [name for name in ("mixup", "cutmix") if getattr(how, name)]
    if not kinds or random.random() >= how.share:
        return pictures, wanted
    kind = kinds[int(random.integers(len(kinds)))]
    alpha = getattr(how, kind)
    kept = float(random.beta(alpha, alpha))
    partner = random.permutation(len(pictures))
    if kind == "mixup":
        mixed = pictures * np.float32(kept) + pictures[partner] * np.float32(1 - kept)
        whole = np.issubdtype(pictures.dtype, np.integer)
        pictures = (np.rint(mixed) if whole else mixed).astype(pictures.dtype)
    else:
        pictures, kept = _pasted(pictures, partner, kept, random)
    share = np.float32(kept)
    return pictures, share * wanted + (1 - share) * wanted[partner]


def _pasted(
    pictures: NDArray, partner: NDArray, kept: float, random: np.random.Generator
) -> tuple[NDArray, float]:
    """One box for the batch, centred anywhere, and the share of a picture that is really kept."""
    height, width = pictures.shape[1:3]
    half = [side * (1 - kept) ** 0.5 / 2 for side in (height, width)]
    centre = [float(random.uniform(0, side)) for side in (height, width)]
    (top, bottom), (left, right) = (
        (max(0, round(c - h)), min(side, round(c + h)))
        for c, h, side in zip(centre, half, (height, width), strict=True)
    )
    pictures = pictures.copy()
    pictures[:, top:bottom, left:right] = pictures[partner, top:bottom, left:right]
    return pictures, 1 - (bottom - top) * (right - left) / (height * width)
