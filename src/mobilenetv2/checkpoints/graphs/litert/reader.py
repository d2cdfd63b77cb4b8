"""Reader of LiteRT (TensorFlow Lite) classifiers, float or quantised, as a network.

BatchNorm is already folded into weights and biases, so it is imported as an identity that carries
the bias. Files of :mod:`mobilenetv2.graph.litert` have their whole config in the zip archive after
the flatbuffer; other files have at most a list of labels.
"""

import dataclasses
import io
import zipfile
from pathlib import Path

import numpy as np

from mobilenetv2.checkpoints.containers import bounds
from mobilenetv2.checkpoints.containers.litert import Graph, read_litert
from mobilenetv2.checkpoints.description import (
    ImportOptions,
    describe_config,
    parse_config,
)
from mobilenetv2.checkpoints.foreign.litert_metadata import metadata_in
from mobilenetv2.checkpoints.graphs import picture
from mobilenetv2.checkpoints.graphs.litert.walk import walk
from mobilenetv2.checkpoints.graphs.network import (
    GraphCheckpoint,
    GraphDialect,
    by_padding,
    with_bias,
)
from mobilenetv2.checkpoints.labels import labels_among
from mobilenetv2.errors import DialectError
from mobilenetv2.files import read_file
from mobilenetv2.formats import FORMATS
from mobilenetv2.graph.litert import CONFIG, write_litert
from mobilenetv2.graph.lowering import lower
from mobilenetv2.spec.published import SLIM
from mobilenetv2.zips import Zip

LARGEST_ENTRY = 4 * 1024**2
NOTE = "BatchNorm was folded in the LiteRT file."
PIXELS = (0.0, 255.0)


def open_graph(graph: Graph, path: Path, options: ImportOptions) -> GraphCheckpoint:
    """Follow the graph of a file, and read the config or labels in it.

    Raises:
        DialectError: another network, or a damaged config.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise DialectError("not a classifier: it must have one input and one output")
    shape = graph.tensors[graph.inputs[0]].shape
    if len(shape) != 4:
        raise DialectError(f"not an image classifier: its input has shape {list(shape)}")
    texts = _embedded(path)
    walked = walk(graph, options.body)
    size, channels = shape[1:3], shape[3]
    steps = walked.steps
    if CONFIG in texts:
        inside = describe_config(parse_config(texts[CONFIG]))
    else:
        lists = {name: text for name, text in texts.items() if name.endswith(".txt")}
        found = labels_among(lists, walked.head.classes)
        said = metadata_in(bounds.read_graph_file(path), path)
        steps, fed = picture.describe(
            steps, walked.scaling.factor, walked.scaling.offset, walked.scaling.operators,
            _input_range(graph), said.normalisation(channels),
        )  # fmt: skip
        inside = dataclasses.replace(fed, labels=found[0] if found else None)
    inside = dataclasses.replace(inside, folded=True)
    return GraphCheckpoint(
        DIALECT, steps, with_bias(walked.head), (size[0], size[1]), channels, "same", inside, NOTE
    )


def _input_range(graph: Graph) -> tuple[float, float] | None:
    """Return the range of an input of integers, or of floats that become integers; or None."""
    tensor, first = graph.tensors[graph.inputs[0]], graph.operators[0]
    if first.kind == "QUANTIZE" and first.inputs == graph.inputs and tensor.scale is None:
        tensor = graph.tensors[first.outputs[0]]
    if tensor.dtype not in ("uint8", "int8"):
        return None
    if tensor.scale is None or tensor.zero_point is None:
        return PIXELS if tensor.dtype == "uint8" else None
    return picture.integer_range(
        float(tensor.scale[0]), int(tensor.zero_point[0]), np.dtype(tensor.dtype)
    )


def _embedded(path: Path) -> dict[str, str]:
    """Return the texts in the zip archive after the flatbuffer, by name."""
    data = read_file(path, bounds.LARGEST_GRAPH)
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return {}
    found: dict[str, str] = {}
    try:
        with Zip(data) as archive:
            for entry in archive.infolist():
                wanted = entry.filename.endswith(".txt") or entry.filename == CONFIG
                if wanted and entry.file_size <= LARGEST_ENTRY and len(found) < 8:
                    found[entry.filename] = archive.content(entry, LARGEST_ENTRY).decode("utf-8")
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise DialectError(f"the list of labels in it is damaged ({error})") from None
    return found


DIALECT = GraphDialect(
    "litert", (FORMATS["litert"].suffix,), read_litert, open_graph,
    lambda config, arrays: write_litert(lower(config, arrays)),
    by_padding(SLIM),
)  # fmt: skip
