"""The PyTorch edition."""

from mobilenetv2.editions.torch.network import MobileNetV2 as MobileNetV2
from mobilenetv2.editions.torch.weights import dump as dump
from mobilenetv2.editions.torch.weights import load as load
