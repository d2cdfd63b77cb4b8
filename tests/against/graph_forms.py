"""Graphs of random weights, and the forms that writers give them, for several rooms' tests."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.editions import numpy as plain
from mobilenetv2.graph import litert, onnx
from mobilenetv2.graph.graph import Graph, Tensor
from mobilenetv2.graph.lowering import lower
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.quantization.scheme import Range, Scheme
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig


@dataclass(frozen=True)
class Form:
    """What a written graph takes and gives, as one value that a test can be parametrised with."""

    features: bool = False
    last_map: bool = False
    intermediates: bool = False
    pictures: bool = False
    batch: int | None = None
    any_size: bool = False
    opset: int | None = None
    half: bool = False
    light: bool = False

    def of(self, graph: Graph) -> Graph:
        graph = graph.with_outputs(*["features"] * self.features, *["map"] * self.last_map)
        if self.intermediates:
            graph = graph.with_intermediates()
        if self.any_size:
            graph = graph.for_any_size()
        if self.pictures:
            graph = graph.with_normalisation()
        return graph.replace(batch=self.batch)

    def onnx(self, graph: Graph) -> bytes:
        return onnx.write_onnx(self.of(graph), self.opset, self.half)

    def litert(self, graph: Graph, unsigned: bool = False) -> bytes:
        storage: litert.Storage = "int8" if self.light else "float16" if self.half else "float32"
        return litert.write_litert(self.of(graph), storage, unsigned)


def graph_of(spec: NetworkSpec) -> Graph:
    return lower(ModelConfig.default(spec), random_arrays(spec))


def tensors(spec: NetworkSpec) -> dict[str, Tensor]:
    return dict(graph_of(spec).tensors)


def sources(spec: NetworkSpec) -> dict[str, str]:
    """Each layer -> the tensor that it takes."""
    return {layer.name: layer.input for layer in graph_of(spec).layers()}


def pictures(spec: NetworkSpec, count: int = 4) -> NDArray:
    """(count, channels, height, width), normalised."""
    shape = (count, spec.input_channels, *spec.size)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def scheme_of(spec: NetworkSpec, per_channel: bool = True) -> Scheme:
    """Ranges from the least to the largest value on :func:`pictures`."""
    arrays, x = random_arrays(spec), pictures(spec)
    network = plain.build(spec, dtype="float64")
    plain.load(network, arrays)
    seen = {"input": x, **plain.intermediates(network, x.transpose(0, 2, 3, 1))}
    ranges = {name: Range(seen[name].min(), seen[name].max()) for name in tensors(spec)}
    return Scheme(ModelConfig.default(spec), fold(spec, arrays), ranges, per_channel)
