"""The model that ``predict`` and ``evaluate`` run: on an engine, or in the PyTorch edition."""

import argparse
from pathlib import Path
from typing import Literal

from mobilenetv2.errors import SpecError, require
from mobilenetv2.evaluate.accuracy import Predictor
from mobilenetv2.progress import say
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.weights.models import locate

TORCH = "torch"


def load_predictor(
    arguments: argparse.Namespace, outputs: Literal["logits", "features"] = "logits"
) -> tuple[ModelConfig, Predictor]:
    """The config and the predictor of ``--model`` on ``--runtime`` or ``--device``.

    Raises:
        WeightsError, ArtifactError: there is no such model, it is damaged, or it cannot be run.
        MissingExtra: the runtime is not installed.
    """
    model = locate(arguments.model)
    if arguments.runtime == TORCH or (arguments.runtime is None and arguments.device != "cpu"):
        return in_torch(model, arguments.device, outputs)
    from mobilenetv2.runtime.predictor import predictor

    try:
        return predictor(model, outputs, arguments.runtime, arguments.threads)
    except SpecError as error:
        if arguments.runtime is not None:
            raise
        say(f"{error}; this one runs in PyTorch")
        return in_torch(model, arguments.device, outputs)


def in_torch(
    model: Path, device_name: str, outputs: Literal["logits", "features"]
) -> tuple[ModelConfig, Predictor]:
    """The same in the PyTorch edition: on a GPU, or for networks that no engine has."""
    from mobilenetv2.weights import store

    config, arrays = store.load(model)
    require("torch")
    from mobilenetv2.allocator import keep_memory
    from mobilenetv2.editions import torch as edition
    from mobilenetv2.editions.torch.inference import check_device, predictor

    keep_memory()
    device = check_device(device_name)
    network = edition.MobileNetV2(config)
    edition.load(network, arrays, str(model))
    return config, predictor(network, device, outputs)
