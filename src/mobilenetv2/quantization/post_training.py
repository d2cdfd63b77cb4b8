"""Post-training quantization of a network to 8 bits, which needs only some images."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import SpecError
from mobilenetv2.graph.graph import FEATURES, INPUT, Conv, Graph, Linear
from mobilenetv2.graph.lowering import lower_folded
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.folding import Folded, fold
from mobilenetv2.quantization.calibration import (
    METHODS,
    Method,
    Observation,
    Pictures,
    calibrate,
    count,
    observe,
)
from mobilenetv2.quantization.equalisation import equalise, scaled
from mobilenetv2.quantization.scheme import Range, Scheme
from mobilenetv2.spec.records import ModelConfig, Preprocessing


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of post-training quantization.

    The defaults were the best on Google's networks and on one of clothes. A scale per channel
    matters most (without it nearly all answers change). Corrected biases gain 6 to 9 dB of the
    logits' signal-to-noise ratio, if the folded weights were not 8-bit before. 'min-max', 'mse' and
    'percentile' are within 2 dB, 'entropy' clips too much, and equalisation gains 0.2 dB or less.
    """

    method: Method = "mse"
    """Method to find a tensor's range (:mod:`mobilenetv2.quantization.calibration`)."""
    equalise: bool = True
    correct_biases: bool = True
    per_channel: bool = True
    """True for a scale per output channel of a weight, False for one per weight."""
    weight_bits: int = 8
    """Bits of a weight; 7 is for processors whose int8 products saturate (see ``graph.onnx``)."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SpecError(
                f"calibration {self.method!r} is unknown; known are: {', '.join(METHODS)}"
            )
        if self.weight_bits not in (7, 8):
            raise SpecError(f"weight_bits {self.weight_bits} must be 7 or 8")

    def words(self, pictures: int) -> str:
        """Return a description of the method, for people and for a file's metadata."""
        parts = [
            f"post-training, ranges by {self.method} of {pictures} pictures",
            f"{self.weight_bits}-bit weights with a scale a "
            f"{'channel' if self.per_channel else 'tensor'}",
        ]
        parts += ["equalised"] if self.equalise else []
        parts += ["biases corrected"] if self.correct_biases else []
        return ", ".join(parts)


NAIVE = Settings("min-max", equalise=False, correct_biases=False, per_channel=False)
"""Simplest settings, for comparison."""


def quantise(
    config: ModelConfig, arrays: Arrays, pictures: Pictures, settings: Settings | None = None
) -> Scheme:
    """Return the network in 8 bits.

    Args:
        arrays: canonical.
        pictures: calibration images, at least one, uint8 (height, width, channels) each, at the
            network's size. They must not be those on which the result is measured.
    """
    settings = settings or Settings()
    folded = fold(config.spec, arrays)
    graph = lower_folded(config, folded)
    observed = observe(graph, pictures)
    if settings.equalise:
        folded, factors = equalise(graph, folded, observed, settings.per_channel)
        observed = scaled(observed, factors)
        graph = lower_folded(config, folded)
    histograms = count(graph, pictures, observed)
    ranges = {
        name: calibrate(histograms[name], settings.method, tensor)
        for name, tensor in graph.tensors.items()
    }
    ranges[INPUT] = input_range(config.preprocessing)
    if config.spec.classifier.pooling == "max":  # integers pass it as they are, in every format
        ranges[FEATURES] = ranges[graph.last_map]
    scheme = Scheme(
        config, folded, ranges, settings.per_channel, settings.words(len(pictures)),
        settings.weight_bits,
    )  # fmt: skip
    if settings.correct_biases:
        scheme = dataclasses.replace(scheme, folded=correct_biases(scheme, observed))
    return scheme


def input_range(record: Preprocessing) -> Range:
    """Return the range from black to white, which is known without any image."""
    ends = np.zeros((2, 1, 1, record.channels), np.uint8)
    ends[1] = 255
    values = engine_input(ends, record)
    return Range(float(values.min()), float(values.max()))


def correct_biases(scheme: Scheme, observed: Mapping[str, Observation]) -> Folded:
    """Return the float weights of a scheme, with biases that correct the mean error of rounding.

    Rounding changes a weight by an error E that is the same for every image. So a layer's output
    changes on average by E times the mean of its input. The bias can compensate for this, with
    means from the float network alone (Nagel et al., arXiv 1906.04721).

    Args:
        observed: observations of the scheme's float network on calibration images.
    """
    graph = scheme.graph
    return {
        layer.name: (
            scheme.folded[layer.name][0],
            scheme.folded[layer.name][1] - shift(scheme, graph, layer, observed[layer.input].mean),
        )
        for layer in graph.layers()
    }


def shift(scheme: Scheme, graph: Graph, layer: Conv | Linear, mean: NDArray) -> NDArray:
    """Return the mean change of a layer's output by rounded weights, float32 (out_channels,).

    Args:
        graph: the scheme's graph.
        mean: mean of each input channel of the layer.
    """
    weight = scheme.folded[layer.name][0]
    scales = scheme.weight_scales(layer.name)
    scales = scales.reshape(-1, *[1] * (weight.ndim - 1))
    error = scheme.integers(layer.name) * scales.astype(np.float64) - weight
    if isinstance(layer, Linear):
        return np.asarray(error @ mean, np.float32)
    sides, outs = (graph.tensors[name].shape[1:] for name in (layer.input, layer.output))
    rows, columns = (
        inside(side, out, layer.kernel, layer.stride, before)
        for side, out, (before, _) in zip(sides, outs, layer.padding, strict=True)
    )
    error = np.einsum("ochw,h,w->oc", error, rows, columns)
    moved = error[:, 0] * mean if layer.groups > 1 else error @ mean
    return np.asarray(moved, np.float32)


def inside(side: int, out: int, kernel: int, stride: int, before: int) -> NDArray:
    """Return the fraction of positions at which each tap of a kernel is inside the image.

    Returns:
        float64 (kernel,), from 0 to 1.
    """
    places = np.arange(out)[:, None] * stride - before + np.arange(kernel)
    return np.asarray(((places >= 0) & (places < side)).mean(0))
