"""Biases that make up for the mean error of rounded weights.

Rounding moves a weight by an error E that is the same for every picture. What a layer's output is
moved by on average is E times the mean of its input, and its bias can take that back, from the
means of the float network alone (Nagel et al., arXiv 1906.04721).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.model.folding import Folded
from mobilenetv2.quantize.observation import Observation
from mobilenetv2.quantize.scheme import Scheme
from mobilenetv2.quantize.tensors import sources
from mobilenetv2.spec.blocks import Convolution, resolve


def correct(scheme: Scheme, observed: Mapping[str, Observation]) -> Folded:
    """The scheme's float weights, with corrected biases.

    Args:
        observed: of the scheme's float network on calibration pictures.
    """
    taken = sources(scheme.config.spec)
    layers = {layer.name: layer for layer in resolve(scheme.config.spec).convolutions}
    return {
        name: (weight, bias - shift(scheme, name, layers.get(name), observed[taken[name]].mean))
        for name, (weight, bias) in scheme.folded.items()
    }


def shift(scheme: Scheme, name: str, layer: Convolution | None, mean: NDArray) -> NDArray:
    """How far a layer's rounded weights move its output on average, float32 (out_channels,).

    Args:
        layer: None is the classifier.
        mean: of each channel that it takes.
    """
    weight = scheme.folded[name][0]
    scales = scheme.weight_scales(name).reshape(-1, *[1] * (weight.ndim - 1))
    error = scheme.integers(name) * scales.astype(np.float64) - weight
    if layer is None:
        return np.asarray(error @ mean, np.float32)
    rows, columns = (
        inside(side, out, layer.kernel, layer.stride, before)
        for side, out, (before, _) in zip(layer.in_size, layer.out_size, layer.padding, strict=True)
    )
    error = np.einsum("ochw,h,w->oc", error, rows, columns)
    moved = error[:, 0] * mean if layer.role == "depthwise" else error @ mean
    return np.asarray(moved, np.float32)


def inside(side: int, out: int, kernel: int, stride: int, before: int) -> NDArray:
    """For each tap of a kernel, how much of the time it is on the picture: padding is 0.

    Returns:
        float64 (kernel,), from 0 to 1.
    """
    places = np.arange(out)[:, None] * stride - before + np.arange(kernel)
    return np.asarray(((places >= 0) & (places < side)).mean(0))
