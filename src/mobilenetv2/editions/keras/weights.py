"""Canonical weights into the Keras edition and out of it."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from mobilenetv2.editions.edition import Dtype
from mobilenetv2.editions.keras.names import CLASSIFIER, batch_norm_name, convolution_name
from mobilenetv2.model.arrays import Arrays, check
from mobilenetv2.model.layout import (
    TENSORFLOW_CONVOLUTION,
    TENSORFLOW_DEPTHWISE,
    TENSORFLOW_LINEAR,
    Layout,
)
from mobilenetv2.spec.names import Shapes, parameter_shapes

BATCH_NORM = {
    "scale": "gamma",
    "shift": "beta",
    "mean": "moving_mean",
    "variance": "moving_variance",
}


def load(network: keras.Model, arrays: Arrays, where: str = "weights") -> None:
    """Copy canonical arrays into the network, in place; its dtype stays.

    A network without its top is given the classifier's arrays too, and has no place for them.

    Raises:
        WeightsError: the arrays are not exactly the network's, with the whole difference.
    """
    check(network.config.spec, arrays, where)
    assign(network, arrays)


def assign(network: keras.Model, arrays: Arrays) -> None:
    """:func:`load`, unchecked."""
    for name, variable, layout in _variables(network):
        if name in arrays:
            array = np.asarray(arrays[name])
            variable.assign(layout.from_canonical(array) if layout else array)


def dump(network: keras.Model, dtype: Dtype = "float32") -> Arrays:
    """The network's weights as canonical arrays: copies."""
    arrays: Arrays = {}
    for name, variable, layout in _variables(network):
        array = np.array(keras.ops.convert_to_numpy(variable.value), dtype)
        arrays[name] = layout.to_canonical(array) if layout else array
    return arrays


def _variables(network: keras.Model) -> Iterator[tuple[str, Any, Layout | None]]:
    """Canonical name, the variable that holds it, and how it lies there."""
    shapes: Shapes = parameter_shapes(network.config.spec)
    found = {layer.name: layer for layer in network.layers}
    for name in shapes:
        owner, part = name.rsplit(".", 1)
        if owner == "classifier":
            if CLASSIFIER not in found:
                continue  # include_top=False
            layer, variable = found[CLASSIFIER], {"weight": "kernel", "bias": "bias"}[part]
            layout = TENSORFLOW_LINEAR if part == "weight" else None
        elif owner.endswith(".bn"):
            layer = found[batch_norm_name(owner.removesuffix(".bn"))]
            variable, layout = BATCH_NORM[part], None
        else:
            layer = found[convolution_name(owner.removesuffix(".conv"))]
            variable, layout = "bias", None
            if part == "weight":
                depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
                variable = "kernel"
                layout = TENSORFLOW_DEPTHWISE if depthwise else TENSORFLOW_CONVOLUTION
        yield name, getattr(layer, variable), layout
