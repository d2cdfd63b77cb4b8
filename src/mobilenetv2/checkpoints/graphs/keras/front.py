"""Layers of a Keras model before its first convolution: scaling, augmentation, channels, size.

What they compute of a picture is kept as one factor and one offset for each channel, and becomes
the preprocessing. Layers that only augment do nothing in a prediction.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.description import Normalisation
from mobilenetv2.checkpoints.graphs.keras.config import Layer, plain
from mobilenetv2.errors import DialectError, argument
from mobilenetv2.spec.network import Size
from mobilenetv2.text import listed

Variables = Mapping[str, NDArray]
AUGMENTING = frozenset({
    "ActivityRegularization", "AlphaDropout", "AugMix", "CutMix", "GaussianDropout",
    "GaussianNoise", "Identity", "MixUp", "RandAugment", "SpatialDropout2D",
})  # fmt: skip
"""Layers that change nothing in a prediction, besides those whose names begin with Random."""
OPERATIONS: dict[str, str] = {
    "truediv": "/", "true_divide": "/", "divide": "/", "real_div": "/", "realdiv": "/", "div": "/",
    "subtract": "-", "sub": "-", "multiply": "*", "mul": "*", "add": "+", "add_v2": "+",
    "addv2": "+",
}  # fmt: skip
"""Arithmetic by the last word of an operation's name, in snake case."""


def augments(kind: str) -> bool:
    """Return True for a class of layers that only changes pictures in training."""
    return kind in AUGMENTING or (kind.startswith("Random") and kind != "RandomCrop")


def operation(layer: Layer) -> str:
    """Return the name of an operation that is no layer, such as 'truediv'; otherwise ''."""
    if layer.kind == "TFOpLambda":
        return str(layer.settings.get("function", "")).rpartition(".")[2].lower()
    if layer.kind == "TensorFlowOpLayer":
        definition = layer.settings.get("node_def")
        if isinstance(definition, str):
            _, _, rest = definition.partition('"op"')
            definition = {"op": rest.partition('"')[2].partition('"')[0]}
        return str(definition.get("op", "")).lower() if isinstance(definition, Mapping) else ""
    words = layer.kind[:1] + "".join(f"_{c}" if c.isupper() else c for c in layer.kind[1:])
    return words.lower()


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """Picture as the layers so far give it."""

    channels: tuple[int, ...]
    """Channel of the picture that each channel comes from."""
    factor: NDArray
    """Factor of each channel, on the picture's values."""
    offset: NDArray
    size: Size
    """Height and width in pixels."""
    layers: tuple[str, ...] = ()
    """Names of the layers that scale."""

    @classmethod
    def of(cls, channels: int, size: Size) -> "Front":
        """Return the picture as it comes in."""
        return cls(tuple(range(channels)), np.ones(channels), np.zeros(channels), size)

    def scaled(self, layer: Layer, factor: NDArray, offset: NDArray) -> "Front":
        """Return ``values * factor + offset``."""
        count = len(self.channels)
        if {np.size(factor), np.size(offset)} - {1, count}:
            given = max(np.size(factor), np.size(offset))
            raise DialectError(f"scales by {given} values, and there are {count} channels")
        with np.errstate(all="ignore"):
            return dataclasses.replace(
                self, factor=self.factor * np.ravel(factor),
                offset=self.offset * np.ravel(factor) + np.ravel(offset),
                layers=(*self.layers, f"{layer.name} ({layer.kind})"),
            )  # fmt: skip

    def merged(self, weight: NDArray) -> NDArray:
        """Return a stem's weight (out, in, height, width) for the picture's own channels.

        Channels that repeat one are summed, and others are put into the picture's order.
        """
        if self.channels == tuple(range(weight.shape[1])):
            return weight
        _, first, inverse = np.unique(self.channels, return_index=True, return_inverse=True)
        for values in (self.factor, self.offset):
            if (values != values[first][inverse]).any():
                raise DialectError(
                    f"its layers {listed(self.layers, 4)} scale copies of one channel in different "
                    "ways, which no preprocessing of that channel does"
                )
        if len(first) != max(self.channels) + 1:
            raise DialectError("leaves out a channel of the picture, which is not supported")
        merged = np.zeros((weight.shape[0], len(first), *weight.shape[2:]), np.float64)
        for place, channel in enumerate(self.channels):
            merged[:, channel] += weight[:, place]
        return merged.astype(np.float32)

    def normalisation(self) -> Normalisation | None:
        """Return the normalisation of the picture's own channels; None if the layers do not scale.

        Raises:
            DialectError: the factors and offsets are impossible.
        """
        if not self.layers:
            return None
        places = [self.channels.index(channel) for channel in range(max(self.channels) + 1)]
        factors, offsets = self.factor[places].tolist(), self.offset[places].tolist()
        if all(math.isfinite(factor) and factor > 1e-9 for factor in factors):
            std = tuple(_neat(1 / factor) for factor in factors)
            # Subtraction from 0.0 avoids -0.0.
            mean = tuple(
                0.0 - _neat(offset / factor)
                for offset, factor in zip(offsets, factors, strict=True)
            )
            if all(map(math.isfinite, mean)):
                return mean, std
        raise DialectError(
            f"its scaling is by {factors} and {offsets}, which no images need "
            f"({listed(self.layers, 4)})"
        )


def _neat(value: float) -> float:
    """Return the value without the rounding of a few operations: 127.5 for 127.50000000000001."""
    near = float(f"{value:.12g}")
    return near if math.isfinite(near) else value


def change(layer: Layer, fronts: Sequence[Front], variables: Variables) -> Front:
    """Return what a layer makes of pictures.

    Args:
        fronts: the pictures that it takes, usually one.
        variables: the layer's arrays by name.

    Raises:
        DialectError: the layer has no place before the first convolution.
    """
    front = fronts[0]
    kind, name = layer.kind, operation(layer)
    if len(fronts) > 1 or kind == "Concatenate":
        if kind != "Concatenate" and name not in ("concat", "concatenate"):
            raise DialectError(f"takes {len(fronts)} pictures")
        axis = layer.settings.get("axis", layer.options.get("axis", -1))
        if axis not in (-1, 3):
            raise DialectError(f"puts pictures beside one another, along axis {axis!r}")
        return _concatenated(fronts)
    if augments(kind) or name == "identity":
        return front
    if name == "cast":
        kept = str(layer.settings.get("dtype", layer.options.get("dtype", "float32")))
        if "float" not in kept:
            raise DialectError(f"rounds the picture's values ({kept})")
        return front
    handler = LAYERS.get(kind)
    if handler is not None:
        return handler(layer, front, variables)
    if name in OPERATIONS:
        return _arithmetic(layer, front, OPERATIONS[name])
    raise DialectError(
        f"{layer}: what it does with the picture is not known here; give the preprocessing as "
        f"{argument('preprocessing')}, and save the model from behind this layer"
    )


def _concatenated(fronts: Sequence[Front]) -> Front:
    """Return the channels of several pictures behind one another, as for grey ones."""
    if len({front.size for front in fronts}) > 1:
        raise DialectError("takes pictures of different sizes")
    return dataclasses.replace(
        fronts[0],
        channels=tuple(channel for front in fronts for channel in front.channels),
        factor=np.concatenate([front.factor for front in fronts]),
        offset=np.concatenate([front.offset for front in fronts]),
        layers=tuple(dict.fromkeys(name for front in fronts for name in front.layers)),
    )


def _arithmetic(layer: Layer, front: Front, sign: str) -> Front:
    """Return the result of an operation with a constant."""
    constants = [_numbers(layer, one) for one in layer.operands if not isinstance(one, str)]
    constants += [
        _numbers(layer, one) for name, one in layer.options.items()
        if name in ("x", "y", "x1", "x2") and one is not None
    ]  # fmt: skip
    held = layer.settings.get("constants")
    if isinstance(held, Mapping):
        constants += [_numbers(layer, one) for one in held.values()]
    first = bool(layer.operands) and isinstance(layer.operands[0], str)
    if isinstance(held, Mapping):
        first = "0" not in held
    if len(constants) != 1:
        raise DialectError(f"takes {len(constants)} constants and a picture")
    [constant] = constants
    one, zero = np.ones(1), np.zeros(1)
    with np.errstate(all="ignore"):
        if sign == "*":
            return front.scaled(layer, constant, zero)
        if sign == "+":
            return front.scaled(layer, one, constant)
        if sign == "-":
            return front.scaled(layer, one if first else -one, -constant if first else constant)
        if first:
            return front.scaled(layer, 1 / constant, zero)
    raise DialectError("divides a constant by the picture")


def _numbers(layer: Layer, value: Any) -> NDArray:
    """Return a constant of a config as a vector."""
    value = plain(value)
    while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    values = value if isinstance(value, list) else [value]
    if not values or not all(type(one) in (int, float) for one in values):
        raise DialectError(f"{layer} takes {str(value)[:80]}, which is no number or vector")
    try:
        return np.array([float(one) for one in values])
    except OverflowError:
        raise DialectError(f"{layer} takes a number of {len(str(values))} digits") from None


def _rescaling(layer: Layer, front: Front, _: Variables) -> Front:
    channels = len(front.channels)
    scale = layer.per_channel("scale", 1.0, channels)
    offset = layer.per_channel("offset", 0.0, channels)
    return front.scaled(layer, np.array(scale), np.array(offset))


def _normalization(layer: Layer, front: Front, variables: Variables) -> Front:
    """Return ``(values - mean) / sqrt(variance)``, with mean and variance of config or file."""
    if layer.settings.get("invert"):
        raise DialectError("scales the picture in the inverse direction")
    found = []
    for name in ("mean", "variance"):
        given = layer.settings.get(name)
        if given is not None:
            found.append(_numbers(layer, given))
        elif name in variables:
            found.append(np.ravel(variables[name]).astype(np.float64))
        else:
            raise DialectError(f"has no {name} in the file")
    mean, variance = found
    with np.errstate(all="ignore"):
        deviation = np.maximum(np.sqrt(variance), 1e-7)  # Keras's own epsilon
        return front.scaled(layer, 1 / deviation, -mean / deviation)


def _resized(layer: Layer, front: Front, _: Variables) -> Front:
    """Return a picture of another size, which a stretch to this size before it replaces."""
    size = layer.settings.get("size")
    if isinstance(size, list) and len(size) == 2:  # the operation, not the layer
        layer = dataclasses.replace(
            layer, settings={**layer.settings, "height": size[0], "width": size[1]}
        )
    height, width = layer.count("height"), layer.count("width")
    for name in ("crop_to_aspect_ratio", "pad_to_aspect_ratio"):
        if layer.settings.get(name):
            raise DialectError(f"{layer} has {name}; only a stretch to its size is read")
    return dataclasses.replace(front, size=(height, width))


def _cropped(layer: Layer, front: Front, _: Variables) -> Front:
    size = layer.count("height"), layer.count("width")
    if size != front.size:
        raise DialectError(
            f"{layer} crops {size[0]} x {size[1]} pixels of {front.size[0]} x {front.size[1]}; "
            f"save the model from behind it, and give the crop as {argument('preprocessing')}"
        )
    return front


MINUS_ONE_TO_ONE = re.compile(r"\b(keras_)?applications\.mobilenet(_v2)?$")
IDENTITY = re.compile(r"\b(keras_)?applications\.mobilenet_v3$")
"""Modules of Keras whose preprocess_input gives -1..1, and whose gives pixels as they are."""


def _named(layer: Layer, front: Front, _: Variables) -> Front:
    """Return a picture behind a Lambda, whose code is never run: only a known name is taken."""
    function = layer.settings.get("function")
    names = [function, layer.settings.get("module")]
    if isinstance(function, Mapping):
        names = [function.get("config"), function.get("module")]
    if names[0] == "preprocess_input" and IDENTITY.search(str(names[1])):
        return front
    if names[0] == "preprocess_input" and MINUS_ONE_TO_ONE.search(str(names[1])):
        return front.scaled(layer, np.array([1 / 127.5]), np.array([-1.0]))
    raise DialectError(
        f"{layer}: it holds code, which is never run; save the model from behind it, and give the "
        f"preprocessing as {argument('preprocessing')}"
    )


def _picked(layer: Layer, front: Front, _: Variables) -> Front:
    """Return the channels in the other order: ``picture[..., ::-1]``, and nothing else."""
    whole = [{"start": None, "stop": None, "step": step} for step in (None, 1)]
    reverse = {"start": None, "stop": None, "step": -1}
    parts = [one for one in layer.operands if isinstance(one, Mapping)]
    *others, last = [part.get("config") for part in parts] or [None]
    kept = all(
        part.get("class_name") == "__ellipsis__" or config in whole
        for part, config in zip(parts, others, strict=False)
    )
    filled = len(parts) == 4 or any(p.get("class_name") == "__ellipsis__" for p in parts)
    if last != reverse or not kept or not filled or len(layer.operands) != len(parts) + 1:
        raise DialectError("takes a part of the picture, which is not supported")
    return dataclasses.replace(
        front, channels=front.channels[::-1], factor=front.factor[::-1], offset=front.offset[::-1]
    )


LAYERS: dict[str, Callable[[Layer, Front, Variables], Front]] = {
    "Rescaling": _rescaling,
    "Normalization": _normalization,
    "Resizing": _resized,
    "Resize": _resized,
    "CenterCrop": _cropped,
    "RandomCrop": _cropped,
    "Lambda": _named,
    "GetItem": _picked,
}
"""Function that computes a layer, by its class."""
