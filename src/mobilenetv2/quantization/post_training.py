"""A trained network to eight bits with nothing but some pictures."""

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
    """How a network is quantised.

    The defaults are what did best on Google's networks and on one of clothes. What matters is a
    scale a channel (without it nearly all answers change) and corrected biases (6 to 9 dB of the
    logits' signal to noise, where folded weights were not of 8 bits before); 'min-max', 'mse' and
    'percentile' are within 2 dB, 'entropy' cuts off too much, equalising is worth 0.2 dB or less.
    """

    method: Method = "mse"
    """How a tensor's range is found (:mod:`mobilenetv2.quantization.calibration`)."""
    equalise: bool = True
    correct_biases: bool = True
    per_channel: bool = True
    """A scale for each of a weight's output channels; False is one a weight."""
    weight_bits: int = 8
    """7 for processors whose int8 products saturate (:mod:`mobilenetv2.graph.onnx`)."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SpecError(
                f"calibration {self.method!r} is unknown; known are: {', '.join(METHODS)}"
            )
        if self.weight_bits not in (7, 8):
            raise SpecError(f"weights of {self.weight_bits} bits are not there; 7 or 8 are")

    def words(self, pictures: int) -> str:
        """Return what was done, for people and for a file's metadata."""
        parts = [
            f"post-training, ranges by {self.method} of {pictures} pictures",
            f"{self.weight_bits}-bit weights with a scale a "
            f"{'channel' if self.per_channel else 'tensor'}",
        ]
        parts += ["equalised"] if self.equalise else []
        parts += ["biases corrected"] if self.correct_biases else []
        return ", ".join(parts)


NAIVE = Settings("min-max", equalise=False, correct_biases=False, per_channel=False)
"""What is done where nothing is known about the network."""


def quantise(
    config: ModelConfig, arrays: Arrays, pictures: Pictures, settings: Settings | None = None
) -> Scheme:
    """Return the network in eight bits.

    Args:
        arrays: canonical.
        pictures: to calibrate on, uint8 (height, width, channels) each, at the network's size. Not
            those that the result is judged on; one at least.
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
    """Return the range from black to white: what a picture can hold is known without any."""
    ends = np.zeros((2, 1, 1, record.channels), np.uint8)
    ends[1] = 255
    values = engine_input(ends, record)
    return Range(float(values.min()), float(values.max()))


def correct_biases(scheme: Scheme, observed: Mapping[str, Observation]) -> Folded:
    """Return the scheme's float weights, with biases that make up for rounded weights' mean error.

    Rounding moves a weight by an error E that is the same for every picture. A layer's output
    moves by E times the mean of its input on average, and its bias can take that back, from the
    means of the float network alone (Nagel et al., arXiv 1906.04721).

    Args:
        observed: of the scheme's float network on calibration pictures.
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
    """Return how far a layer's rounded weights move its output on average, float32 (out_channels,).

    Args:
        graph: the scheme's.
        mean: of each channel that the layer takes.
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
    """Return for each tap of a kernel how much of the time it is on the picture: padding is 0.

    Returns:
        float64 (kernel,), from 0 to 1.
    """
    places = np.arange(out)[:, None] * stride - before + np.arange(kernel)
    return np.asarray(((places >= 0) & (places < side)).mean(0))
