"""Quantization scheme of a network in 8 bits, and the conversion of a graph to its integers.

A real number is scale x (integer - zero point). Weights are symmetric int8 (-127 to 127), with one
scale per output channel or per tensor. Tensors between layers have one scale and zero point each,
uint8 here (int8 formats subtract 128 from integers and zero point). Biases are int32 at the scale
of input x weight.
"""

import dataclasses
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.graph.graph import Conv, Graph, Integers, Linear, Steps
from mobilenetv2.graph.lowering import lower_folded
from mobilenetv2.model.folding import Folded
from mobilenetv2.spec.records import ModelConfig

LEVELS = 255
"""Difference between the highest and the lowest integer of 8 bits."""
MOST = 127
"""Largest weight of 8 bits; -128 is not used, so that every weight has a negative."""
LARGEST_BIAS = 2**30
"""Largest bias, half of int32's range, because products are added to it."""
SMALLEST_SCALE = 1e-9
"""Scale of a channel or tensor that has only zeros."""


@dataclass(frozen=True, slots=True)
class Range:
    """Range of real numbers that a tensor's 8 bits represent; it always contains 0."""

    low: float
    high: float

    @property
    def scale(self) -> float:
        """Scale rounded to float32, with which runtimes compute."""
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        return float(np.float32(max((high - low) / LEVELS, SMALLEST_SCALE)))

    @property
    def zero_point(self) -> int:
        """Integer (uint8) that represents 0."""
        return int(np.clip(np.rint(-min(self.low, 0.0) / self.scale), 0, LEVELS))

    @property
    def steps(self) -> Steps:
        """Scale and zero point for a graph's tensor."""
        return Steps(self.scale, self.zero_point)


@dataclass(frozen=True)
class Scheme:
    """Result of calibration, equalisation and bias correction."""

    config: ModelConfig
    folded: Folded
    """Weights and biases as float32, after equalisation and bias correction."""
    ranges: Mapping[str, Range]
    """Ranges by tensor.

    The tensors are 'input' (normalised), each layer's output after its activation ('stem',
    'blocks.3.expand', 'head' ...), each residual sum ('blocks.3'), 'features' and 'logits'.
    """
    per_channel: bool = True
    method: str = ""
    """Description of the method in words, for the metadata."""
    weight_bits: int = 8
    """Bits of a weight; 7 is for processors whose int8 products saturate (see ``graph.onnx``)."""

    @property
    def most(self) -> int:
        """Largest weight: 127 for 8 bits, 63 for 7."""
        return MOST >> (8 - self.weight_bits)

    @cached_property
    def graph(self) -> Graph:
        """Float graph of the network."""
        return lower_folded(self.config, self.folded)

    @cached_property
    def sources(self) -> dict[str, str]:
        """Name of the input tensor of each layer."""
        return {layer.name: layer.input for layer in self.graph.layers()}

    def quantised(self, only: Collection[str] | None = None) -> Graph:
        """Return the graph with integers for weights and biases, and steps for its tensors.

        Args:
            only: names of the layers whose weights, and of the tensors whose values, are quantised;
                the rest stays float. None means all.
        """
        graph = self.graph

        def chosen(name: str) -> bool:
            return only is None or name in only

        operations = [
            self._in_integers(op, chosen(op.input))
            if isinstance(op, Conv | Linear) and chosen(op.name)
            else op
            for op in graph.operations
        ]
        tensors = {
            name: dataclasses.replace(tensor, steps=self.ranges[name].steps)
            if chosen(name)
            else tensor
            for name, tensor in graph.tensors.items()
        }
        return graph.replace(operations=tuple(operations), tensors=tensors)

    def _in_integers(self, layer: Conv | Linear, with_bias: bool) -> Conv | Linear:
        scales, bias = self.weight_scales(layer.name), layer.bias
        weight = Integers(self.integers(layer.name), scales, self.per_channel)
        if bias is not None and with_bias:  # an int32 has no scale where the input has none
            given = self.ranges[layer.input]
            products = np.asarray(scales * np.float32(given.scale), np.float32)
            bias = Integers(self.bias_integers(layer.name), products, self.per_channel)
        return dataclasses.replace(layer, weight=weight, bias=bias)

    def weight_scales(self, name: str) -> NDArray:
        """Return a layer's scales, float32 (out_channels,), all equal if there is one per tensor.

        A channel of zeros may still have a bias. Since biases are counted in these steps, a scale
        is large enough for its bias.
        """
        weight, bias = self.folded[name]
        peaks = np.abs(weight).reshape(len(weight), -1).max(1) / self.most
        given = self.ranges[self.sources[name]].scale
        needed = np.abs(bias.astype(np.float64)) / (given * LARGEST_BIAS)
        scales = np.maximum(np.maximum(peaks, needed), SMALLEST_SCALE)
        if not self.per_channel:
            scales = np.full_like(scales, scales.max())
        return np.asarray(scales, np.float32)

    def integers(self, name: str) -> NDArray:
        """Return the int8 weights of a layer, in the shape of the float ones."""
        weight = self.folded[name][0]
        scales = self.weight_scales(name).reshape(-1, *[1] * (weight.ndim - 1))
        return np.asarray(np.clip(np.rint(weight / scales), -self.most, self.most), np.int8)

    def bias_integers(self, name: str) -> NDArray:
        """Return the int32 (out_channels,) biases of a layer."""
        scales = self.weight_scales(name).astype(np.float64) * self.ranges[self.sources[name]].scale
        bounds = np.iinfo(np.int32)
        found = np.rint(self.folded[name][1] / scales)
        return np.asarray(np.clip(found, bounds.min, bounds.max), np.int32)


def save_scheme(scheme: Scheme, path: Path) -> None:
    """Write a scheme as an .npz file for another process, without its config."""
    arrays: dict[str, Any] = {  # np.savez also takes a flag by name
        f"{name}/{part}": values
        for name, pair in scheme.folded.items()
        for part, values in zip(("weight", "bias"), pair, strict=True)
    }
    facts = {
        "ranges": {name: [each.low, each.high] for name, each in scheme.ranges.items()},
        "per_channel": scheme.per_channel, "method": scheme.method,
        "weight_bits": scheme.weight_bits,
    }  # fmt: skip
    np.savez(path, facts=np.array(json.dumps(facts)), **arrays)


def load_scheme(path: Path, config: ModelConfig) -> Scheme:
    """Read a scheme that :func:`save_scheme` wrote."""
    with np.load(path) as stored:
        facts = json.loads(str(stored["facts"]))
        names = [name.removesuffix("/weight") for name in stored.files if name.endswith("/weight")]
        folded: Folded = {
            name: (stored[f"{name}/weight"], stored[f"{name}/bias"]) for name in names
        }
    ranges = {name: Range(*ends) for name, ends in facts.pop("ranges").items()}
    return Scheme(config, folded, ranges, **facts)
