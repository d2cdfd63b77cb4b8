"""A model that answers, wherever it lies and whatever computes: the one way to load one."""

from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError
from mobilenetv2.formats import ENGINES, FORMATS, engines_of
from mobilenetv2.hub.models import locate
from mobilenetv2.model.outputs import require_answers
from mobilenetv2.runtime.engine import Engine
from mobilenetv2.runtime.predictor import (
    FeatureMap,
    Predictor,
    create_engine,
    engine_predictor,
    load_artifact,
    load_feature_map,
)
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.records import ModelConfig

TORCH = "torch"
EXECUTORCH = FORMATS["executorch"]
RUNTIMES = (*ENGINES, TORCH)
"""Names for ``runtime``."""
Output: TypeAlias = Literal["logits", "features"]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model, ready to answer."""

    place: Path
    """The model folder or the exported file."""
    config: ModelConfig
    predict: Predictor
    runtime: str
    """Name of what computes."""


def load_model(
    model: str | PathLike[str],
    outputs: Output = "logits",
    *,
    runtime: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    flips: bool = False,
) -> LoadedModel:
    """Load a model folder, an exported file, or a published model by its name.

    Args:
        model: a folder, a file, a name of the catalogue, ``hf://OWNER/NAME`` or 'embedded'.
        runtime: an engine or 'torch'; None is the default of such a model.
        device: of PyTorch: 'cpu', 'cuda', 'cuda:1', 'mps'.
        threads: of the runtime; None is its own number.
        flips: answer each photo and its mirror image, and take the mean.

    Raises:
        WeightsError, ArtifactError, SpecError: it cannot be had, read or run.
        MobileNetV2Error: PyTorch cannot use the device.
        MissingExtra: what computes is not installed.
    """
    if runtime is not None:
        _require_known(runtime)
    if runtime not in (None, TORCH) and device != "cpu":
        raise ArtifactError(
            f"the runtime {runtime} computes on the CPU; device {device} is for the runtime torch"
        )
    place = locate(fspath(model))
    if runtime == TORCH or device != "cpu":
        from mobilenetv2.runtime import torch

        config, predict = torch.load_predictor(place, outputs, device, threads)
        name = TORCH
    else:
        config, engine, name = _load_engine(place, runtime, threads)
        if outputs == "logits":
            require_answers(config.spec, str(place))
        predict = engine_predictor(engine, config.preprocessing, outputs)
    return LoadedModel(place, config, with_flips(predict) if flips else predict, name)


def load_network(
    model: str | PathLike[str], runtime: str | None = None, threads: int | None = None
) -> FeatureMap:
    """Load a model with its last feature map, for explanations.

    Args:
        model: as for :func:`load_model`, but for exported files of formats without such a map.
        runtime: as for :func:`load_model`.
        threads: as for :func:`load_model`.

    Raises:
        WeightsError, ArtifactError, SpecError: it cannot be had, read, run or explained.
        MissingExtra: what computes is not installed.
    """
    if runtime is not None:
        _require_known(runtime)
    place = locate(fspath(model))
    if runtime == TORCH:
        from mobilenetv2.runtime import torch

        return torch.load_feature_map(place, threads)
    return load_feature_map(place, runtime, threads)


def with_flips(predict: Predictor) -> Predictor:
    """Return a predictor of the mean over each picture and its mirror image."""

    def answer(pictures: NDArray) -> NDArray:
        mirrored = np.ascontiguousarray(pictures[:, :, ::-1])
        return np.asarray((predict(pictures) + predict(mirrored)) / 2)

    return answer


def _require_known(runtime: str) -> None:
    if runtime not in RUNTIMES:
        raise ArtifactError(f"runtime {runtime!r} is unknown; {suggestion(runtime, RUNTIMES)}")


def _load_engine(
    place: Path, runtime: str | None, threads: int | None
) -> tuple[ModelConfig, Engine, str]:
    """Return the config of a model folder or an exported file, its engine and that one's name."""
    if not (place.suffix.lower() == EXECUTORCH.ending and place.is_file()):
        artifact = load_artifact(place, runtime)
        name = runtime or engines_of(artifact.format)[0]
        return artifact.config, create_engine(artifact, name, threads), name
    if runtime is not None:
        raise ArtifactError(
            f"{place}: the runtime {runtime} does not run {EXECUTORCH.ending} files; leave it out"
        )
    from mobilenetv2.runtime import executorch

    config = executorch.read_config(place)
    return config, executorch.load_engine(place, threads), EXECUTORCH.name
