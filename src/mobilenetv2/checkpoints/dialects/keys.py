"""Foreign names of a network's tensors, out of a literal table.

A dialect names its layers (:class:`KeyTable`) and the parts of a layer (:class:`Words`). Both are
written down in the dialect's own module; this turns them into one foreign name for each canonical
tensor of a spec.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mobilenetv2.model.layout import (
    SLIM_LINEAR,
    TENSORFLOW_CONVOLUTION,
    TENSORFLOW_DEPTHWISE,
    TENSORFLOW_LINEAR,
    Layout,
)
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec

Shape = tuple[int, ...]
Pair = tuple[str, str]
"""A convolution's foreign name and its BatchNorm's."""


@dataclass(frozen=True, slots=True)
class KeyTable:
    """The layers of one implementation. Names may hold, of a block: ``{n}`` its index, ``{next}``
    and ``{previous}`` the indices beside it, ``{stage}`` and ``{row}`` its stage from 0 and from 1,
    ``{repeat}`` its place in the stage; everywhere ``{end}``, the number of blocks plus one."""

    stem: Pair
    first: Mapping[str, Pair]
    """Of the first block, by the part: 'expand' (where it has one), 'depthwise', 'project'."""
    block: Mapping[str, Pair]
    """Of every other block."""
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
SLIM = Words(
    weight="/weights", depthwise="/depthwise_weights", linear="/weights", bias="/biases",
    scale="/gamma", shift="/beta", mean="/moving_mean", variance="/moving_variance",
    convolution_layout=TENSORFLOW_CONVOLUTION, depthwise_layout=TENSORFLOW_DEPTHWISE,
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
    """The foreign counterpart of every canonical tensor of a network, in its order."""
    layers = _layers(table, spec)
    found = []
    for name, shape in parameter_shapes(spec).items():
        owner, _, part = name.rpartition(".")
        if owner == "classifier":
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
