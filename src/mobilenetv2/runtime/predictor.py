"""Pictures in, logits or pooled features out, on whichever engine."""

from collections.abc import Callable
from pathlib import Path

from numpy.typing import NDArray

from mobilenetv2.runtime import engine
from mobilenetv2.runtime.artifact import load
from mobilenetv2.runtime.engine import Output
from mobilenetv2.spec.records import ModelConfig

Predictor = Callable[[NDArray], NDArray]
"""uint8 (batch, height, width, channels) at the network's size -> float32 (batch, outputs)."""


def predictor(
    model: Path, outputs: Output = "logits", runtime: str | None = None, threads: int | None = None
) -> tuple[ModelConfig, Predictor]:
    """The config of a model folder or an exported file, and what answers for it.

    Args:
        runtime: None is the default for a model folder, the file's own for an exported one.

    Raises:
        WeightsError, ArtifactError, SpecError: it cannot be read, or not be run.
        MissingExtra: the engine is not installed.
    """
    artifact = load(model, runtime)
    started = engine.start(artifact, runtime, threads)
    return artifact.config, engine.predictor(started, artifact.config.preprocessing, outputs)
