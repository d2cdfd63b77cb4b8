"""LiteRT (TensorFlow Lite), float32 or float16; written here, run by Google's interpreter."""

from pathlib import Path

from mobilenetv2.export.job import Options
from mobilenetv2.graph.litert import write_litert
from mobilenetv2.graph.lowering import lower
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.float16 import representable
from mobilenetv2.runtime import litert as file
from mobilenetv2.runtime.engine import Engine
from mobilenetv2.spec.records import ModelConfig


def write(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """See :class:`mobilenetv2.export.job.Module`."""
    graph, half = lower(config, arrays), options.precision == "float16"
    out.write_bytes(write_litert(graph.with_weights(representable) if half else graph, half))


def reload(out: Path, threads: int | None = None) -> Engine:
    """See :class:`mobilenetv2.export.job.Module`."""
    from mobilenetv2.runtime import litert

    return litert.create_engine(file.read_artifact(out), threads)
