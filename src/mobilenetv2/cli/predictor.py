"""The model that ``predict`` and ``evaluate`` run: on an engine, or in the PyTorch edition."""

import argparse
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, SpecError, require
from mobilenetv2.evaluate.predictions import Predictor
from mobilenetv2.formats import FORMATS, engines_of
from mobilenetv2.hub.models import locate
from mobilenetv2.process import prepare_process
from mobilenetv2.progress import say
from mobilenetv2.spec.records import ModelConfig

TORCH = "torch"
EXECUTORCH = FORMATS["executorch"]
Output: TypeAlias = Literal["logits", "features"]


def load_predictor(
    arguments: argparse.Namespace, outputs: Output = "logits"
) -> tuple[ModelConfig, Predictor, str]:
    """The config and the predictor of ``--model`` on ``--runtime`` or ``--device``, and the name
    of what computes.

    Raises:
        WeightsError, ArtifactError: there is no such model, it is damaged, or it cannot be run.
        MissingExtra: the runtime is not installed.
    """
    config, predict, runtime = _load(arguments, outputs)
    return config, with_flips(predict) if arguments.flips else predict, runtime


def with_flips(predict: Predictor) -> Predictor:
    """The mean of what is said of each picture and of its mirror image."""

    def answer(pictures: NDArray) -> NDArray:
        mirrored = np.ascontiguousarray(pictures[:, :, ::-1])
        return np.asarray((predict(pictures) + predict(mirrored)) / 2)

    return answer


def _load(arguments: argparse.Namespace, outputs: Output) -> tuple[ModelConfig, Predictor, str]:
    model, threads = locate(arguments.model), arguments.threads
    if threads is not None and threads < 1:
        raise ArtifactError(f"--threads {threads} must be at least 1")
    if arguments.runtime not in (None, TORCH) and arguments.device != "cpu":
        raise ArtifactError(
            f"--runtime {arguments.runtime} computes on the CPU; --device {arguments.device} is "
            "for --runtime torch"
        )
    if arguments.runtime == TORCH or arguments.device != "cpu":
        return *in_torch(model, arguments.device, outputs, threads), TORCH
    if model.suffix.lower() == EXECUTORCH.ending and model.is_file():
        return *in_executorch(model, arguments.runtime, outputs, threads), "executorch"
    from mobilenetv2.runtime.artifact import create_engine, load_artifact
    from mobilenetv2.runtime.predictor import engine_predictor

    try:
        artifact = load_artifact(model, arguments.runtime)
        name = arguments.runtime or engines_of(artifact.format)[0]
        engine = create_engine(artifact, name, threads)
        record = artifact.config.preprocessing
        return artifact.config, engine_predictor(engine, record, outputs), name
    except SpecError as error:
        if arguments.runtime is not None:
            raise
        say(f"{error}; this one runs in PyTorch")
        return *in_torch(model, arguments.device, outputs, threads), TORCH


def in_executorch(
    model: Path, runtime: str | None, outputs: Output, threads: int | None
) -> tuple[ModelConfig, Predictor]:
    """A ``.pte`` file, whose runtime needs PyTorch."""
    if runtime is not None:
        raise ArtifactError(
            f"{model}: --runtime {runtime} does not run {EXECUTORCH.ending} files; leave it out"
        )
    require("executorch")
    from mobilenetv2.export import executorch
    from mobilenetv2.runtime.predictor import engine_predictor

    config = executorch.config_inside(model)
    return config, engine_predictor(
        executorch.reload(model, threads), config.preprocessing, outputs
    )


def in_torch(
    model: Path,
    device_name: str,
    outputs: Output,
    threads: int | None,
) -> tuple[ModelConfig, Predictor]:
    """The same in the PyTorch edition: on a GPU, or for networks that no engine has."""
    from mobilenetv2.model import store

    if model.is_file():
        raise ArtifactError(
            f"{model}: an exported file, which --runtime torch and other devices than the cpu do "
            "not run; give the model folder"
        )
    config, arrays = store.load(model)
    prepare_process()
    torch = require("torch")
    if threads is not None:
        torch.set_num_threads(threads)
    from mobilenetv2.editions import torch as edition
    from mobilenetv2.editions.torch.inference import check_device, predictor

    device = check_device(device_name)
    network = edition.MobileNetV2(config)
    edition.load(network, arrays, str(model))
    return config, predictor(network, device, outputs)
