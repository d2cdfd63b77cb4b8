"""Keras model, from its config and its arrays, followed as a chain of convolutions and a head.

A config has what bare weights lack: strides, padding, BatchNorm's numerics, dropout, the input's
size, what is done with the picture, and the head. Every class and setting of the body is supported,
or refused by name.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from mobilenetv2.checkpoints.graphs.head import Head, HeadBuilder, no_head
from mobilenetv2.checkpoints.graphs.keras import front as keras_front
from mobilenetv2.checkpoints.graphs.keras import head as keras_head
from mobilenetv2.checkpoints.graphs.keras.config import (
    ALLOWED,
    INPUT,
    UNBIASED,
    Layer,
    layers_of,
    plain,
)
from mobilenetv2.checkpoints.graphs.keras.front import Front, Variables
from mobilenetv2.errors import DialectError
from mobilenetv2.model.arrays import TENSORFLOW_CONVOLUTION, TENSORFLOW_DEPTHWISE
from mobilenetv2.spec.network import Size

USUAL_SIZE = (224, 224)
"""Size that is assumed if the input's is not fixed; keras.applications then pads for even sizes."""
CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D")
UPPER = {"relu6": 6.0, "relu": np.inf}
Find = Callable[[Layer], Variables]
"""Function that returns a layer's variables by name: 'kernel', 'bias', 'gamma' ..."""
PARTS = {"scale": "gamma", "shift": "beta", "mean": "moving_mean", "variance": "moving_variance"}


@dataclass(frozen=True, slots=True)
class Output:
    """Output of a layer."""

    place: Place
    channels: int
    size: Size
    """Height and width in pixels, without ``pads``."""
    pads: Pads = UNPADDED
    front: Front | None = None
    """Picture before the first convolution; None behind it."""
    behind: bool = False
    """True behind the body, in the head."""


def follow(config: Mapping[str, Any], find: Find | None = None, body: bool = False) -> "Structure":
    """Follow a model's layers from the image to its end.

    Args:
        find: function that returns a layer's arrays; None for a config alone, whose arrays are
            zeros.
        body: True to leave out what follows the body.

    Raises:
        DialectError: not a model's config, or another network; the message names the layer.
    """
    layers = layers_of(config)
    walk = Structure(names=tuple(layers), find=find, leaves_out=body)
    outputs: dict[str, Output] = {}
    for layer in layers.values():
        inputs = [outputs[name] for name in layer.inputs]
        try:
            outputs[layer.name] = walk.take(layer, inputs)
        except DialectError as error:
            said = str(error)
            raise DialectError(said if str(layer) in said else f"{layer}: {said}") from None
    end = outputs[[*layers][-1]]
    if end.pads != UNPADDED:
        raise DialectError(f"{NOT_OURS}: it ends in a padding")
    walk.finish(end)
    return walk


@dataclass(slots=True, eq=False)
class Structure:
    """Structure of a Keras model, as far as its config has been followed."""

    names: tuple[str, ...]
    """Names of the layers in the order in which they run."""
    find: Find | None = None
    leaves_out: bool = False
    """True if what follows the body is left out."""
    chain: Chain = dataclasses.field(default_factory=Chain)
    steps: list[Step] = dataclasses.field(default_factory=list)
    """Convolutions at the end; with zeros if the model has no arrays."""
    head: Head = dataclasses.field(default_factory=Head)
    size: Size | None = None
    """Height and width of the input in pixels; None if they are not fixed."""
    channels: int = 3
    """Channels of the picture."""
    same: bool = False
    """True if a convolution with stride 2 has Keras's own padding."""
    unbiased: bool = False
    """True if BatchNorm is this project's class, with PyTorch's running variance."""
    front: Front | None = None
    """Picture as the stem takes it."""
    outputs: int | None = None
    """Outputs of the last linear layer, whether or not it is left out."""
    _builder: HeadBuilder | None = None

    def take(self, layer: Layer, inputs: list[Output]) -> Output:
        """Return the output of a layer for its inputs."""
        if layer.kind == INPUT:
            self.size, self.channels = layer.picture()
            size = self.size or USUAL_SIZE
            front = Front.of(self.channels, size)
            return Output(PICTURE, self.channels, size, front=front)
        given = inputs[0]
        fronts = [one.front for one in inputs if one.front is not None]
        if fronts and len(fronts) == len(inputs) and self._before_stem(layer, inputs):
            changed = keras_front.change(layer, fronts, self._variables(layer))
            if self.size is not None or changed.size != given.size:
                self.size = changed.size
            channels = len(changed.channels)
            return Output(PICTURE, channels, changed.size, front=changed)
        if any(one.behind for one in inputs) or self._begins_head(layer, given):
            return self._behind(layer, inputs)
        layer.require_allowed()
        if len(inputs) != (2 if layer.kind == "Add" else 1):
            raise DialectError(f"takes {len(inputs)} inputs")
        if any(one.pads != UNPADDED for one in inputs) and layer.kind not in CONVOLUTIONS:
            raise DialectError("a padding before a layer that is not a convolution")
        match layer.kind:
            case "Conv2D" | "DepthwiseConv2D":
                return self._convolve(layer, given)
            case "ReLU" | "Activation":
                return self._activate(layer, given)
            case "ZeroPadding2D":
                return dataclasses.replace(given, pads=layer.zeros())
            case "Add":
                place = self.chain.add(given.place, inputs[1].place)
                return dataclasses.replace(given, place=place)
        return self._normalise(layer, given)

    def finish(self, end: Output) -> None:
        """Set the convolutions and the head of a model that ends in ``end``."""
        self.steps = self.chain.finish(end.place)
        if not self.steps:
            raise DialectError(f"{NOT_OURS}: it has no convolutions")
        if self.leaves_out or self._builder is None:
            self.head = Head(outputs=self.outputs)
        else:
            self.head = self._builder.finish()
        if self.front is not None:
            stem = self.steps[0]
            self.steps[0] = dataclasses.replace(stem, weight=self.front.merged(stem.weight))

    # ------------------------------------------------------------ before and behind the body

    def _before_stem(self, layer: Layer, inputs: list[Output]) -> bool:
        """Return True if a layer that takes the picture is none of the body's."""
        if layer.kind == "Add":  # of a constant it is no shortcut
            return len(inputs) == 1
        return layer.kind not in ALLOWED

    def _begins_head(self, layer: Layer, given: Output) -> bool:
        """Return True if a layer that takes a map is the first one behind the body."""
        if given.pads != UNPADDED:
            return False
        if self.chain.ends_body(given.place):
            return layer.kind not in ("DepthwiseConv2D", "ZeroPadding2D")
        return layer.kind not in ALLOWED and keras_head.knows(layer)

    def _behind(self, layer: Layer, inputs: list[Output]) -> Output:
        """Return the output of a layer of the head."""
        given = inputs[0]
        if layer.kind in ("Dense", "Conv2D"):
            units = layer.settings.get("units", layer.settings.get("filters"))
            self.outputs = units if isinstance(units, int) and 1 < units <= 100_000 else None
        if not self.leaves_out:
            if len(inputs) > 1:
                raise no_head(f"{layer} joins {len(inputs)} tensors")
            if self._builder is None:
                self._builder = HeadBuilder(given.channels, given.size)
            keras_head.add(self._builder, layer, self._variables(layer))
        end = next((one for one in inputs if not one.behind), given)
        return dataclasses.replace(end, behind=True)

    # ------------------------------------------------------------ the body

    def _variables(self, layer: Layer) -> Variables:
        return self.find(layer) if self.find is not None else {}

    def _array(self, layer: Layer, name: str, shape: tuple[int, ...]) -> NDArray:
        """Return a variable of a layer, or zeros if the model has no arrays."""
        if self.find is None:
            return np.broadcast_to(np.float32(name == "bias"), shape)
        return keras_head.variable(layer, self.find(layer), name, shape)

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
        weight = np.broadcast_to(np.float32(0), shape)
        if self.find is not None:
            layout = TENSORFLOW_DEPTHWISE if depthwise else TENSORFLOW_CONVOLUTION
            weight = layout.to_canonical(self._array(layer, "kernel", layout.shape(shape)))
        bias = None
        if layer.settings.get("use_bias", True):
            bias = self._array(layer, "bias", (filters,))
        rule = padding_rule(kernel, stride, pads, given.size)
        if given.front is not None:
            self.front = given.front
        step = Step(given.place, depthwise, weight, bias, stride, rule)
        size = size_after(kernel, stride, pads, given.size)
        return Output(self.chain.convolve(step), filters, size)

    def _normalise(self, layer: Layer, given: Output) -> Output:
        self.unbiased |= layer.kind == UNBIASED
        epsilon = layer.number("epsilon", 1e-3)
        momentum = layer.number("momentum", 0.99)
        parts = {part: self._array(layer, PARTS[part], (given.channels,)) for part in PARTS}
        norm = BatchNorm(**parts, epsilon=epsilon, momentum=momentum)
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
        if name in UPPER:
            upper = UPPER[name]
        if upper is None:
            return given
        return dataclasses.replace(given, place=self.chain.bound(given.place, 0.0, upper))
