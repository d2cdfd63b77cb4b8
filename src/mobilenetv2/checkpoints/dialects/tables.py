"""Tables of the names that implementations give to layers and tensors.

A dialect is one implementation's way to store a MobileNetV2. It names the layers
(:class:`KeyTable`) and the parts of a layer (:class:`Words`). :func:`keys` combines the two to a
foreign name for each canonical tensor of a spec.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from numpy.typing import NDArray

from mobilenetv2.model.arrays import (
    SLIM_LINEAR,
    TENSORFLOW_CONVOLUTION,
    TENSORFLOW_DEPTHWISE,
    TENSORFLOW_LINEAR,
    Layout,
)
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.names import is_classifier, parameter_shapes
from mobilenetv2.spec.network import NetworkSpec

Shape = tuple[int, ...]
Pair = tuple[str, str]
"""Foreign names of a convolution and of its BatchNorm."""
Weight = tuple[str, Layout | None]
"""Name and layout of a weight; the layout None is the canonical one."""


@dataclass(frozen=True, slots=True)
class KeyTable:
    """Layers of one implementation.

    Names of a block may contain ``{n}`` for its index, ``{next}`` and ``{previous}`` for the
    indices beside it, ``{stage}`` and ``{row}`` for its stage, counted from 0 and from 1, and
    ``{repeat}`` for its place in the stage. All names may contain ``{end}``, the number of blocks
    plus one.
    """

    stem: Pair
    first: Mapping[str, Pair]
    """Names in the first block by part: 'expand' (if it has one), 'depthwise', 'project'."""
    block: Mapping[str, Pair]
    """Names in every other block by part."""
    head: Pair
    classifier: str
    hidden: str = "no hidden.{n}"
    """Name of the classifier's hidden layers, ``{n}`` from 0; no file has the default name."""


@dataclass(frozen=True, slots=True)
class Words:
    """Names of a layer's parts in an implementation, with the separator."""

    convolution: Weight
    depthwise: Weight
    linear: Weight
    bias: str
    scale: str
    shift: str
    mean: str
    variance: str


@dataclass(frozen=True, slots=True)
class Key:
    """Foreign counterpart of one canonical tensor."""

    canonical: str
    foreign: str
    layout: Layout | None
    shape: Shape
    """Shape of the foreign array."""

    def to_canonical(self, array: NDArray) -> NDArray:
        """Return a foreign array in the canonical layout."""
        return self.layout.to_canonical(array) if self.layout else array

    def from_canonical(self, array: NDArray) -> NDArray:
        """Return a canonical array in the layout of the foreign file."""
        return self.layout.from_canonical(array) if self.layout else array


def keys(table: KeyTable, words: Words, spec: NetworkSpec) -> tuple[Key, ...]:
    """Return the foreign counterpart of every canonical tensor of a network, in order."""
    layers = _layers(table, spec)
    found = []
    for name, shape in parameter_shapes(spec).items():
        owner, _, part = name.rpartition(".")
        layer = owner.removesuffix(".conv").removesuffix(".bn")
        convolution, norm = layers[layer]
        layout: Layout | None = None
        if part == "weight":
            depthwise = layer.endswith(".depthwise")
            other = words.depthwise if depthwise else words.convolution
            word, layout = words.linear if is_classifier(name) else other
        else:
            word = getattr(words, part)
        foreign = (norm if owner.endswith(".bn") else convolution) + word
        found.append(Key(name, foreign, layout, layout.shape(shape) if layout else shape))
    return tuple(found)


def _layers(table: KeyTable, spec: NetworkSpec) -> dict[str, Pair]:
    """Return a layer's foreign name and its BatchNorm's, by the layer's canonical name."""
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
            # A part that the implementation does not have gets a name that no file has.
            pair = parts.get(convolution.role, (f"no {convolution.name}", f"no {convolution.name}"))
            found[convolution.name] = _filled(pair, places)
    for index, linear in enumerate(network.linears):
        name = table.classifier if linear.name == "classifier" else table.hidden
        found[linear.name] = _filled((name, ""), {"n": index})
    return found


def _filled(pair: Pair, places: Mapping[str, int]) -> Pair:
    return (pair[0].format(**places), pair[1].format(**places))


def _parts(prefix: str, **parts: str) -> dict[str, Pair]:
    """Return a pair for each part, from a prefix and the part's two endings."""
    pairs = {part: endings.split() for part, endings in parts.items()}
    return {
        part: (prefix + convolution, prefix + norm) for part, (convolution, norm) in pairs.items()
    }


# ---------------------------------------------------------------- words

PYTORCH = Words(
    convolution=(".weight", None), depthwise=(".weight", None), linear=(".weight", None),
    bias=".bias", scale=".weight", shift=".bias", mean=".running_mean", variance=".running_var",
)  # fmt: skip
KERAS_WORDS = Words(
    convolution=("/kernel", TENSORFLOW_CONVOLUTION), depthwise=("/kernel", TENSORFLOW_DEPTHWISE),
    linear=("/kernel", TENSORFLOW_LINEAR), bias="/bias",
    scale="/gamma", shift="/beta", mean="/moving_mean", variance="/moving_variance",
)  # fmt: skip
SLIM_WORDS = dataclasses.replace(
    KERAS_WORDS, convolution=("/weights", TENSORFLOW_CONVOLUTION), linear=("/weights", SLIM_LINEAR),
    depthwise=("/depthwise_weights", TENSORFLOW_DEPTHWISE), bias="/biases",
)  # fmt: skip

# ---------------------------------------------------------------- layers

# Everything is in ``features``, with blocks numbered from 1.
TORCHVISION = KeyTable(
    stem=("features.0.0", "features.0.1"),
    first=_parts("features.{next}.conv.", depthwise="0.0 0.1", project="1 2"),
    block=_parts("features.{next}.conv.", expand="0.0 0.1", depthwise="1.0 1.1", project="2 3"),
    head=("features.{end}.0", "features.{end}.1"),
    classifier="classifier.1",
)
# A block is one flat nn.Sequential, in which activations have numbers, too.
TONYLINS = KeyTable(
    stem=("features.0.0", "features.0.1"),
    first=_parts("features.{next}.conv.", depthwise="0 1", project="3 4"),
    block=_parts("features.{next}.conv.", expand="0 1", depthwise="3 4", project="6 7"),
    head=("features.{end}.0", "features.{end}.1"),
    classifier="classifier",
)
# The blocks are tonylins'; the head is outside of ``features``.
D_LI14 = dataclasses.replace(TONYLINS, head=("conv.0", "conv.1"))
# A block's name has its stage and its place in the stage.
TIMM = KeyTable(
    stem=("conv_stem", "bn1"),
    first=_parts("blocks.{stage}.{repeat}.", depthwise="conv_dw bn1", project="conv_pw bn2"),
    block=_parts(
        "blocks.{stage}.{repeat}.",
        expand="conv_pw bn1", depthwise="conv_dw bn2", project="conv_pwl bn3",
    ),
    head=("conv_head", "bn2"),
    classifier="classifier",
)  # fmt: skip
_ARTICLE_BLOCK = _parts(
    "layer{row}.{repeat}.", expand="bottleneck.0.0 bottleneck.0.1",
    depthwise="bottleneck.1.0 bottleneck.1.1", project="bottleneck.2.0 bottleneck.2.1",
    shortcut="shortcut.0 shortcut.1",
)  # fmt: skip
ARTICLE = KeyTable(
    stem=("first_conv.0", "first_conv.1"),
    first=_ARTICLE_BLOCK,
    block=_ARTICLE_BLOCK,
    head=("last_conv.0", "last_conv.1"),
    classifier="linear",
)
_SLIM_PARTS = {part: f"{part} {part}/BatchNorm" for part in ("expand", "depthwise", "project")}
SLIM = KeyTable(
    stem=("MobilenetV2/Conv", "MobilenetV2/Conv/BatchNorm"),
    first=_parts("MobilenetV2/expanded_conv/", **_SLIM_PARTS),
    block=_parts("MobilenetV2/expanded_conv_{n}/", **_SLIM_PARTS),
    head=("MobilenetV2/Conv_1", "MobilenetV2/Conv_1/BatchNorm"),
    classifier="MobilenetV2/Logits/Conv2d_1c_1x1",
)
# The names are those of keras.applications; shortcut is added in the same style.
_KERAS_PARTS = {
    part: f"{part} {part}_BN" for part in ("expand", "depthwise", "project", "shortcut")
}
KERAS = KeyTable(
    stem=("Conv1", "bn_Conv1"),
    first=_parts("expanded_conv_", **_KERAS_PARTS),
    block=_parts("block_{n}_", **_KERAS_PARTS),
    head=("Conv_1", "Conv_1_bn"),
    classifier="predictions",
)
# The stem contains the first block; the other blocks are numbered from 0.
_HUGGING_FACE_PARTS = {
    part: f"{word}.convolution {word}.normalization"
    for part, word in (("expand", "expand_1x1"), ("depthwise", "conv_3x3"),
                       ("project", "reduce_1x1"))
}  # fmt: skip
HUGGING_FACE = KeyTable(
    stem=(
        "mobilenet_v2.conv_stem.first_conv.convolution",
        "mobilenet_v2.conv_stem.first_conv.normalization",
    ),
    first=_parts("mobilenet_v2.conv_stem.", **_HUGGING_FACE_PARTS),
    block=_parts("mobilenet_v2.layer.{previous}.", **_HUGGING_FACE_PARTS),
    head=("mobilenet_v2.conv_1x1.convolution", "mobilenet_v2.conv_1x1.normalization"),
    classifier="classifier",
)
