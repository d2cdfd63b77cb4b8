"""Ranges that networks take pixels in, and recognition of the one that an input was calibrated to.

A quantised file holds the scale and zero point of its input: the lowest and highest value of the
pictures that it was calibrated with. They say how a network is fed only if those were photos, whose
darkest and brightest pixels are nearly 0 and 255.
"""

import math

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.description import Normalisation
from mobilenetv2.errors import DialectError, argument
from mobilenetv2.spec.records import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

RANGES: dict[str, Normalisation] = {
    "0..1": ((0.0,) * 3, (255.0,) * 3),
    "-1..1": ((127.5,) * 3, (127.5,) * 3),
    "0..255": ((0.0,) * 3, (1.0,) * 3),
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
}
"""Usual ranges by name: mean and standard deviation of pixels from 0 to 255."""

LEAST_SPAN = 0.5
"""Minimum width of the range that a network's first convolution takes, for all usual ones."""
LARGEST_MEAN = 2.0
"""Mean above which values are from 0 to 255: about 100 there, and about 0.5 from 0 to 1."""
TOLERANCE = 0.05
"""Largest distance between two ranges' ends that is taken for none, as a share of the range.

In 2,000 draws of five of 100 photos of ImageNet the darkest pixel was at most 6, and the brightest
at least 250: 2.4% of the range. Rounding of a zero point adds at most 0.2%. The usual ranges, and
CIFAR-10's -1.99..2.13, differ by 10% and more.
"""


def limits(normalisation: Normalisation) -> tuple[float, float]:
    """Return the lowest and the highest value that a normalisation makes of pixels."""
    mean, std = normalisation
    return (
        min(-m / s for m, s in zip(mean, std, strict=True)),
        max((255 - m) / s for m, s in zip(mean, std, strict=True)),
    )


def of_channels(normalisation: Normalisation, channels: int) -> Normalisation:
    """Return a normalisation for another number of channels: 1 takes the mean of the three."""
    if len(normalisation[0]) == channels:
        return normalisation
    mean, std = (sum(values) / len(values) for values in normalisation)
    return (mean,) * channels, (std,) * channels


def recognise_range(low: float, high: float) -> str | None:
    """Return the name of the usual range that a calibrated one is, or None.

    Args:
        low, high: the ends of the calibrated range.

    Example:
        >>> from mobilenetv2.checkpoints.input_range import recognise_range
        >>> recognise_range(-0.996, 1.004), recognise_range(-5.4, 5.3)
        ('-1..1', None)
    """
    for name, normalisation in RANGES.items():
        usual = limits(normalisation)
        most = TOLERANCE * (usual[1] - usual[0])
        if abs(low - usual[0]) <= most and abs(high - usual[1]) <= most:
            return name
    return None


def require_range(low: float, high: float) -> str:
    """Return the name of the usual range that a calibrated one is.

    Raises:
        DialectError: it is none of them, so that the user has to say how the network is fed.
    """
    name = recognise_range(low, high)
    if name is None:
        usual = ", ".join(range_words(*normalisation) for normalisation in RANGES.values())
        raise DialectError(
            f"its input was calibrated to {low:.4g}..{high:.4g}, which no usual preprocessing of "
            f"photos gives ({usual}); give the network's own, such as "
            f"{argument('preprocessing', '-1..1')}"
        )
    return name


def takes_pixels(factor: NDArray, offset: NDArray) -> bool:
    """Return True if a graph's scaling is one of values from 0 to 255, False for 0 to 1.

    Args:
        factor, offset: the graph computes ``value * factor + offset``; (channels,) or (1,) each.

    Example:
        >>> import numpy as np
        >>> from mobilenetv2.checkpoints.input_range import takes_pixels
        >>> takes_pixels(np.ones(3), np.array([-103.9, -116.8, -123.7]))  # Caffe's
        True
        >>> takes_pixels(np.full(3, 2.0), np.full(3, -1.0))
        False
    """
    most = float(np.abs(factor).max())
    return most < LEAST_SPAN or float(np.abs(offset).max()) > LARGEST_MEAN * most


def range_words(mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    """Return a normalisation in words: '-1..1', "ImageNet's mean and deviation" or the numbers."""
    for name, usual in RANGES.items():
        if _close((mean, std), of_channels(usual, len(mean))):
            return "ImageNet's mean and deviation" if name == "imagenet" else name
    if len(set(mean)) == len(set(std)) == 1:
        low, high = limits((mean, std))
        return f"{low:.4g}..{high:.4g}"
    return f"mean {_listed(mean)} and deviation {_listed(std)} of 0..255"


def same_normalisation(record: Preprocessing, normalisation: Normalisation) -> bool:
    """Return True if a record normalises so, but for a level of 255 that rounding moves."""
    return _close((record.mean, record.std), normalisation)


def _close(one: Normalisation, other: Normalisation) -> bool:
    means, stds = zip(one[0], other[0], strict=True), zip(one[1], other[1], strict=True)
    return all(abs(a - b) <= 1 for a, b in means) and all(
        math.isclose(a, b, rel_tol=1 / 255) for a, b in stds
    )


def _listed(values: tuple[float, ...]) -> str:
    return f"({', '.join(f'{value:g}' for value in values)})"
