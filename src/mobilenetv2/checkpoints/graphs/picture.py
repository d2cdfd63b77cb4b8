"""Preprocessing that a graph does itself: what stands between its input and the first convolution.

An image's integers are another thing. Their scale and zero point are the range that calibration
photos had, which says how the author fed them only if it is a usual one.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mobilenetv2.checkpoints.description import METADATA, Description, Normalisation
from mobilenetv2.checkpoints.graphs.chain import Step
from mobilenetv2.checkpoints.input_range import takes_pixels
from mobilenetv2.errors import DialectError
from mobilenetv2.text import listed


def describe(
    steps: Sequence[Step], factor: NDArray, offset: NDArray, kinds: Sequence[str],
    input_range: tuple[float, float] | None, metadata: Normalisation | None = None,
) -> tuple[list[Step], Description]:  # fmt: skip
    """Return what a graph says about its preprocessing, and the steps that fit it.

    Args:
        steps: convolutions of the graph.
        factor, offset: the graph computes ``value * factor + offset``; float64 (channels,) each.
        kinds: operators that do it.
        input_range: lowest and highest value of an input of integers; None for floats.
        metadata: mean and deviation that turn pixels into the input, as the file's metadata says.
    """
    if metadata is not None and metadata != of_pixels(len(factor)):
        # The input is (pixel - mean) / std, and the graph scales that.
        mean, std = (np.array(values, np.float64) for values in metadata)
        place = f"{METADATA} and {operators(kinds)}" if kinds else METADATA
        return [*steps], Description(
            normalisation=_rounded(mean - offset * std / factor, std / factor),
            preprocessing_from=place,
            input_range=input_range,
        )
    found = normalisation(factor, offset)
    if found is not None:
        return [*steps], Description(normalisation=found, preprocessing_from=operators(kinds))
    fed_pixels = input_range is None or input_range[1] > FEWEST_LEVELS
    steps, divided = restored(steps) if fed_pixels else ([*steps], False)
    if not divided:
        return steps, Description(input_range=input_range)
    if input_range is not None:
        low, high = input_range
        return steps, Description(input_range=(low / 255, high / 255))
    bytes_ = (0.0,) * len(factor), (255.0,) * len(factor)
    return steps, Description(normalisation=bytes_, preprocessing_from=FROM_STEM)


def normalisation(factor: NDArray, offset: NDArray) -> Normalisation | None:
    """Return the normalisation of pixels that a graph applies, or None if it applies none.

    Args:
        factor, offset: the graph computes ``value * factor + offset``; float64 (channels,) each.

    Raises:
        DialectError: a factor is 0 or not finite.
    """
    # QuantizeLinear and its inverse leave rounding errors of float64.
    if np.allclose(factor, 1, rtol=1e-9) and np.allclose(offset, 0, atol=1e-9):
        return None
    if not (np.isfinite(factor).all() and np.isfinite(offset).all() and factor.all()):
        raise DialectError("its image is scaled by numbers that leave nothing of it")
    mean, std = -offset / factor, 1 / factor
    if not takes_pixels(factor, offset):
        mean, std = mean * 255, std * 255  # the graph expects values from 0 to 1
    return _rounded(mean, std)


def of_pixels(channels: int) -> Normalisation:
    """Return the normalisation that leaves pixels from 0 to 255 as they are."""
    return (0.0,) * channels, (1.0,) * channels


def _rounded(mean: NDArray, std: NDArray) -> Normalisation:
    """Return numbers with the seven digits of a float32: 127.5 rather than 127.499998."""
    means, stds = (tuple(float(f"{x:.7g}") + 0.0 for x in values) for values in (mean, std))
    return means, stds


FEWEST_LEVELS = 100.0
"""Lowest end of a range that is one of pixels rather than of small numbers."""
FAINT = 0.2
"""Largest sum of a stem filter's absolute weights if they were divided by 255.

Trained filters have sums of 9 to 38 in published files, new ones 1 and more.
"""
FROM_STEM = "the first convolution's weights, which are divided by 255"


def restored(steps: Sequence[Step]) -> tuple[list[Step], bool]:
    """Return the steps with the stem's weights times 255 if a converter divided them.

    Converters multiply a Rescaling(1/255) into the first convolution, so that no operator is left
    of it. The weights are then far too small for values from 0 to 1.

    Returns:
        The steps; and True if the network takes values from 0 to 255.
    """
    stem = steps[0]
    sums = np.abs(stem.weight).reshape(len(stem.weight), -1).sum(1)
    if stem.batch_norm is not None or not 0 < sums.max() < FAINT:
        return [*steps], False
    weight = (stem.weight.astype(np.float64) * 255).astype(np.float32)
    return [dataclasses.replace(stem, weight=weight), *steps[1:]], True


def operators(kinds: Sequence[str]) -> str:
    """Return the operators that scale the image, in words: 'the MUL and ADD operators'."""
    return f"the {listed(kinds, len(kinds))} operator{'s' if len(kinds) > 1 else ''}"


def integer_range(scale: float, zero_point: int, dtype: DTypeLike) -> tuple[float, float]:
    """Return the lowest and the highest value of an image's integers."""
    limits = np.iinfo(dtype)
    ends = (limits.min - zero_point) * scale, (limits.max - zero_point) * scale
    return min(ends), max(ends)
