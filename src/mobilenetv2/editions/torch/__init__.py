"""PyTorch edition."""

from mobilenetv2.editions.torch.evaluation import evaluate
from mobilenetv2.editions.torch.features import features_only
from mobilenetv2.editions.torch.network import MobileNetV2 as MobileNetV2
from mobilenetv2.editions.torch.network import MobileNetV2 as build
from mobilenetv2.editions.torch.network import (
    config_of,
    intermediates,
    predictor,
    reset_classifier,
)
from mobilenetv2.editions.torch.weights import dump, load

__all__ = [
    "MobileNetV2", "build", "config_of", "dump", "evaluate", "features_only", "intermediates",
    "load", "predictor", "reset_classifier",
]  # fmt: skip
