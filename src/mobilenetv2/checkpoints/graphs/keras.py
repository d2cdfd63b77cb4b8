"""Keras model's config, from a ``.keras`` file or a whole model's ``.h5``, followed as a chain.

It has what bare weights lack: strides, padding, BatchNorm's numerics, dropout, the input's size.
Every class and setting is supported, or refused by name. Configs of all Keras versions are read:
Keras 3 writes tensors with their history, Keras 2 lists of [layer, node, tensor], and a Sequential
model neither, since its layers form a row. Nested models are followed, too.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mobilenetv2.checkpoints.graphs.chain import (
    NOT_OURS,
    PICTURE,
    UNPADDED,
    BatchNorm,
    Chain,
    Pads,
    Place,
    Step,
    add_pads,
    padding_rule,
    same_pads,
    size_after,
)
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.network import Size

MODELS = ("Functional", "Model", "Sequential")
INPUT = "InputLayer"
DEEPEST = 8
"""Maximum depth of nested models; a typical fine-tuned model has one inside another."""
RENAMED = {f"BatchNormalization{age}": "BatchNormalization" for age in ("V1", "V2")}
"""Class names by the names that TensorFlow 1 wrote."""
NOT_A_MODEL = "its config is not that of a functional Keras model"
UNBIASED = "UnbiasedBatchNormalization"
"""Name of the class in :mod:`mobilenetv2.editions.keras.network`."""
LAST: dict[str, Sequence[Any]] = {"data_format": ("channels_last",)}
PLAIN: dict[str, Sequence[Any]] = {
    **LAST, "dilation_rate": (1, [1, 1]), "groups": (1,), "activation": ("linear",),
}  # fmt: skip
NORM: dict[str, Sequence[Any]] = {
    "axis": (-1, 3, [-1], [3]), "center": (True,), "scale": (True,),
}  # fmt: skip
ALLOWED: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "InputLayer": {},
    "Rescaling": {},
    "Conv2D": PLAIN,
    "DepthwiseConv2D": {**PLAIN, "depth_multiplier": (1,)},
    "BatchNormalization": NORM,
    UNBIASED: NORM,
    "ReLU": {"negative_slope": (0,), "threshold": (0,)},
    "Activation": {"activation": ("relu6", "relu", "linear", "softmax")},
    "ZeroPadding2D": LAST,
    "Add": {},
    "GlobalAveragePooling2D": {**LAST, "keepdims": (False,)},
    "Dropout": {},
    "Dense": {"activation": ("linear", "softmax"), "use_bias": (True,)},
}
"""Allowed values of settings by class; Keras's default is among them and may be absent."""
LARGEST = 10_000_000


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer that is not a model.

    Its methods return a setting, or raise a DialectError that names the layer and the setting's
    value.
    """

    name: str
    kind: str
    """Name of the layer's class."""
    settings: Mapping[str, Any]
    inputs: tuple[str, ...]
    """Names of the layers whose outputs it takes; empty for the input."""

    def __str__(self) -> str:
        return f"layer {self.name} ({self.kind})"

    def require_allowed(self) -> None:
        """Raise unless the layer's class and settings are MobileNetV2's."""
        allowed = ALLOWED.get(self.kind)
        if allowed is None:
            raise DialectError(f"{self}: MobileNetV2 has no layer of this class")
        for name, values in allowed.items():
            value = plain(self.settings.get(name))
            if value is not None and value not in values:
                expected = " or ".join(repr(one) for one in values)
                raise DialectError(f"{self} has {name} {value!r}; MobileNetV2 has {expected}")

    def number(self, name: str, default: float) -> float:
        """Return a setting that is a number."""
        return self.per_channel(name, default, 1)[0]

    def per_channel(self, name: str, default: float, channels: int) -> tuple[float, ...]:
        """Return a setting that is one number, or one for each channel."""
        value = plain(self.settings.get(name))
        values = value if isinstance(value, list) else [default if value is None else value]
        try:
            numbers = tuple(float(one) for one in values if type(one) in (int, float))
        except OverflowError:  # whole numbers in JSON have any length
            numbers = ()
        if len(numbers) != len(values) or len(numbers) not in (1, channels):
            wanted = "a number" if channels == 1 else f"a number, or {channels}"
            raise DialectError(f"{self} has {name} {str(value)[:80]}, which is not {wanted}")
        return numbers * (channels // len(numbers))

    def count(self, name: str) -> int:
        """Return a setting that is a number of channels."""
        value = self.settings.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST:
            raise DialectError(f"{self} has {name} {value!r}")
        return value

    def side(self, name: str, most: int) -> int:
        """Return a setting that is the same in height and width, from 1 to ``most``."""
        value = self.settings.get(name, 1)
        for one in range(1, most + 1):
            if value == one or value == [one, one]:
                return one
        raise DialectError(f"{self} has {name} {value}")

    def zeros(self) -> Pads:
        """Return the zeros of a ZeroPadding2D: n, [n, m] or [[a, b], [c, d]] in Keras."""
        value = self.settings.get("padding", 1)
        pair = value if isinstance(value, list) else [value, value]
        rows = [one if isinstance(one, list) else [one, one] for one in pair]
        flat = [one for row in rows for one in row]
        whole = all(isinstance(one, int) and 0 <= one <= 8 for one in flat)
        if [len(row) for row in rows] != [2, 2] or not whole:
            raise DialectError(f"{self} has padding {value!r}")
        return (flat[0], flat[1]), (flat[2], flat[3])

    def picture(self) -> tuple[Size | None, int]:
        """Return (size, channels) of an InputLayer; the size is None if it is not fixed."""
        shape = self.settings.get("batch_shape") or self.settings.get("batch_input_shape")
        *sides, channels = shape[1:] if isinstance(shape, list) and len(shape) == 4 else (0,)
        known = [side for side in sides if side is not None]
        if not all(isinstance(one, int) and 1 <= one <= LARGEST for one in (*known, channels)):
            raise DialectError(
                f"{self} takes {shape!r}, not images (batch, height, width, channels)"
            )
        if not known:
            return None, channels
        height, width = (known[0] if one is None else one for one in sides)
        return (height, width), channels


def plain(value: Any) -> Any:
    """Return a setting; Keras 2 wraps NumPy's numbers in a table."""
    if isinstance(value, Mapping) and value.get("type") == "ndarray":
        return value.get("value")
    return value


def layers_of(config: Mapping[str, Any]) -> dict[str, Layer]:
    """Return the layers by name, in the order in which they run; the last one is the output.

    Raises:
        DialectError: the config is not a functional model's, or has other outputs.
    """
    walk = _LayerCollector()
    try:
        output = walk.open(config, None, 0)
    except (KeyError, TypeError, ValueError, IndexError):
        raise DialectError(NOT_A_MODEL) from None
    used = {name for layer in walk.found.values() for name in layer.inputs}
    unused = [name for name in walk.found if name not in used]
    if unused != [output]:
        raise DialectError(f"the outputs of {', '.join(unused)} are not used, or several are given")
    return walk.found


class _LayerCollector:
    """Collector of the layers of a model and of the models nested in it."""

    def __init__(self) -> None:
        self.found: dict[str, Layer] = {}

    def open(self, config: Mapping[str, Any], source: str | None, depth: int) -> str:
        """Add the layers of a model that ``source`` feeds, and return the last one's name."""
        if depth > DEEPEST:
            raise DialectError(f"models more than {DEEPEST} deep inside one another")
        body = config["config"]
        # Keras before 2.2.3 wrote a Sequential model as a bare list.
        rows = body if isinstance(body, list) else body["layers"]
        places: dict[str, str] = {}
        last = source
        for row in rows:
            kind, settings = str(row["class_name"]), row["config"]
            settings = {} if isinstance(settings, list) else dict(settings)
            name = str(settings.get("name", row.get("name", "")))
            nodes = row.get("inbound_nodes") or []
            if len(nodes) > 1:
                raise DialectError(f"layer {name} ({kind}) is used {len(nodes)} times")
            inputs = tuple(_place(places, one, name) for one in _sources(nodes))
            if kind == INPUT:
                last = self.add(Layer(name, kind, settings, ())) if source is None else source
            elif kind in MODELS:
                if len(inputs) > 1:
                    raise DialectError(f"layer {name} ({kind}) takes {len(inputs)} inputs")
                last = self.open(row, inputs[0] if inputs else last, depth + 1)
            else:
                if last is None:  # a Sequential model whose first layer has the input's shape
                    last = self.add(Layer(f"{name}_input", INPUT, settings, ()))
                last = self.add(Layer(name, RENAMED.get(kind, kind), settings, inputs or (last,)))
            places[name] = last
        ends = [] if isinstance(body, list) else [*_sources(body.get("output_layers"))]
        if len(ends) > 1:
            raise DialectError(f"it has {len(ends)} outputs")
        if last is None:
            raise DialectError(NOT_A_MODEL)
        return _place(places, ends[0], "its output") if ends else last

    def add(self, layer: Layer) -> str:
        if layer.name in self.found or not layer.name:
            raise DialectError(f"two layers are named {layer.name!r}")
        if layer.kind == INPUT and self.found:
            raise DialectError("it takes more than one image")
        self.found[layer.name] = layer
        return layer.name


def _place(places: Mapping[str, str], name: str, taker: str) -> str:
    if name not in places:
        raise DialectError(f"layer {taker} takes the output of {name}, which does not exist")
    return places[name]


def _sources(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the names of the layers in a list of nodes, in the form of any Keras version."""
    if depth > DEEPEST:
        raise DialectError(NOT_A_MODEL)
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            yield str(value["config"]["keras_history"][0])
            return
        value = list(value.values())
    if not isinstance(value, list):
        return
    if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
        yield value[0]
        return
    for one in value:
        yield from _sources(one, depth + 1)


# ---------------------------------------------------------------- layers as a chain

USUAL_SIZE = (224, 224)
"""Size that is assumed if the input's is not fixed; keras.applications then pads for even sizes."""
CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D")
UPPER = {"relu6": 6.0, "relu": np.inf}
Channels = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """Output of a layer."""

    place: Place
    channels: int
    size: Size
    """Height and width in pixels, without ``pads``."""
    stage: str = "map"
    """Part of the network: 'map', 'pooled', 'logits', or 'probabilities'."""
    pads: Pads = UNPADDED


def follow(config: Mapping[str, Any]) -> "Structure":
    """Follow a model's layers from the image to the classifier, or to the feature map.

    Raises:
        DialectError: not a model's config, or another network; the message names the layer.
    """
    layers = layers_of(config)
    walk = Structure(names=tuple(layers))
    outputs: dict[str, Output] = {}
    for layer in layers.values():
        layer.require_allowed()
        inputs = [outputs[name] for name in layer.inputs]
        try:
            outputs[layer.name] = walk.take(layer, inputs)
        except DialectError as error:
            said = str(error)
            raise DialectError(said if str(layer) in said else f"{layer}: {said}") from None
    end = outputs[[*layers][-1]]
    if end.pads != UNPADDED:
        raise DialectError(f"{NOT_OURS}: it ends in a padding")
    walk.steps = walk.chain.finish(end.place)
    if not walk.steps:
        raise DialectError(f"{NOT_OURS}: it has no convolutions")
    return walk


@dataclass(slots=True, eq=False)
class Structure:
    """Structure of a Keras model, as far as its config has been followed."""

    names: tuple[str, ...]
    """Names of the layers in the order in which they run."""
    chain: Chain = dataclasses.field(default_factory=Chain)
    steps: list[Step] = dataclasses.field(default_factory=list)
    """Convolutions at the end, with shapes from the config and without values."""
    size: Size | None = None
    """Height and width of the input in pixels; None if they are not fixed."""
    dropout: float = 0.0
    same: bool = False
    """True if a convolution with stride 2 has Keras's own padding."""
    unbiased: bool = False
    """True if BatchNorm is this project's class, with PyTorch's running variance."""
    rescaling: tuple[Channels, Channels] | None = None
    """Factors and offsets per channel that rescale the image first; None without them."""

    def take(self, layer: Layer, inputs: list[Output]) -> Output:
        """Return the output of a layer for its inputs."""
        if layer.kind == INPUT:
            self.size, channels = layer.picture()
            return Output(PICTURE, channels, self.size or USUAL_SIZE)
        if len(inputs) != (2 if layer.kind == "Add" else 1):
            raise DialectError(f"takes {len(inputs)} inputs")
        given = inputs[0]
        if any(one.pads != UNPADDED for one in inputs) and layer.kind not in CONVOLUTIONS:
            raise DialectError("a padding before a layer that is not a convolution")
        if given.stage != "map" and layer.kind not in ("Dropout", "Dense", "Activation"):
            raise DialectError(f"{NOT_OURS}: a layer after the pooling")
        match layer.kind:
            case "Conv2D" | "DepthwiseConv2D":
                return self._convolve(layer, given)
            case "Rescaling":
                return self._rescale(layer, given)
            case "ReLU" | "Activation":
                return self._activate(layer, given)
            case "ZeroPadding2D":
                return dataclasses.replace(given, pads=layer.zeros())
            case "Add":
                place = self.chain.add(given.place, inputs[1].place)
                return dataclasses.replace(given, place=place)
            case "GlobalAveragePooling2D":
                return dataclasses.replace(given, stage="pooled")
            case "Dropout" | "Dense":
                return self._classify(layer, given)
        return self._normalise(layer, given)

    def _rescale(self, layer: Layer, given: Output) -> Output:
        if given.place != PICTURE:
            raise DialectError("is not directly after the input")
        scale = layer.per_channel("scale", 1.0, given.channels)
        offset = layer.per_channel("offset", 0.0, given.channels)
        if self.rescaling is not None:
            factors, offsets = self.rescaling
            offset = tuple(o * s + more for o, s, more in zip(offsets, scale, offset, strict=True))
            scale = tuple(f * s for f, s in zip(factors, scale, strict=True))
        self.rescaling = (scale, offset)
        return given

    def _convolve(self, layer: Layer, given: Output) -> Output:
        depthwise = layer.kind == "DepthwiseConv2D"
        kernel = layer.side("kernel_size", 7)
        stride = layer.side("strides", 2)
        filters = given.channels if depthwise else layer.count("filters")
        pads = given.pads
        rule = layer.settings.get("padding", "valid")
        if rule == "same":
            self.same |= stride == 2 and kernel > 1
            padded = [side + sum(pad) for side, pad in zip(given.size, pads, strict=True)]
            pads = add_pads(pads, same_pads(kernel, stride, padded))
        elif rule != "valid":
            raise DialectError(f"padding {rule!r}")
        shape = (filters, 1 if depthwise else given.channels, kernel, kernel)
        weight, bias = np.broadcast_to(np.float32(0), shape), None
        if layer.settings.get("use_bias", True):
            bias = np.broadcast_to(np.float32(1), filters)
        rule = padding_rule(kernel, stride, pads, given.size)
        step = Step(given.place, depthwise, weight, bias, stride, rule)
        size = size_after(kernel, stride, pads, given.size)
        return Output(self.chain.convolve(step), filters, size)

    def _normalise(self, layer: Layer, given: Output) -> Output:
        none = np.zeros(0)
        self.unbiased |= layer.kind == UNBIASED
        epsilon = layer.number("epsilon", 1e-3)
        momentum = layer.number("momentum", 0.99)
        norm = BatchNorm(none, none, none, none, epsilon, momentum)
        return dataclasses.replace(given, place=self.chain.normalise(given.place, norm))

    def _activate(self, layer: Layer, given: Output) -> Output:
        upper: float | None = None
        name = "linear"
        if layer.kind == "ReLU":
            upper = np.inf
            if plain(layer.settings.get("max_value")) is not None:
                upper = layer.number("max_value", 0)
        else:
            name = plain(layer.settings.get("activation")) or name
        if name in UPPER and given.stage == "map":
            upper = UPPER[name]
        if upper is not None:
            return dataclasses.replace(given, place=self.chain.bound(given.place, 0.0, upper))
        if name == "softmax" and given.stage == "logits":
            return dataclasses.replace(given, stage="probabilities")
        if name != "linear":
            raise DialectError(f"{name} does not belong after the {given.stage}")
        return given

    def _classify(self, layer: Layer, given: Output) -> Output:
        """Return the output of a dropout or of the classifier."""
        if given.stage != "pooled":
            raise DialectError("is allowed only after the pooling, with one classifier")
        if layer.kind == "Dropout":
            rate = layer.number("rate", 0.0)
            if self.dropout and rate:
                raise DialectError("a second dropout")
            self.dropout = rate or self.dropout
            return given
        softmax = plain(layer.settings.get("activation")) == "softmax"
        stage = "probabilities" if softmax else "logits"
        return dataclasses.replace(given, channels=layer.count("units"), stage=stage)
