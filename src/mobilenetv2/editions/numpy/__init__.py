"""The NumPy edition: the plain reference, inference only."""

from mobilenetv2.editions.numpy.inference import intermediates as intermediates
from mobilenetv2.editions.numpy.inference import predictor as predictor
from mobilenetv2.editions.numpy.network import MobileNetV2 as MobileNetV2
from mobilenetv2.editions.numpy.network import MobileNetV2 as build
from mobilenetv2.editions.numpy.weights import dump as dump
from mobilenetv2.editions.numpy.weights import load as load

__all__ = ["MobileNetV2", "build", "dump", "intermediates", "load", "predictor"]
