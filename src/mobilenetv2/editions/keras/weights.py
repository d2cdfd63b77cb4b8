"""Variables of a Keras model by their canonical names."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from mobilenetv2.editions.edition import Dtype
from mobilenetv2.editions.heads import came_folded, warn_folded
from mobilenetv2.editions.keras.names import CLASSIFIER as CLASSIFIER
from mobilenetv2.editions.keras.names import POOLS as POOLS
from mobilenetv2.editions.keras.names import batch_norm_name as batch_norm_name
from mobilenetv2.editions.keras.names import convolution_name as convolution_name
from mobilenetv2.editions.keras.top import body_of, config_of, linear_layers
from mobilenetv2.model.arrays import (
    TENSORFLOW_CONVOLUTION,
    TENSORFLOW_DEPTHWISE,
    TENSORFLOW_LINEAR,
    Arrays,
    Layout,
    check_arrays,
)
from mobilenetv2.spec.names import is_classifier, parameter_shapes

BATCH_NORM = {
    "scale": "gamma",
    "shift": "beta",
    "mean": "moving_mean",
    "variance": "moving_variance",
}


def load(network: keras.Model, arrays: Arrays, where: str = "weights") -> None:
    """Copy canonical arrays into a network; warn if training would destroy them.

    ``arrays`` must hold the classifier, too. A network without a top leaves it out.
    """
    check_arrays(config_of(network).spec, arrays, where)
    if came_folded(config_of(network)):
        warn_folded()
    assign(network, arrays)


def assign(network: keras.Model, arrays: Arrays) -> None:
    """Copy canonical arrays into a network without a check."""
    for name, variable, layout in _variables(network):
        if name in arrays:
            array = np.asarray(arrays[name])
            variable.assign(layout.from_canonical(array) if layout else array)


def dump(network: keras.Model, dtype: Dtype = "float32") -> Arrays:
    """Return the weights of a network as canonical arrays."""
    arrays: Arrays = {}
    for name, variable, layout in _variables(network):
        array = np.array(keras.ops.convert_to_numpy(variable.value), dtype)
        arrays[name] = layout.to_canonical(array) if layout else array
    return arrays


def _variables(network: keras.Model) -> Iterator[tuple[str, Any, Layout | None]]:
    """Yield the canonical name, the variable and its layout of each tensor."""
    spec = config_of(network).spec
    linears = linear_layers(network, spec)
    by_name = {layer.name: layer for layer in body_of(network).layers}
    for name in parameter_shapes(spec):
        owner, part = name.rsplit(".", 1)
        if is_classifier(name):
            if owner not in linears:
                continue  # include_top=False
            layer = linears[owner]
            variable = {"weight": "kernel", "bias": "bias"}[part]
            layout = TENSORFLOW_LINEAR if part == "weight" else None
        elif owner.endswith(".bn"):
            layer = by_name[batch_norm_name(owner.removesuffix(".bn"))]
            variable, layout = BATCH_NORM[part], None
        else:
            layer = by_name[convolution_name(owner.removesuffix(".conv"))]
            variable, layout = "bias", None
            if part == "weight":
                depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
                variable = "kernel"
                layout = TENSORFLOW_DEPTHWISE if depthwise else TENSORFLOW_CONVOLUTION
        yield name, getattr(layer, variable), layout
