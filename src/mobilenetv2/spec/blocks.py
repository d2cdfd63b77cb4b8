"""A spec resolved: one record per convolution and per block, every size and channel count known."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.network import NetworkSpec, Size

Role = Literal["stem", "expand", "depthwise", "project", "shortcut", "head", "classifier"]
Padding = tuple[tuple[int, int], tuple[int, int]]
"""((top, bottom), (left, right)) in pixels."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """One convolution with its BatchNorm and, unless linear, its activation."""

    name: str
    """Canonical prefix of its parameters: 'stem', 'blocks.3.expand', 'head' ..."""
    role: Role
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    padding: Padding
    bias: bool
    linear: bool
    """No activation after BatchNorm: the projection's linear bottleneck."""
    in_size: Size
    out_size: Size

    @property
    def groups(self) -> int:
        """Every channel by itself in a depthwise convolution, otherwise one group."""
        return self.in_channels if self.role == "depthwise" else 1

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(out, in / groups, kernel, kernel), as PyTorch lays it out."""
        return (self.out_channels, self.in_channels // self.groups, self.kernel, self.kernel)


@dataclass(frozen=True, slots=True)
class Block:
    """One inverted residual: expansion (perhaps), depthwise, linear projection, shortcut."""

    index: int
    stage: int
    expansion: int
    stride: int
    in_channels: int
    expanded_channels: int
    out_channels: int
    expand: Convolution | None
    depthwise: Convolution
    project: Convolution
    shortcut: Convolution | None
    """The projection shortcut's convolution; None for an identity or no shortcut."""
    residual: bool
    """The block's input, or its projection shortcut, is added to its output."""

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        """In the order in which they run, the shortcut last."""
        steps = (self.expand, self.depthwise, self.project, self.shortcut)
        return tuple(step for step in steps if step is not None)


@dataclass(frozen=True, slots=True)
class Network:
    """The whole network, resolved. Made by :func:`resolve`."""

    spec: NetworkSpec
    stem: Convolution
    blocks: tuple[Block, ...]
    head: Convolution

    @property
    def convolutions(self) -> Iterator[Convolution]:
        """Every convolution from the stem to the head."""
        yield self.stem
        for block in self.blocks:
            yield from block.convolutions
        yield self.head

    @property
    def classifier_shape(self) -> tuple[int, int]:
        """(classes, pooled features)."""
        return (self.spec.classes, self.head.out_channels)

    @property
    def output_stride(self) -> int:
        """Input pixels for one step on the last feature map: 32 in the paper."""
        stride = self.stem.stride
        for block in self.blocks:
            stride *= block.stride
        return stride


@lru_cache(maxsize=256)
def resolve(spec: NetworkSpec) -> Network:
    """Work out every convolution of a spec.

    Raises:
        SpecError: the strides leave less than one pixel of the picture.
    """
    stem = _convolution(
        spec, "stem", "stem", spec.input_channels, spec.channels("stem"), spec.size,
        kernel=3, stride=spec.stem_stride,
    )  # fmt: skip
    blocks: list[Block] = []
    channels, size = stem.out_channels, stem.out_size
    for stage_index, stage in enumerate(spec.stages):
        for repeat in range(stage.repeats):
            block = _block(
                spec, len(blocks), stage_index, stage.expansion,
                stage.stride if repeat == 0 else 1, channels, spec.stage_channels(stage), size,
            )  # fmt: skip
            blocks.append(block)
            channels, size = block.out_channels, block.project.out_size
    head = _convolution(spec, "head", "head", channels, spec.channels("head"), size)
    network = Network(spec, stem, tuple(blocks), head)
    if network.output_stride > max(spec.size):
        raise SpecError(
            f"the strides multiply to {network.output_stride}, more than the picture's "
            f"{spec.size[0]} x {spec.size[1]} pixels; use fewer strides or a larger size"
        )
    return network


def _block(
    spec: NetworkSpec, index: int, stage: int, expansion: int,
    stride: int, in_channels: int, out_channels: int, size: Size,
) -> Block:  # fmt: skip
    name = f"blocks.{index}"
    expanded = expansion * in_channels
    expand = None
    if expansion > 1 or spec.expand == "always":
        expand = _convolution(spec, f"{name}.expand", "expand", in_channels, expanded, size)
    depthwise = _convolution(
        spec, f"{name}.depthwise", "depthwise", expanded, expanded, size, kernel=3, stride=stride
    )
    project = _convolution(
        spec, f"{name}.project", "project", expanded, out_channels, depthwise.out_size
    )
    shortcut = None
    residual = stride == 1 and spec.shortcut != "none"
    if spec.shortcut == "identity":
        residual = residual and in_channels == out_channels
    elif residual:
        shortcut = _convolution(
            spec, f"{name}.shortcut", "shortcut", in_channels, out_channels, size
        )
    return Block(
        index, stage, expansion, stride, in_channels, expanded, out_channels,
        expand, depthwise, project, shortcut, residual,
    )  # fmt: skip


def _convolution(
    spec: NetworkSpec, name: str, role: Role, in_channels: int, out_channels: int, size: Size,
    kernel: int = 1, stride: int = 1,
) -> Convolution:  # fmt: skip
    rows, columns = (padding(spec.numerics.padding, side, kernel, stride) for side in size)
    height, width = (
        (side + before + after - kernel) // stride + 1
        for side, (before, after) in zip(size, (rows, columns), strict=True)
    )
    return Convolution(
        name, role, in_channels, out_channels, kernel, stride, (rows, columns), spec.conv_bias,
        linear=role in ("project", "shortcut"), in_size=size, out_size=(height, width),
    )  # fmt: skip


def padding(rule: str, side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros (before, after) one side of ``side`` pixels under 'symmetric' or 'same'.

    >>> padding("same", 224, 3, 2), padding("same", 225, 3, 2), padding("symmetric", 224, 3, 2)
    ((0, 1), (1, 1), (1, 1))
    """
    if rule == "symmetric":
        return (kernel // 2, kernel // 2)
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return (total // 2, total - total // 2)
