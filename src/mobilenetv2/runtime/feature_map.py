"""The last feature map beside the logits: what Grad-CAM is drawn from, without gradients."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, WeightsError
from mobilenetv2.model import store
from mobilenetv2.runtime import engine
from mobilenetv2.runtime.artifact import built, is_exported, load
from mobilenetv2.runtime.engine import Artifact
from mobilenetv2.runtime.predictor import Predictor
from mobilenetv2.spec.records import ModelConfig

Answer = Callable[[NDArray], tuple[NDArray, NDArray]]
"""uint8 pictures (batch, height, width, channels) at the network's size -> logits, float32 (batch,
classes), and the last feature map after its activation, float32 (batch, height', width', k)."""


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """A network whose answers can be explained: global average pooling and one linear layer lie
    between the map and the logits."""

    config: ModelConfig
    weight: NDArray
    """float32 (classes, k): the classifier's."""
    answer: Answer
    maps: Predictor
    """The maps without the logits, where they are enough: an engine that gives one output at a
    time runs once for them, and twice for both."""


def feature_map(model: Path, runtime: str | None = None, threads: int | None = None) -> FeatureMap:
    """The network of a model folder, or of an exported ONNX or Keras file, on an engine.

    Args:
        runtime: None is the default.

    Raises:
        WeightsError, SpecError: it cannot be read, or is no network of an engine here.
        ArtifactError: a file of another format, whose graph gives its logits only.
        MissingExtra: the engine is not installed.
    """
    if is_exported(model):
        artifact, weight = _exported(model, runtime)
    else:
        config, arrays = store.load(model)
        artifact = built(config, arrays, model, runtime, last_map=True)
        weight = arrays["classifier.weight"]
    started = engine.start(artifact, runtime, threads)
    record = artifact.config.preprocessing
    logits, planes = (engine.predictor(started, record, name) for name in ("logits", "map"))

    def maps(pictures: NDArray) -> NDArray:
        return planes(pictures).transpose(0, 2, 3, 1)

    def answer(pictures: NDArray) -> tuple[NDArray, NDArray]:
        return logits(pictures), maps(pictures)

    return FeatureMap(artifact.config, weight, answer, maps)


def _exported(path: Path, runtime: str | None) -> tuple[Artifact, NDArray]:
    from mobilenetv2.checkpoints.graphs.onnx import with_map

    artifact = load(path, runtime)
    if artifact.format != "onnx":
        raise ArtifactError(
            f"{path}: a file of this format does not give the network's last feature map; give the "
            "model folder that it was exported from, or its .onnx file"
        )
    try:
        graph, weight = with_map(artifact.graph, artifact.config.spec.size)
    except WeightsError as error:
        raise ArtifactError(
            f"{path}: its last feature map cannot be had ({error}); give the model folder that it "
            "was exported from"
        ) from None
    return dataclasses.replace(artifact, graph=graph), weight
