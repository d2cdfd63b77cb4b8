"""Resolved network: one record per convolution and per block, with all sizes and channel counts."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.network import (
    MOST_PARAMETERS,
    Activation,
    BlockKind,
    NetworkSpec,
    Size,
    StageSpec,
)

Role = Literal[
    "stem", "expand", "depthwise", "project", "pointwise", "reduce", "convolve", "shortcut", "head",
    "classifier",
]  # fmt: skip
Padding = tuple[tuple[int, int], tuple[int, int]]
"""Zero padding in pixels: ((top, bottom), (left, right))."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """One convolution with its BatchNorm and its activation, if it has one."""

    name: str
    """Canonical prefix of the parameters: 'stem', 'blocks.3.expand', 'head' ..."""
    role: Role
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    padding: Padding
    bias: bool
    activation: Activation | None
    """Activation after BatchNorm; None in the projection's linear bottleneck."""
    in_size: Size
    out_size: Size

    @property
    def linear(self) -> bool:
        """True if no activation follows BatchNorm."""
        return self.activation is None

    @property
    def groups(self) -> int:
        """Number of groups: the number of channels in a depthwise convolution, otherwise 1."""
        return self.in_channels if self.role == "depthwise" else 1

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape of the kernel in PyTorch's layout: (out, in / groups, kernel, kernel)."""
        return (self.out_channels, self.in_channels // self.groups, self.kernel, self.kernel)


@dataclass(frozen=True, slots=True)
class Linear:
    """One linear layer of the classifier."""

    name: str
    """Canonical prefix of the parameters: 'hidden.0' ..., for the last layer 'classifier'."""
    in_features: int
    out_features: int
    bias: bool
    activation: Activation | None
    dropout: float
    """Probability that an output of this layer is dropped in training."""

    @property
    def weight_shape(self) -> tuple[int, int]:
        """Shape of the weight in PyTorch's layout: (out, in)."""
        return (self.out_features, self.in_features)

    @property
    def output(self) -> str:
        """Name of the output tensor: 'logits' for the last layer, otherwise the layer's name."""
        return "logits" if self.name == "classifier" else self.name


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its main path and its shortcut."""

    index: int
    stage: int
    kind: BlockKind
    expansion: int
    stride: int
    in_channels: int
    inner_channels: int
    """Channels of the 3x3 convolution: expanded, or reduced in a 'bottleneck' block."""
    out_channels: int
    steps: tuple[Convolution, ...]
    """Convolutions of the main path, in the order in which they run."""
    shortcut: Convolution | None
    """Convolution of the projection shortcut; None for an identity or no shortcut."""
    residual: bool
    """True if the input, or its projection by the shortcut, is added to the output."""

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        """All convolutions in the order in which they run, the shortcut last."""
        return (*self.steps, self.shortcut) if self.shortcut else self.steps

    @property
    def expand(self) -> Convolution | None:
        """Expansion convolution; None if the block has none."""
        return next((step for step in self.steps if step.role == "expand"), None)

    @property
    def depthwise(self) -> Convolution:
        """Depthwise 3x3 convolution of an inverted, a separable or a wide block."""
        return next(step for step in self.steps if step.role == "depthwise")

    @property
    def project(self) -> Convolution:
        """Projection of an inverted or a wide block."""
        return next(step for step in self.steps if step.role == "project")

    @property
    def in_size(self) -> Size:
        """Height and width of the input."""
        return self.steps[0].in_size

    @property
    def out_size(self) -> Size:
        """Height and width of the output."""
        return self.steps[-1].out_size


@dataclass(frozen=True, slots=True)
class Network:
    """The whole network, resolved; :func:`resolve` makes it."""

    spec: NetworkSpec
    stem: Convolution
    blocks: tuple[Block, ...]
    head: Convolution | None
    """Last 1x1 convolution; None if the last block's output is pooled directly."""

    @property
    def convolutions(self) -> Iterator[Convolution]:
        """All convolutions from the stem to the head."""
        yield self.stem
        for block in self.blocks:
            yield from block.convolutions
        if self.head:
            yield self.head

    @property
    def features(self) -> int:
        """Channels of the last feature map, which are pooled."""
        return (self.head or self.blocks[-1]).out_channels

    @property
    def linears(self) -> tuple[Linear, ...]:
        """Linear layers of the classifier in the order in which they run, 'classifier' last."""
        found: list[Linear] = []
        channels, classifier = self.features, self.spec.classifier
        for index, hidden in enumerate(classifier.hidden):
            activation = None if hidden.activation == "none" else hidden.activation
            units, bias, dropout = hidden.units, hidden.bias, hidden.dropout
            found.append(Linear(f"hidden.{index}", channels, units, bias, activation, dropout))
            channels = units
        last = Linear("classifier", channels, self.spec.logits, classifier.bias, None, 0.0)
        return (*found, last)

    @property
    def output_stride(self) -> int:
        """Product of all strides: 32 in the paper."""
        return math.prod((self.stem.stride, *(block.stride for block in self.blocks)))


@lru_cache(maxsize=256)
def resolve(spec: NetworkSpec) -> Network:
    """Return every convolution of a network, with sizes and channel counts.

    Raises:
        SpecError: the strides leave less than one pixel of the input, or there are more than
            :data:`~mobilenetv2.spec.network.MOST_PARAMETERS` parameters.
    """
    stem = _convolution(
        spec, "stem", "stem", spec.input_channels, spec.channels("stem"), spec.size,
        spec.numerics.activation, kernel=3, stride=spec.stem_stride,
    )  # fmt: skip
    blocks: list[Block] = []
    channels, size = stem.out_channels, stem.out_size
    for stage_index, stage in enumerate(spec.stages):
        for repeat in range(stage.repeats):
            block = _block(
                spec, len(blocks), stage_index, stage,
                stage.stride if repeat == 0 else 1, channels, spec.stage_channels(stage), size,
            )  # fmt: skip
            blocks.append(block)
            channels, size = block.out_channels, block.out_size
    head = None
    if spec.head != "none":
        head = _convolution(
            spec, "head", "head", channels, spec.channels("head"), size, spec.numerics.activation
        )
    network = Network(spec, stem, tuple(blocks), head)
    if network.output_stride > max(spec.size):
        raise SpecError(
            f"the strides multiply to {network.output_stride}, more than the input's "
            f"{spec.size[0]} x {spec.size[1]} pixels; use fewer strides or a larger size"
        )
    if (parameters := _parameters(network)) > MOST_PARAMETERS:
        raise SpecError(
            f"the network has {parameters:,} parameters; at most {MOST_PARAMETERS:,} are allowed"
        )
    return network


def _parameters(network: Network) -> int:
    """Return the number of all values of the canonical tensors, in time that no channel changes."""
    batch_norm = 4  # scale, shift, mean, variance
    convolutions = sum(
        math.prod(one.weight_shape) + (batch_norm + one.bias) * one.out_channels
        for one in network.convolutions
    )
    return convolutions + sum(
        math.prod(one.weight_shape) + one.bias * one.out_features for one in network.linears
    )


def _block(
    spec: NetworkSpec, index: int, stage_index: int, stage: StageSpec,
    stride: int, in_channels: int, channels: int, size: Size,
) -> Block:  # fmt: skip
    """Return a block; ``channels`` are its stage's, after the width multiplier."""
    name = f"blocks.{index}"
    inner, steps = _steps(spec, name, stage, stride, in_channels, channels, size)
    out_channels = steps[-1].out_channels
    shortcut = None
    same = stride == 1 and in_channels == out_channels
    projected = spec.shortcut == "projection"
    residual = stage.kind != "separable" and spec.shortcut != "none"
    if stage.kind in ("inverted", "wide"):
        residual = residual and (same or (projected and stride == 1))
    elif not same:  # ResNet projects where the shapes differ
        projected = True
    if residual and projected:
        shortcut = _convolution(
            spec, f"{name}.shortcut", "shortcut", in_channels, out_channels, size, None,
            stride=stride,
        )  # fmt: skip
    return Block(
        index, stage_index, stage.kind, stage.expansion, stride, in_channels, inner, out_channels,
        steps, shortcut, residual,
    )  # fmt: skip


def _steps(
    spec: NetworkSpec, name: str, stage: StageSpec, stride: int, in_channels: int, channels: int,
    size: Size,
) -> tuple[int, tuple[Convolution, ...]]:  # fmt: skip
    """Return the channels inside a block and the convolutions of its main path."""
    usual: Activation | None = spec.numerics.activation
    project: tuple[Role, int, Activation | None] = (
        "project", channels, None if spec.projection == "linear" else spec.projection
    )  # fmt: skip
    plan: list[tuple[Role, int, Activation | None]]
    if stage.kind == "separable":
        inner = in_channels
        plan = [("depthwise", inner, usual), ("pointwise", channels, usual)]
    elif stage.kind == "bottleneck":
        inner = max(1, channels // stage.expansion)
        plan = [("reduce", inner, usual), ("convolve", inner, usual), ("expand", channels, None)]
    else:
        wide = stage.kind == "wide"
        inner = stage.expansion * (channels if wide else in_channels)
        plan = [("expand", inner, usual), ("depthwise", inner, usual)]
        if stage.expansion == 1 and spec.expand == "when-needed":
            del plan[0]
        plan.insert(0 if wide else len(plan), project)
    steps: list[Convolution] = []
    for role, made, activation in plan:
        spatial = role in ("depthwise", "convolve")
        step = _convolution(
            spec, f"{name}.{role}", role, in_channels, made, size, activation,
            kernel=3 if spatial else 1, stride=stride if spatial else 1,
        )  # fmt: skip
        steps.append(step)
        in_channels, size = made, step.out_size
    return inner, tuple(steps)


def _convolution(
    spec: NetworkSpec, name: str, role: Role, in_channels: int, out_channels: int, size: Size,
    activation: Activation | None, kernel: int = 1, stride: int = 1,
) -> Convolution:  # fmt: skip
    rows, columns = (padding(spec.numerics.padding, side, kernel, stride) for side in size)
    height, width = (
        (side + before + after - kernel) // stride + 1
        for side, (before, after) in zip(size, (rows, columns), strict=True)
    )
    return Convolution(
        name, role, in_channels, out_channels, kernel, stride, (rows, columns), spec.conv_bias,
        activation, in_size=size, out_size=(height, width),
    )  # fmt: skip


def padding(rule: str, side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the zeros (before, after) that pad one side of ``side`` pixels.

    Args:
        rule: 'symmetric' (PyTorch) or 'same' (TensorFlow).

    >>> padding("same", 224, 3, 2), padding("same", 225, 3, 2), padding("symmetric", 224, 3, 2)
    ((0, 1), (1, 1), (1, 1))
    """
    if rule == "symmetric":
        return (kernel // 2, kernel // 2)
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return (total // 2, total - total // 2)


def require_inverted(spec: NetworkSpec, edition: str) -> tuple[tuple[Block, ...], Convolution]:
    """Return the blocks and the head of a MobileNetV2.

    Editions call this that have no other kind of block.

    Raises:
        SpecError: the network has another kind of block, or no head.
    """
    network = resolve(spec)
    others = sorted({block.kind for block in network.blocks} - {"inverted"})
    if others or network.head is None:
        what = f"{' and '.join(others)} blocks" if others else "a network without a head"
        raise SpecError(
            f"the {edition} edition does not have {what}; the torch and numpy editions do"
        )
    return network.blocks, network.head
