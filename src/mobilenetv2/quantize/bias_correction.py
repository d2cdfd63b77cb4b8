"""Biases that make up for the mean error of rounded weights.

Rounding moves a weight by an error E that is the same for every picture. What a layer's output is
moved by on average is E times the mean of its input, and its bias can take that back: analytically
from the means of the float network (:func:`correct`), as in Nagel et al., arXiv 1906.04721.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.quantize.observation import Observation
from mobilenetv2.quantize.scheme import Scheme
from mobilenetv2.quantize.tensors import sources
from mobilenetv2.weights.folding import Folded


def correct(scheme: Scheme, observed: Mapping[str, Observation]) -> Folded:
    """The scheme's float weights, with corrected biases.

    Args:
        observed: of the scheme's float network on calibration pictures. Means are taken as if the
            zeros around a picture were more of it: at 7 x 7 pixels that is a small part of an
            error that is small.
    """
    taken = sources(scheme.config.spec)
    return {
        name: (weight, bias - shift(scheme, name, observed[taken[name]].mean))
        for name, (weight, bias) in scheme.folded.items()
    }


def shift(scheme: Scheme, name: str, mean: NDArray) -> NDArray:
    """How far a layer's rounded weights move its output on average, float32 (out_channels,).

    Args:
        mean: of each channel that it takes.
    """
    weight = scheme.folded[name][0]
    scales = scheme.weight_scales(name).reshape(-1, *[1] * (weight.ndim - 1))
    error = scheme.integers(name) * scales.astype(np.float64) - weight
    error = error.reshape(*weight.shape[:2], -1).sum(2)
    # A depthwise layer's one column is its own channel's.
    depthwise = error.shape[1] == 1 and len(mean) == len(error)
    moved = error[:, 0] * mean if depthwise else error @ mean
    return np.asarray(moved, np.float32)
