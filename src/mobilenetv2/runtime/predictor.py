"""Pictures in, logits, pooled features or the last feature map out, on whichever engine."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, WeightsError
from mobilenetv2.images.normalise import engine_input
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.outputs import require_answers
from mobilenetv2.runtime.artifact import (
    build_artifact,
    create_engine,
    is_exported,
    load_artifact,
)
from mobilenetv2.runtime.engine import Artifact, Engine, Output
from mobilenetv2.spec.names import is_classifier
from mobilenetv2.spec.records import ModelConfig, Preprocessing

Predictor = Callable[[NDArray], NDArray]
"""uint8 (batch, height, width, channels) at the network's size -> float32 (batch, outputs)."""


def load_predictor(
    model: Path, outputs: Output = "logits", runtime: str | None = None, threads: int | None = None
) -> tuple[ModelConfig, Predictor]:
    """Return the config of a model folder or an exported file, and its predictor.

    Args:
        runtime: None is the default for a model folder, the file's own for an exported one.

    Raises:
        WeightsError, ArtifactError, SpecError: it cannot be read, or not be run.
        MissingExtra: the engine is not installed.
    """
    artifact = load_artifact(model, runtime)
    if outputs == "logits":
        require_answers(artifact.config.spec, str(model))
    engine = create_engine(artifact, runtime, threads)
    return artifact.config, engine_predictor(engine, artifact.config.preprocessing, outputs)


def engine_predictor(engine: Engine, record: Preprocessing, output: Output = "logits") -> Predictor:
    """Return the predictor of an engine, wherever its graph has its normalisation."""
    if engine.takes_pictures:
        return lambda pictures: engine.run(pictures, output)
    return lambda pictures: engine.run(engine_input(pictures, record), output)


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """A network with its last feature map beside the logits: Grad-CAM without gradients.

    Global pooling and linear layers lie between the map and the logits.
    """

    config: ModelConfig
    arrays: Arrays
    """Canonical, those of the classifier: the linear layers behind the map."""
    answer: Callable[[NDArray], tuple[NDArray, NDArray]]
    """Pictures -> logits and maps, float32 (batch, height', width', k), after their activation."""
    maps: Predictor
    """The maps alone: an engine runs once for them, and twice for both."""


def load_feature_map(
    model: Path, runtime: str | None = None, threads: int | None = None
) -> FeatureMap:
    """Return the network of a model folder, or of an exported ONNX or Keras file, on an engine.

    Args:
        runtime: None is the default.

    Raises:
        WeightsError, SpecError: it cannot be read, or is no network of an engine here.
        ArtifactError: a file of another format, whose graph gives its logits only.
        MissingExtra: the engine is not installed.
    """
    if is_exported(model):
        artifact, arrays = _exported(model, runtime)
    else:
        config, arrays = store.load(model)
        artifact = build_artifact(config, arrays, model, runtime, last_map=True)
        arrays = {name: array for name, array in arrays.items() if is_classifier(name)}
    require_answers(artifact.config.spec, str(model))
    engine, record = create_engine(artifact, runtime, threads), artifact.config.preprocessing
    logits, planes = (engine_predictor(engine, record, name) for name in ("logits", "map"))

    def maps(pictures: NDArray) -> NDArray:
        return planes(pictures).transpose(0, 2, 3, 1)

    def answer(pictures: NDArray) -> tuple[NDArray, NDArray]:
        return logits(pictures), maps(pictures)

    return FeatureMap(artifact.config, arrays, answer, maps)


def _exported(path: Path, runtime: str | None) -> tuple[Artifact, Arrays]:
    from mobilenetv2.checkpoints.graphs.onnx import with_map

    artifact = load_artifact(path, runtime)
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
    return dataclasses.replace(artifact, graph=graph), {"classifier.weight": weight}
