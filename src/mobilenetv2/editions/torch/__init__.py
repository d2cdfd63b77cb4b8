"""The PyTorch edition."""

from mobilenetv2.editions.torch.network import MobileNetV2 as MobileNetV2
from mobilenetv2.editions.torch.network import MobileNetV2 as build
from mobilenetv2.editions.torch.network import dump, intermediates, load, predictor

__all__ = ["MobileNetV2", "build", "dump", "intermediates", "load", "predictor"]
