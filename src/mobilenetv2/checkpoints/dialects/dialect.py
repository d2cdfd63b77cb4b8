"""What any dialect is made of: tables of foreign names, and what a file says beside its tensors.

A dialect is one implementation's way of writing a MobileNetV2 down. It names its layers
(:class:`KeyTable`) and the parts of a layer (:class:`Words`), both literally, in its own module.
:func:`keys` turns them into one foreign name for each canonical tensor of a spec.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mobilenetv2.errors import DialectError
from mobilenetv2.model.arrays import (
    SLIM_LINEAR,
    TENSORFLOW_CONVOLUTION,
    TENSORFLOW_DEPTHWISE,
    TENSORFLOW_LINEAR,
    Layout,
)
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec, Size
from mobilenetv2.spec.published import PUBLISHED
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

Shape = tuple[int, ...]
Pair = tuple[str, str]
"""A convolution's foreign name and its BatchNorm's."""
Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""(mean, std) of values from 0 to 255, one for each channel."""


@dataclass(frozen=True, slots=True)
class KeyTable:
    """The layers of one implementation. Names may hold, of a block: ``{n}`` its index, ``{next}``
    and ``{previous}`` the indices beside it, ``{stage}`` and ``{row}`` its stage from 0 and from 1,
    ``{repeat}`` its place in the stage; everywhere ``{end}``, the number of blocks plus one."""

    stem: Pair
    first: Mapping[str, Pair]
    """The first block's, by the part: 'expand' (where it has one), 'depthwise', 'project'."""
    block: Mapping[str, Pair]
    """Every other block's."""
    head: Pair
    classifier: str


@dataclass(frozen=True, slots=True)
class Words:
    """What an implementation calls the parts of a layer, with the separator, and how they lie."""

    weight: str
    depthwise: str
    """Weight of a depthwise convolution."""
    linear: str
    """Weight of the classifier."""
    bias: str
    scale: str
    shift: str
    mean: str
    variance: str
    convolution_layout: Layout | None = None
    """None: canonical."""
    depthwise_layout: Layout | None = None
    linear_layout: Layout | None = None


PYTORCH = Words(
    weight=".weight", depthwise=".weight", linear=".weight", bias=".bias",
    scale=".weight", shift=".bias", mean=".running_mean", variance=".running_var",
)  # fmt: skip
KERAS = Words(
    weight="/kernel", depthwise="/kernel", linear="/kernel", bias="/bias",
    scale="/gamma", shift="/beta", mean="/moving_mean", variance="/moving_variance",
    convolution_layout=TENSORFLOW_CONVOLUTION, depthwise_layout=TENSORFLOW_DEPTHWISE,
    linear_layout=TENSORFLOW_LINEAR,
)  # fmt: skip
SLIM = dataclasses.replace(
    KERAS, weight="/weights", depthwise="/depthwise_weights", linear="/weights", bias="/biases",
    linear_layout=SLIM_LINEAR,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Key:
    """The foreign counterpart of one canonical tensor."""

    canonical: str
    foreign: str
    layout: Layout | None
    shape: Shape
    """Of the foreign array."""


def keys(table: KeyTable, words: Words, spec: NetworkSpec) -> tuple[Key, ...]:
    """Return the foreign counterpart of every canonical tensor of a network, in its order."""
    layers = _layers(table, spec)
    found = []
    for name, shape in parameter_shapes(spec).items():
        owner, _, part = name.rpartition(".")
        if owner.startswith("hidden."):
            layout, foreign = None, f"no {name}"  # no implementation has one: a name of no file
        elif owner == "classifier":
            layout = words.linear_layout if part == "weight" else None
            foreign = table.classifier + (words.linear if part == "weight" else words.bias)
        elif owner.endswith(".bn"):
            layout = None
            foreign = layers[owner.removesuffix(".bn")][1] + getattr(words, part)
        else:
            layer, layout, word = owner.removesuffix(".conv"), None, words.bias
            if part == "weight":
                depthwise = layer.endswith(".depthwise")
                layout = words.depthwise_layout if depthwise else words.convolution_layout
                word = words.depthwise if depthwise else words.weight
            foreign = layers[layer][0] + word
        found.append(Key(name, foreign, layout, layout.shape(shape) if layout else shape))
    return tuple(found)


def _layers(table: KeyTable, spec: NetworkSpec) -> dict[str, Pair]:
    """Canonical name of a convolution -> its and its BatchNorm's foreign names."""
    network = resolve(spec)
    whole = {"end": len(network.blocks) + 1}
    found = {"stem": _filled(table.stem, whole), "head": _filled(table.head, whole)}
    repeat = 0
    for block in network.blocks:
        before = network.blocks[block.index - 1] if block.index else None
        repeat = repeat + 1 if before and before.stage == block.stage else 0
        places = whole | {
            "n": block.index, "next": block.index + 1, "previous": block.index - 1,
            "stage": block.stage, "row": block.stage + 1, "repeat": repeat,
        }  # fmt: skip
        parts = table.block if block.index else table.first
        for convolution in block.convolutions:
            # A part that the implementation does not have keeps a name that no file has.
            pair = parts.get(convolution.role, (f"no {convolution.name}", f"no {convolution.name}"))
            found[convolution.name] = _filled(pair, places)
    return found


def _filled(pair: Pair, places: Mapping[str, int]) -> Pair:
    return (pair[0].format(**places), pair[1].format(**places))


@dataclass(frozen=True, slots=True)
class Description:
    """What is said of a network beside its tensors. Each None, or empty, where nothing is said."""

    spec: NetworkSpec | None = None
    """All of it but the classes and input channels, which the tensors say."""
    usual: NetworkSpec | None = None
    """Without ``spec``: its numerics, dropout and size; the shapes say the rest."""
    strides: Callable[[NetworkSpec], NetworkSpec] | None = None
    """Puts strides into a spec that was read off shapes, which do not say them."""
    preprocessing: Preprocessing | None = None
    normalisation: Normalisation | None = None
    """Without ``preprocessing``: its mean and standard deviation alone."""
    labels: Labels | None = None
    licence: str | None = None
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    folded: bool = False
    """BatchNorm came folded into the convolutions."""
    note: str = ""
    """For :attr:`Origin.note`."""


def describe_config(config: ModelConfig) -> Description:
    """Return what a config of ours says of a network."""
    licence = config.origin.licence if config.origin else None
    return Description(
        config.spec, preprocessing=config.preprocessing, labels=config.labels, licence=licence,
        metrics=config.metrics,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What a person says of a checkpoint; None: what the file says, or what is usual."""

    dialect: str = "auto"
    labels: Labels | None = None
    width: float | None = None
    size: Size | None = None
    spec: NetworkSpec | None = None
    """The whole network but its classes: for a stage table that is no published one."""
    preprocessing: Preprocessing | None = None
    licence: str | None = None


def published_preprocessing(family: str, spec: NetworkSpec) -> Preprocessing:
    """Return what was published with a family's networks, for the network's size and channels."""
    record = PUBLISHED[family].at(spec.size)
    if spec.input_channels == record.channels:
        return record
    grey = [(sum(values) / len(values),) for values in (record.mean, record.std)]
    return dataclasses.replace(record, mean=grey[0], std=grey[1])


# ---------------------------------------------------------------- values of strangers' config files


def field(config: Mapping[str, Any], name: str, kind: type | tuple[type, ...], default: Any) -> Any:
    """Return ``config[name]``, or the default where it is absent or null.

    Raises:
        DialectError: a value of another type.
    """
    value = config.get(name)
    if value is None:
        return default
    number = kind is float and isinstance(value, int) and not isinstance(value, bool)
    if not (isinstance(value, kind) or number):
        raise DialectError(f"config.json: {name} = {value!r} is not of the type that belongs there")
    return value


def sides(value: Any, name: str) -> Size:
    """Return (height, width) of a side or a pair, as config files have them.

    Raises:
        DialectError: neither.
    """
    pair = [value, value] if isinstance(value, int) else value
    if isinstance(pair, Mapping) and {"height", "width"} <= pair.keys():
        pair = [pair["height"], pair["width"]]
    if (
        isinstance(pair, Sequence)
        and len(pair) == 2
        and all(isinstance(side, int) and not isinstance(side, bool) for side in pair)
    ):
        return (pair[0], pair[1])
    raise DialectError(f"{name} = {value!r} is neither a side nor a height and a width in pixels")


def numbers(value: Any, name: str) -> tuple[float, ...]:
    """Return one number for each channel.

    Raises:
        DialectError: anything else.
    """
    values = [value] if isinstance(value, int | float) else value
    if isinstance(values, Sequence) and all(isinstance(one, int | float) for one in values):
        return tuple(float(one) for one in values)
    raise DialectError(f"{name} = {value!r} is not a list of numbers")
