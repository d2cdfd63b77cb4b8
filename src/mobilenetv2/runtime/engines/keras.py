"""Exported ``.keras`` files, read as data: arrays and config, from which the graph is built.

Keras's own reader would run code that such a file names. This reader runs nothing of it.
"""

from pathlib import Path

from mobilenetv2.checkpoints.dialects.keras import read_exported
from mobilenetv2.graph.graph import FEATURES
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.model import seal
from mobilenetv2.runtime.engines.engine import (
    Artifact,
    archived_config,
    embedded_config,
    read_bounded,
)

CONFIG = "mobilenetv2.json"
"""Name of our entry in the archive; Keras ignores it."""


def read_artifact(path: Path) -> Artifact:
    """Read a file as a graph for the default engine; it needs h5py."""
    data = read_bounded(path)
    text = archived_config(data, CONFIG, path, "not a .keras file, or damaged")
    config = embedded_config(text, path)
    seal.check(data, str(path))
    graph = lower(config, read_exported(path, config.spec)).with_outputs(FEATURES)
    return Artifact(config, "onnx", write_onnx(graph), str(path))
