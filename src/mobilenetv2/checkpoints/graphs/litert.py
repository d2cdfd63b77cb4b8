"""LiteRT (TensorFlow Lite) classifiers, float or quantised, to a model folder's contents.

BatchNorm is folded into weights and biases already; it comes in as an identity that carries the
bias. Files that :mod:`mobilenetv2.graph.litert_writer` wrote have their whole config in
the zip archive behind the flatbuffer, others at most a list of labels.
"""

import dataclasses
import math
import zipfile
import zlib
from pathlib import Path

from mobilenetv2.checkpoints.containers.litert import Graph, read_litert
from mobilenetv2.checkpoints.graphs.chain_arrays import arrays_of
from mobilenetv2.checkpoints.graphs.chain_config import adopted, origin, require_picture
from mobilenetv2.checkpoints.graphs.chain_spec import infer
from mobilenetv2.checkpoints.graphs.litert_graph import Classifier, follow
from mobilenetv2.checkpoints.labels import background_of, usual_labels
from mobilenetv2.checkpoints.labels import read_labels as read_labels
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.graph.litert import CONFIG
from mobilenetv2.model.arrays import Arrays, check_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import SLIM
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

LARGEST_ENTRY = 4 * 1024**2
NUMERICS = {"same": SLIM, "symmetric": dataclasses.replace(SLIM, padding="symmetric")}
NOTE = "Dequantised from a LiteRT file; BatchNorm was folded there and is an identity here."


def import_file(path: Path, labels: Labels | None = None) -> tuple[ModelConfig, Arrays]:
    """Read a published MobileNetV2 classifier.

    Args:
        labels: names of the outputs; without them those inside the file are taken, then
            ImageNet's where there are 1,000 or 1,001 outputs.

    Raises:
        WeightsError: not a LiteRT file, or damaged.
        DialectError: a LiteRT file of another network.
    """
    graph = read_litert(path)
    try:
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            raise DialectError("not a classifier: it must have one input and one output")
        found = follow(graph)
        config = _config(path, graph, found, labels)
        arrays = arrays_of(config.spec, found.steps, found.weight, found.bias)
    except (DialectError, SpecError) as error:
        raise DialectError(f"{path}: {error}") from None
    check_arrays(config.spec, arrays, str(path))
    return config, arrays


def _config(path: Path, graph: Graph, found: Classifier, labels: Labels | None) -> ModelConfig:
    shape = graph.tensors[graph.inputs[0]].shape
    if len(shape) != 4:
        raise DialectError(f"not a picture classifier: its input has shape {list(shape)}")
    classes = found.weight.shape[0]
    inside = _embedded(path)
    came_from = origin(path, "litert", folded=True, note=NOTE)
    if CONFIG in inside:
        config = adopted(inside[CONFIG], found.steps, labels, came_from)
        require_picture(config.spec, shape[1:3], shape[3])
        return config
    lists = [read_labels(text) for name, text in inside.items() if name.endswith(".txt")]
    fitting = [one for one in lists if len(one) == classes]
    labels = labels or (fitting[0] if fitting else usual_labels(classes))
    base = NetworkSpec(
        size=(shape[1], shape[2]), classes=classes, input_channels=shape[3],
        background=background_of(labels, classes),
    )  # fmt: skip
    spec = infer(found.steps, base, NUMERICS, unsure="same")
    return ModelConfig(spec, _preprocessing(graph, spec), labels, came_from)


def _preprocessing(graph: Graph, spec: NetworkSpec) -> Preprocessing:
    """What a raw pixel means, as the input's quantisation says; else TensorFlow's -1 to 1."""
    tensor = graph.tensors[graph.inputs[0]]
    mean, std = 127.5, 127.5
    if tensor.scale is not None and tensor.zero_point is not None:
        mean, std = float(tensor.zero_point[0]), float(1 / tensor.scale[0])
        mean += 128 if mean < 0 else 0  # int8 inputs hold pixel - 128
        std = 127.5 if math.isclose(std, 127.5, rel_tol=1e-4) else std
    margin = 8 / 7
    resize = (round(spec.size[0] * margin), round(spec.size[1] * margin))
    channels = spec.input_channels
    return Preprocessing(spec.size, resize, mean=(mean,) * channels, std=(std,) * channels)


def _embedded(path: Path) -> dict[str, str]:
    """Name -> text of what LiteRT metadata keeps in a zip archive behind the flatbuffer."""
    if not zipfile.is_zipfile(path):
        return {}
    found: dict[str, str] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                wanted = entry.filename.endswith(".txt") or entry.filename == CONFIG
                if wanted and entry.file_size <= LARGEST_ENTRY and len(found) < 8:
                    found[entry.filename] = archive.read(entry).decode("utf-8")
    except (
        zipfile.BadZipFile, zlib.error, ValueError, RuntimeError, OSError, NotImplementedError
    ) as error:  # fmt: skip
        raise DialectError(f"its embedded label list is damaged ({error})") from None
    return found
