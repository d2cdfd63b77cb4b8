"""ONNX classifiers to a model folder's contents, whoever exported them.

Read off the graph: PyTorch's exporters, tf2onnx, the model zoo's from MXNet, and
:mod:`mobilenetv2.graph.onnx_writer`, whose files carry their whole config. BatchNorm
that was left in comes in bit for bit; where it was folded, it is an identity that carries the bias.
"""

from pathlib import Path

import numpy as np

from mobilenetv2.checkpoints.containers.onnx import Graph, read_onnx
from mobilenetv2.checkpoints.graphs.chain_arrays import arrays_of, folded
from mobilenetv2.checkpoints.graphs.chain_config import adopted, origin, require_picture, size_in
from mobilenetv2.checkpoints.graphs.chain_spec import infer
from mobilenetv2.checkpoints.graphs.onnx_graph import Classifier, follow
from mobilenetv2.checkpoints.labels import background_of, usual_labels
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.graph.onnx import CONFIG_KEY
from mobilenetv2.model.arrays import Arrays, check_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import PYTORCH, SLIM
from mobilenetv2.spec.records import IMAGENET_MEAN, IMAGENET_STD, Labels, ModelConfig, Preprocessing

USUAL_SIZE = (224, 224)
NUMERICS = {"same": SLIM, "symmetric": PYTORCH}
FOLDED = "BatchNorm was folded in the ONNX file and is an identity here."
OPEN = f"The ONNX file takes any size; {USUAL_SIZE[0]} x {USUAL_SIZE[1]} is assumed."


def import_file(path: Path, labels: Labels | None = None) -> tuple[ModelConfig, Arrays]:
    """Read an exported MobileNetV2 classifier.

    Args:
        labels: names of the outputs; without them those inside the file are taken, then
            ImageNet's where there are 1,000 or 1,001 outputs.

    Raises:
        WeightsError: not an ONNX file, or damaged.
        DialectError: an ONNX file of another network.
    """
    graph = read_onnx(path)
    try:
        text = graph.metadata.get(CONFIG_KEY)
        found = follow(graph, USUAL_SIZE if text is None else size_in(text))
        config = _config(path, graph, found, labels)
        arrays = arrays_of(config.spec, found.steps, found.weight, found.bias)
    except (DialectError, SpecError) as error:
        raise DialectError(f"{path}: {error}") from None
    check_arrays(config.spec, arrays, str(path))
    return config, arrays


def _config(path: Path, graph: Graph, found: Classifier, labels: Labels | None) -> ModelConfig:
    (shape,) = graph.inputs.values()
    open_size = None in (shape[1:3] if found.channels_last else shape[2:])
    channels, classes = len(found.factor), found.weight.shape[0]
    notes = [FOLDED] if folded(found.steps) else []
    text = graph.metadata.get(CONFIG_KEY)
    if text is not None:
        came_from = origin(path, "onnx", folded(found.steps), " ".join(notes))
        config = adopted(text, found.steps, labels, came_from)
        require_picture(config.spec, found.size, channels)
        return config
    notes += [OPEN] if open_size else []
    labels = labels or usual_labels(classes)
    base = NetworkSpec(
        size=found.size, classes=classes, input_channels=channels,
        background=background_of(labels, classes),
    )  # fmt: skip
    spec = infer(found.steps, base, NUMERICS, "same" if found.channels_last else "symmetric")
    came_from = origin(path, "onnx", folded(found.steps), " ".join(notes))
    return ModelConfig(spec, _preprocessing(found, spec), labels, came_from)


def _preprocessing(found: Classifier, spec: NetworkSpec) -> Preprocessing:
    """What the graph normalises itself, else what goes with the padding: whose network it is."""
    with np.errstate(all="ignore"):
        mean, std = -found.offset / found.factor, 1 / found.factor
    # QuantizeLinear and its inverse leave rounding errors of float64.
    if np.allclose(found.factor, 1, rtol=1e-9) and np.allclose(found.offset, 0, atol=1e-9):
        tensorflow = spec.numerics.padding == "same"
        mean, std = np.array([IMAGENET_MEAN, IMAGENET_STD])
        mean, std = (np.full(3, 127.5),) * 2 if tensorflow else (mean, std)
        if spec.input_channels == 1:
            mean, std = mean.mean(keepdims=True), std.mean(keepdims=True)
    elif (std < 2).all():
        mean, std = mean * 255, std * 255  # it takes values from 0 to 1
    resize = (round(spec.size[0] * 8 / 7), round(spec.size[1] * 8 / 7))
    values = (tuple(round(float(x), 6) for x in numbers) for numbers in (mean, std))
    return Preprocessing(spec.size, resize, mean=next(values), std=next(values))
