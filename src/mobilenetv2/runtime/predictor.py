"""Pictures in, logits or pooled features out, on whichever engine."""

from collections.abc import Callable
from pathlib import Path

from numpy.typing import NDArray

from mobilenetv2.images.preprocess import normalise
from mobilenetv2.runtime.artifact import load
from mobilenetv2.runtime.engine import DEFAULT, Output, start
from mobilenetv2.spec.records import ModelConfig

Predictor = Callable[[NDArray], NDArray]
"""uint8 (batch, height, width, channels) at the network's size -> float32 (batch, outputs)."""


def predictor(
    model: Path, outputs: Output = "logits", runtime: str = DEFAULT, threads: int | None = None
) -> tuple[ModelConfig, Predictor]:
    """The config of a model folder or an exported file, and what answers for it.

    Raises:
        WeightsError, ArtifactError, SpecError: it cannot be read, or not be run.
        MissingExtra: the engine is not installed.
    """
    artifact = load(model)
    engine = start(artifact.graph, artifact.where, runtime, threads)
    record = artifact.config.preprocessing
    return artifact.config, lambda pictures: engine.run(normalise(pictures, record), outputs)
