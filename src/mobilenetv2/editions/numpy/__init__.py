"""NumPy edition: the readable reference, for inference only."""

from mobilenetv2.editions.numpy.network import MobileNetV2 as MobileNetV2
from mobilenetv2.editions.numpy.network import MobileNetV2 as build
from mobilenetv2.editions.numpy.network import (
    config_of,
    dump,
    evaluate,
    features_only,
    intermediates,
    load,
    predictor,
    reset_classifier,
)

__all__ = [
    "MobileNetV2", "build", "config_of", "dump", "evaluate", "features_only", "intermediates",
    "load", "predictor", "reset_classifier",
]  # fmt: skip
