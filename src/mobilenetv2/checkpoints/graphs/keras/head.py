"""Layers of a Keras model behind its body, each passed to a :class:`HeadBuilder`."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.graphs.head import HeadBuilder, no_head
from mobilenetv2.checkpoints.graphs.keras.config import UNBIASED, Layer, plain
from mobilenetv2.checkpoints.graphs.keras.front import Variables, augments
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.network import Pooling, Size

DROPOUTS = ("Dropout", "AlphaDropout", "GaussianDropout", "SpatialDropout1D", "SpatialDropout2D")


def variable(layer: Layer, variables: Variables, name: str, shape: tuple[int, ...]) -> NDArray:
    """Return a variable of a layer as float32.

    Raises:
        DialectError: it is missing, or of another shape.
    """
    found = variables.get(name)
    if found is None:
        known = ", ".join(variables) or "no variables"
        raise DialectError(f"{layer}: its {name} is not in the file, which has {known} of it")
    if found.shape != shape:
        raise DialectError(
            f"{layer}: its {name} is {list(found.shape)} in the file, {list(shape)} in its config"
        )
    return np.asarray(found, np.float32)


def add(head: HeadBuilder, layer: Layer, variables: Variables) -> None:
    """Add a layer to a head.

    Raises:
        DialectError: the head cannot have such a layer; the message offers the body alone.
    """
    handler = LAYERS.get(layer.kind)
    if handler is not None:
        handler(head, layer, variables)
    elif not augments(layer.kind):
        raise no_head(f"{layer} is not known here")


def knows(layer: Layer) -> bool:
    """Return True if a head may have such a layer."""
    return layer.kind in LAYERS or augments(layer.kind)


def activation(layer: Layer, value: Any) -> str:
    """Return the name of an activation: a name, or a function or a layer in a config."""
    value = plain(value)
    while isinstance(value, Mapping):
        config = value.get("config")
        kind = value.get("class_name")
        if kind == "ReLU":
            most = config.get("max_value") if isinstance(config, Mapping) else None
            return _bounded(layer, most)
        value = config if kind == "function" else kind
    if value is None:
        return ""
    if not isinstance(value, str):
        raise no_head(f"{layer} has the activation {str(value)[:80]!r}")
    return value.lower()


def _bounded(layer: Layer, most: object) -> str:
    if most is None:
        return "relu"
    if most == 6:
        return "relu6"
    raise no_head(f"{layer} has the bounds 0 and {str(most)[:20]}")


def _pool(kind: Pooling) -> Callable[[HeadBuilder, Layer, Variables], None]:
    def pool(head: HeadBuilder, layer: Layer, _: Variables) -> None:
        _require_last(layer)
        window: Size | None = None
        if not layer.kind.startswith("Global"):
            window = _window(layer, head.size)
        head.pool(kind, window)

    return pool


def _window(layer: Layer, size: Size) -> Size:
    """Return the part of the map that one output of a pooling sees; all of it counts as all."""
    value = layer.settings.get("pool_size", 2)
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2 or not all(type(side) is int and side >= 1 for side in sides):
        raise no_head(f"{layer} has pool_size {str(value)[:80]}")
    if layer.settings.get("padding") == "same" and tuple(sides) != size:
        raise no_head(f"{layer} pools beyond the edge")
    return sides[0], sides[1]


def _require_last(layer: Layer) -> None:
    if layer.settings.get("data_format") not in (None, "channels_last"):
        raise no_head(f"{layer} has data_format {layer.settings.get('data_format')!r}")


def _flatten(head: HeadBuilder, layer: Layer, _: Variables) -> None:
    head.flatten()


def _reshape(head: HeadBuilder, layer: Layer, _: Variables) -> None:
    shape = layer.settings.get("target_shape")
    if not isinstance(shape, list) or not all(type(side) is int for side in shape):
        raise no_head(f"{layer} has target_shape {str(shape)[:80]}")
    head.reshape(shape)


def _dropout(head: HeadBuilder, layer: Layer, _: Variables) -> None:
    rate = layer.number("rate", 0.0)
    if layer.kind in ("Dropout", "AlphaDropout"):
        head.dropout(rate)


def _normalise(head: HeadBuilder, layer: Layer, variables: Variables) -> None:
    """Add a BatchNorm as the factor and offset that it is in a prediction."""
    axis = plain(layer.settings.get("axis", -1))
    axis = axis[0] if isinstance(axis, list) and axis else axis
    if axis not in (-1, 1, 3) or (axis == 1 and not head.pooled):
        raise no_head(f"{layer} normalises along axis {axis!r}")
    shape = (head.channels,)
    parts = {"gamma": np.ones(shape), "beta": np.zeros(shape)}
    for name, setting in (("gamma", "scale"), ("beta", "center")):
        if layer.settings.get(setting, True):
            parts[name] = _known(layer, variables, name, shape)
    mean = _known(layer, variables, "moving_mean", shape)
    variance = _known(layer, variables, "moving_variance", shape)
    with np.errstate(all="ignore"):
        factor = parts["gamma"] / np.sqrt(variance + layer.number("epsilon", 1e-3))
        if not np.isfinite(factor).all():
            raise DialectError(f"{layer} has a variance that is no variance")
        head.scale(factor, parts["beta"] - mean * factor)


def _known(layer: Layer, variables: Variables, name: str, shape: tuple[int, ...]) -> NDArray:
    if not variables:  # a config without arrays
        return np.broadcast_to(np.float64(name != "beta"), shape)
    return variable(layer, variables, name, shape).astype(np.float64)


def _dense(head: HeadBuilder, layer: Layer, variables: Variables) -> None:
    """Add a linear layer from a Dense, or from a 1 x 1 convolution."""
    setting = "units" if layer.kind == "Dense" else "filters"
    units = layer.count(setting)
    if layer.kind == "Conv2D":
        kernel, strides = _pair(layer, "kernel_size"), _pair(layer, "strides")
        groups = layer.settings.get("groups", 1)
        if kernel != [1, 1] or strides != [1, 1] or groups != 1:
            raise no_head(f"{layer}, a convolution of {kernel[0]} x {kernel[1]} behind the body")
    inputs = (head.channels, units)
    shape = inputs if layer.kind == "Dense" else (1, 1, *inputs)
    weight: NDArray = np.broadcast_to(np.float32(0), shape)
    bias: NDArray | None = np.broadcast_to(np.float32(0), (units,))
    if math.prod(shape) > 100_000_000:
        raise no_head(f"{layer} has {math.prod(shape):,} weights")
    if variables:
        weight = variable(layer, variables, "kernel", shape)
    if not layer.settings.get("use_bias", True):
        bias = None
    elif variables:
        bias = variable(layer, variables, "bias", (units,))
    head.linear(weight.reshape(inputs).T, bias)
    head.activate(activation(layer, layer.settings.get("activation")))


def _pair(layer: Layer, name: str) -> list[int]:
    value = layer.settings.get(name, 1)
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2 or not all(type(side) is int and side >= 1 for side in sides):
        raise no_head(f"{layer} has {name} {str(value)[:80]}")
    return sides


def _activate(head: HeadBuilder, layer: Layer, _: Variables) -> None:
    match layer.kind:
        case "Activation":
            head.activate(activation(layer, layer.settings.get("activation")))
        case "Softmax":
            if plain(layer.settings.get("axis", -1)) not in (-1, [-1], 1):
                raise no_head(f"{layer} along axis {layer.settings.get('axis')!r}")
            head.activate("softmax")
        case "ReLU":
            for name in ("negative_slope", "threshold"):
                if layer.settings.get(name):
                    raise no_head(f"{layer} has {name} {str(layer.settings[name])[:20]}")
            head.activate(_bounded(layer, plain(layer.settings.get("max_value"))))


LAYERS: dict[str, Callable[[HeadBuilder, Layer, Variables], None]] = {
    "GlobalAveragePooling2D": _pool("average"),
    "GlobalAveragePooling1D": _pool("average"),
    "GlobalMaxPooling2D": _pool("max"),
    "GlobalMaxPooling1D": _pool("max"),
    "AveragePooling2D": _pool("average"),
    "MaxPooling2D": _pool("max"),
    "Flatten": _flatten,
    "Reshape": _reshape,
    "BatchNormalization": _normalise,
    UNBIASED: _normalise,
    "Dense": _dense,
    "Conv2D": _dense,
    "Activation": _activate,
    "Softmax": _activate,
    "ReLU": _activate,
    **dict.fromkeys(DROPOUTS, _dropout),
}
"""Function that adds a layer, by its class."""
