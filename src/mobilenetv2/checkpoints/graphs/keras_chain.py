"""A Keras model's layers followed as a chain: every class and setting is read, or refused."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mobilenetv2.checkpoints.graphs import keras_settings
from mobilenetv2.checkpoints.graphs.chain import (
    NOT_OURS,
    PICTURE,
    BatchNorm,
    Chain,
    Pads,
    Place,
    Step,
    padding_rule,
)
from mobilenetv2.checkpoints.graphs.keras_layers import INPUT, Layer
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.blocks import padding
from mobilenetv2.spec.network import Size

NO_PADS: Pads = ((0, 0), (0, 0))
USUAL_SIZE = (224, 224)
"""Where the input is open: keras.applications pads for even sizes then."""
UPPER = {"relu6": 6.0, "relu": np.inf}
Channels = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """What a layer gives."""

    place: Place
    channels: int
    size: Size
    """Height and width in pixels, before ``pads``."""
    stage: str = "map"
    """'map', 'pooled', 'logits', or 'probabilities'."""
    pads: Pads = NO_PADS


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """A model's config once followed."""

    names: tuple[str, ...]
    """Its layers in the order in which they run."""
    steps: tuple[Step, ...]
    """Its convolutions, with the shapes that the config says and zeros for numbers."""
    size: Size | None
    """Of the input; None where it is open."""
    dropout: float
    same: bool
    """Some stride-2 convolution leaves the padding to Keras."""
    unbiased: bool
    """BatchNorm is this project's, with PyTorch's running variance."""
    rescaling: tuple[Channels, Channels] | None
    """(factor, offset) for each channel that the picture meets first."""


def follow(layers: Mapping[str, Layer]) -> Structure:
    """Follow the layers from the picture to the classifier, or to the feature map.

    Raises:
        DialectError: another network, with the layer that says so.
    """
    walk = _Walk()
    outputs: dict[str, Output] = {}
    for layer in layers.values():
        keras_settings.check(layer)
        inputs = [outputs[name] for name in layer.inputs]
        try:
            outputs[layer.name] = walk.run(layer, inputs)
        except DialectError as error:
            said = str(error)
            raise DialectError(said if str(layer) in said else f"{layer}: {said}") from None
    end = outputs[[*layers][-1]]
    if end.pads != NO_PADS:
        raise DialectError(f"{NOT_OURS}: it ends in a padding")
    steps = walk.chain.finish(end.place)
    if not steps:
        raise DialectError(f"{NOT_OURS}: it has no convolutions")
    return Structure(
        tuple(layers), tuple(steps), walk.size, walk.dropout, walk.same, walk.unbiased,
        walk.rescaling,
    )  # fmt: skip


class _Walk:
    """What is known so far."""

    def __init__(self) -> None:
        self.chain = Chain()
        self.size: Size | None = None
        self.dropout = 0.0
        self.same = self.unbiased = False
        self.rescaling: tuple[Channels, Channels] | None = None

    def run(self, layer: Layer, inputs: list[Output]) -> Output:
        """What the layer gives for what it takes."""
        if layer.kind == INPUT:
            self.size, channels = keras_settings.picture(layer)
            return Output(PICTURE, channels, self.size or USUAL_SIZE)
        if len(inputs) != (2 if layer.kind == "Add" else 1):
            raise DialectError(f"takes {len(inputs)} inputs")
        given = inputs[0]
        convolves = layer.kind in ("Conv2D", "DepthwiseConv2D")
        if any(one.pads != NO_PADS for one in inputs) and not convolves:
            raise DialectError("a padding in front of something else than a convolution")
        if given.stage != "map" and layer.kind not in ("Dropout", "Dense", "Activation"):
            raise DialectError(f"{NOT_OURS}: behind the pooling")
        if convolves:
            return self.convolve(layer, given)
        match layer.kind:
            case "Rescaling":
                return self.rescale(layer, given)
            case "BatchNormalization" | keras_settings.UNBIASED:
                return self.normalise(layer, given)
            case "ReLU":
                limit = keras_settings.plain(layer.settings.get("max_value"))
                upper = np.inf if limit is None else keras_settings.number(layer, "max_value", 0)
                return self.bound(given, upper)
            case "Activation":
                return self.activate(layer, given)
            case "ZeroPadding2D":
                return dataclasses.replace(given, pads=keras_settings.zeros(layer))
            case "Add":
                place = self.chain.add(given.place, inputs[1].place)
                return dataclasses.replace(given, place=place)
            case "GlobalAveragePooling2D":
                return dataclasses.replace(given, stage="pooled")
        return self.finish(layer, given)

    def rescale(self, layer: Layer, given: Output) -> Output:
        if given.place != PICTURE:
            raise DialectError("stands not directly behind the input")
        scale = keras_settings.per_channel(layer, "scale", 1.0, given.channels)
        offset = keras_settings.per_channel(layer, "offset", 0.0, given.channels)
        if self.rescaling is not None:
            factors, offsets = self.rescaling
            offset = tuple(o * s + more for o, s, more in zip(offsets, scale, offset, strict=True))
            scale = tuple(f * s for f, s in zip(factors, scale, strict=True))
        self.rescaling = (scale, offset)
        return given

    def convolve(self, layer: Layer, given: Output) -> Output:
        depthwise = layer.kind == "DepthwiseConv2D"
        kernel = keras_settings.side(layer, "kernel_size", 7)
        stride = keras_settings.side(layer, "strides", 2)
        filters = given.channels if depthwise else keras_settings.count(layer, "filters")
        pads = given.pads
        rule = layer.settings.get("padding", "valid")
        if rule == "same":
            self.same |= stride == 2 and kernel > 1
            (top, bottom), (left, right) = (
                padding("same", side + sum(pad), kernel, stride)
                for side, pad in zip(given.size, pads, strict=True)
            )
            (above, below), (before, after) = pads
            pads = ((above + top, below + bottom), (before + left, after + right))
        elif rule != "valid":
            raise DialectError(f"padding {rule!r}")
        shape = (filters, 1 if depthwise else given.channels, kernel, kernel)
        step = Step(
            given.place, depthwise, np.broadcast_to(np.float32(0), shape), None, stride,
            padding_rule(kernel, stride, pads, given.size),
        )  # fmt: skip
        height, width = (
            (side + sum(pad) - kernel) // stride + 1
            for side, pad in zip(given.size, pads, strict=True)
        )
        if min(height, width) < 1:
            raise DialectError(f"leaves {height} x {width} pixels")
        return Output(self.chain.convolve(step), filters, (height, width))

    def normalise(self, layer: Layer, given: Output) -> Output:
        none = np.zeros(0)
        self.unbiased |= layer.kind == keras_settings.UNBIASED
        epsilon = keras_settings.number(layer, "epsilon", 1e-3)
        momentum = keras_settings.number(layer, "momentum", 0.99)
        norm = BatchNorm(none, none, none, none, epsilon, momentum)
        return dataclasses.replace(given, place=self.chain.normalise(given.place, norm))

    def bound(self, given: Output, upper: float) -> Output:
        return dataclasses.replace(given, place=self.chain.bound(given.place, 0.0, upper))

    def activate(self, layer: Layer, given: Output) -> Output:
        name = keras_settings.plain(layer.settings.get("activation"))
        if name in UPPER and given.stage == "map":
            return self.bound(given, UPPER[name])
        if name == "softmax" and given.stage == "logits":
            return dataclasses.replace(given, stage="probabilities")
        if name != "linear":
            raise DialectError(f"{name} does not belong behind the {given.stage}")
        return given

    def finish(self, layer: Layer, given: Output) -> Output:
        """Dropout and the classifier."""
        if given.stage != "pooled":
            raise DialectError("belongs behind the pooling alone, and only one classifier")
        if layer.kind == "Dropout":
            rate = keras_settings.number(layer, "rate", 0.0)
            if self.dropout and rate:
                raise DialectError("a second dropout")
            self.dropout = rate or self.dropout
            return given
        softmax = keras_settings.plain(layer.settings.get("activation")) == "softmax"
        stage = "probabilities" if softmax else "logits"
        return dataclasses.replace(
            given, channels=keras_settings.count(layer, "units"), stage=stage
        )
