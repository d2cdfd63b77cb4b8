"""Writers of ONNX, with all its options, and LiteRT, directly from the graph."""

from pathlib import Path

from mobilenetv2.exporting.job import Options
from mobilenetv2.graph import litert, onnx
from mobilenetv2.graph.graph import Graph
from mobilenetv2.graph.lowering import lower
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.float16 import representable
from mobilenetv2.spec.records import ModelConfig


def graph_of(config: ModelConfig, arrays: Arrays, options: Options) -> Graph:
    """Return the graph for the options: precision of the weights, input, batch and sizes."""
    graph = lower(config, arrays)
    if options.precision == "float16":
        graph = graph.with_weights(representable)
    if options.any_size:
        graph = graph.for_any_size()
    if options.pictures:
        graph = graph.with_normalisation()
    return graph.replace(batch=options.batch)


def write_onnx(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """Write an ONNX file."""
    graph, half = graph_of(config, arrays, options), options.precision == "float16"
    out.write_bytes(onnx.write_onnx(graph, options.opset, half=half))


def write_litert(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """Write a LiteRT (TensorFlow Lite) file."""
    graph, probabilities = graph_of(config, arrays, options), options.outputs == "probabilities"
    storage: litert.Storage = "float16" if options.precision == "float16" else "float32"
    out.write_bytes(litert.write_litert(graph, storage, probabilities=probabilities))
