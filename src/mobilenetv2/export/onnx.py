"""ONNX with all its options; what a model folder runs as, but in a file of its own."""

from pathlib import Path

from mobilenetv2.export.job import Options
from mobilenetv2.graph.graph import Graph
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.float16 import representable
from mobilenetv2.runtime import onnxruntime as file
from mobilenetv2.runtime import onnxruntime as runtime
from mobilenetv2.runtime.onnxruntime import OnnxRuntime
from mobilenetv2.spec.records import ModelConfig


def write(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """Make ``out``; see :class:`mobilenetv2.export.job.Module`."""
    graph = asked(lower(config, arrays), options)
    out.write_bytes(write_onnx(graph, options.opset, half=options.precision == "float16"))


def asked(graph: Graph, options: Options) -> Graph:
    """Return the graph as the options want it: weights of the precision, input and sizes."""
    if options.precision == "float16":
        graph = graph.with_weights(representable)
    if options.any_size:
        graph = graph.for_any_size()
    if options.pictures:
        graph = graph.with_normalisation()
    return graph.replace(batch=options.batch)


def reload(out: Path, threads: int | None = None) -> OnnxRuntime:
    """Return the file's engine; see :class:`mobilenetv2.export.job.Module`."""
    return runtime.create_engine(file.read_artifact(out), threads)
