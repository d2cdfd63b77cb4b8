"""The JAX edition, in Flax NNX."""

from mobilenetv2.editions.jax.network import MobileNetV2 as MobileNetV2
from mobilenetv2.editions.jax.network import MobileNetV2 as build
from mobilenetv2.editions.jax.network import dump, intermediates, load, predictor

__all__ = ["MobileNetV2", "build", "dump", "intermediates", "load", "predictor"]
