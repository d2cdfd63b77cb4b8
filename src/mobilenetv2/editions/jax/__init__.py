"""JAX edition, in Flax NNX."""

from mobilenetv2.editions.jax.evaluation import evaluate
from mobilenetv2.editions.jax.features import features_only
from mobilenetv2.editions.jax.network import MobileNetV2 as MobileNetV2
from mobilenetv2.editions.jax.network import MobileNetV2 as build
from mobilenetv2.editions.jax.network import (
    config_of,
    intermediates,
    predictor,
    reset_classifier,
)
from mobilenetv2.editions.jax.weights import dump, load

__all__ = [
    "MobileNetV2", "build", "config_of", "dump", "evaluate", "features_only", "intermediates",
    "load", "predictor", "reset_classifier",
]  # fmt: skip
