"""The model that ``predict`` and ``evaluate`` run, at this stage on the PyTorch edition."""

import argparse
from typing import Literal

from mobilenetv2.errors import require
from mobilenetv2.evaluate.accuracy import Predictor
from mobilenetv2.spec.records import ModelConfig


def load_predictor(
    arguments: argparse.Namespace, outputs: Literal["logits", "features"] = "logits"
) -> tuple[ModelConfig, Predictor]:
    """The config and the predictor of ``--model`` on ``--device``.

    Raises:
        WeightsError: it is not a model folder, or a damaged one.
        MissingExtra: PyTorch is not installed.
    """
    from mobilenetv2.weights import store
    from mobilenetv2.weights.models import locate

    config, arrays = store.load(locate(arguments.model))
    require("torch")
    from mobilenetv2.allocator import keep_memory
    from mobilenetv2.editions import torch as edition
    from mobilenetv2.editions.torch.inference import check_device, predictor

    keep_memory()
    device = check_device(arguments.device)
    network = edition.MobileNetV2(config)
    edition.load(network, arrays, arguments.model)
    return config, predictor(network, device, outputs)
