"""The model that answers on the command line: on an engine, or in the PyTorch edition."""

import argparse
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.cli.parser import require_positive
from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.evaluation.predictions import Predictor
from mobilenetv2.formats import FORMATS, engines_of
from mobilenetv2.hub.catalogue import DEFAULT, EMBEDDED
from mobilenetv2.hub.models import embedded_folder, locate
from mobilenetv2.model import store
from mobilenetv2.model.outputs import require_answers
from mobilenetv2.process import prepare_process
from mobilenetv2.progress import say
from mobilenetv2.runtime.engine import Engine
from mobilenetv2.runtime.predictor import (
    FeatureMap,
    create_engine,
    engine_predictor,
    load_artifact,
    load_feature_map,
)
from mobilenetv2.spec.names import intermediate_names
from mobilenetv2.spec.records import ModelConfig

TORCH = "torch"
EXECUTORCH = FORMATS["executorch"]
Output: TypeAlias = Literal["logits", "features"]


def resolve_model(arguments: argparse.Namespace) -> None:
    """Set ``arguments.model`` to the embedded one where nobody gave any, and say what it knows."""
    if arguments.model is not None:
        return
    arguments.model = EMBEDDED
    config = store.load_config(embedded_folder())
    names, (height, width) = config.labels.names, config.spec.size
    say(
        f"no --model: the embedded one answers; it sees {height} x {width} pixels and knows "
        f"{', '.join(names[:-1])} and {names[-1]} only. For ImageNet's 1,000 classes add "
        f"--model {DEFAULT}, for your own train one"
    )


def load_predictor(
    arguments: argparse.Namespace, outputs: Output = "logits"
) -> tuple[ModelConfig, Predictor, str]:
    """Return the config and the predictor of ``--model`` on ``--runtime`` or ``--device``, and the
    name of what computes."""
    model, threads = locate(arguments.model), arguments.threads
    runtime, device = arguments.runtime, arguments.device
    require_positive("--threads", threads)
    if runtime not in (None, TORCH) and device != "cpu":
        raise ArtifactError(
            f"--runtime {runtime} computes on the CPU; --device {device} is for --runtime torch"
        )
    if runtime == TORCH or device != "cpu":
        config, _, network = _network_in_torch(model, threads, outputs)
        from mobilenetv2.editions.torch.network import check_device, predictor

        predict, name = predictor(network, check_device(device), outputs), TORCH
    else:
        config, engine, name = _load_engine(model, runtime, threads)
        if outputs == "logits":
            require_answers(config.spec, str(model))
        predict = engine_predictor(engine, config.preprocessing, outputs)
    return config, with_flips(predict) if arguments.flips else predict, name


def with_flips(predict: Predictor) -> Predictor:
    """Return a predictor of the mean over each picture and its mirror image."""

    def answer(pictures: NDArray) -> NDArray:
        mirrored = np.ascontiguousarray(pictures[:, :, ::-1])
        return np.asarray((predict(pictures) + predict(mirrored)) / 2)

    return answer


def _load_engine(
    model: Path, runtime: str | None, threads: int | None
) -> tuple[ModelConfig, Engine, str]:
    """Return the config of a model folder or an exported file, its engine and that one's name."""
    if not (model.suffix.lower() == EXECUTORCH.ending and model.is_file()):
        artifact = load_artifact(model, runtime)
        name = runtime or engines_of(artifact.format)[0]
        return artifact.config, create_engine(artifact, name, threads), name
    if runtime is not None:
        raise ArtifactError(
            f"{model}: --runtime {runtime} does not run {EXECUTORCH.ending} files; leave it out"
        )
    require("executorch")  # its runtime needs PyTorch
    from mobilenetv2.exporting import executorch

    return executorch.config_inside(model), executorch.reload(model, threads), EXECUTORCH.name


def load_network(model: Path, runtime: str | None, threads: int | None) -> FeatureMap:
    """Return the network that ``explain`` looks into: on an engine, or in PyTorch.

    Raises:
        WeightsError, ArtifactError: it cannot be read or run, or not be explained.
        MissingExtra: what computes is not installed.
    """
    require_positive("--threads", threads)
    if runtime == TORCH:
        return _feature_map_in_torch(model, threads)
    return load_feature_map(model, runtime, threads)


def _feature_map_in_torch(model: Path, threads: int | None) -> FeatureMap:
    config, arrays, network = _network_in_torch(model, threads)
    from mobilenetv2.editions import torch as edition
    from mobilenetv2.images.preprocess import normalise

    names = intermediate_names(config.spec)
    last, logits = names[names.index("features") - 1], names[-1]

    def answer(pictures: NDArray) -> tuple[NDArray, NDArray]:
        found = edition.intermediates(network, normalise(pictures, config.preprocessing))
        return found[logits], found[last]

    return FeatureMap(config, arrays, answer, lambda pictures: answer(pictures)[1])


def _network_in_torch(
    model: Path, threads: int | None, outputs: Output = "logits"
) -> tuple[ModelConfig, Any, Any]:
    """Return the config, the arrays and the PyTorch edition, which has every network, with them."""
    if model.is_file():
        raise ArtifactError(
            f"{model}: an exported file, which --runtime torch and other devices than the cpu do "
            "not run; give the model folder"
        )
    config, arrays = store.load(model)
    if outputs == "logits":
        require_answers(config.spec, str(model))
    prepare_process()
    torch = require("torch")
    if threads is not None:
        torch.set_num_threads(threads)
    from mobilenetv2.editions import torch as edition

    network = edition.MobileNetV2(config)
    edition.load(network, arrays, str(model))
    return config, arrays, network
