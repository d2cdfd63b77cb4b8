"""Costs of a network: parameters, multiply-adds, receptive field, activation memory.

Multiply-adds are counted as in the paper, for the convolutions and the classifier only. Biases,
BatchNorm, activations, additions and pooling are left out.
"""

import math
from collections import Counter
from dataclasses import dataclass

from mobilenetv2.spec.blocks import Block, resolve
from mobilenetv2.spec.names import is_classifier, is_statistic, parameter_shapes
from mobilenetv2.spec.network import NetworkSpec, Size


@dataclass(frozen=True, slots=True)
class Layer:
    """One row of the network's table of layers."""

    name: str
    role: str
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    out_size: Size
    parameters: int
    multiply_adds: int


@dataclass(frozen=True, slots=True)
class SplitMemory:
    """Values that an inverted block holds at the same time, computed from its sizes."""

    ends: int
    """Values of the block's input and output."""
    slice: int
    """Values of the largest slice of the expanded tensor, before and after the 3x3 convolution."""

    @property
    def total(self) -> int:
        """All values that are held."""
        return self.ends + self.slice


def layers(spec: NetworkSpec) -> tuple[Layer, ...]:
    """Return one row for every convolution and every linear layer of the classifier."""
    network = resolve(spec)
    sizes: Counter[str] = Counter()
    for name, shape in parameter_shapes(spec).items():
        if not is_statistic(name):
            # Drop '.weight' of a linear layer, or '.conv.weight', '.bn.scale' ... of a convolution.
            owner = name.rsplit(".", 1 if is_classifier(name) else 2)[0]
            sizes[owner] += math.prod(shape)
    rows = [
        Layer(
            conv.name, conv.role, conv.in_channels, conv.out_channels, conv.kernel, conv.stride,
            conv.out_size, sizes[conv.name],
            # Kernel area x input channels per group x output elements.
            math.prod(conv.weight_shape) * math.prod(conv.out_size),
        )
        for conv in network.convolutions
    ]  # fmt: skip
    rows += [
        Layer(
            linear.name, "classifier", linear.in_features, linear.out_features, 1, 1, (1, 1),
            sizes[linear.name], linear.in_features * linear.out_features,
        )
        for linear in network.linears
    ]  # fmt: skip
    return tuple(rows)


def parameters(spec: NetworkSpec) -> int:
    """Return the number of trained parameters.

    Weights, biases and BatchNorm's scale and shift count; BatchNorm's running statistics do not.
    """
    return sum(layer.parameters for layer in layers(spec))


def multiply_adds(spec: NetworkSpec) -> int:
    """Return the multiply-adds for one image of the spec's size."""
    return sum(layer.multiply_adds for layer in layers(spec))


def multiply_adds_by_role(spec: NetworkSpec) -> dict[str, int]:
    """Return the multiply-adds for each role: 'stem', 'expand', 'depthwise' ..."""
    totals: Counter[str] = Counter()
    for layer in layers(spec):
        totals[layer.role] += layer.multiply_adds
    return dict(totals)


def receptive_field(spec: NetworkSpec) -> int:
    """Return the side, in input pixels, of the square that each last-map element depends on."""
    field, step = 1, 1
    for conv in resolve(spec).convolutions:
        if conv.role != "shortcut":  # parallel to the block's main path and never larger
            field += (conv.kernel - 1) * step
            step *= conv.stride
    return field


def activation_memory(spec: NetworkSpec, bytes_per_value: int = 4) -> int:
    """Return the bytes that the convolutions read and write for one image: inputs plus outputs."""
    return bytes_per_value * sum(
        _elements(conv.in_channels, conv.in_size) + _elements(conv.out_channels, conv.out_size)
        for conv in resolve(spec).convolutions
    )


def expanded_memory(spec: NetworkSpec, bytes_per_value: int = 4) -> int:
    """Return the bytes of expanded tensors, written and read; a part of :func:`activation_memory`.

    A first block without an expansion reads the stem's output as its expanded tensor; that tensor
    counts as read, not as written. In a 'wide' block the input (read), the tensor inside (written
    and read) and the output (written) count. Other kinds of blocks have no expanded tensor.
    """
    total = 0
    for block in resolve(spec).blocks:
        if block.kind not in ("inverted", "wide"):
            continue
        before = _elements(block.inner_channels, block.depthwise.in_size)
        after = _elements(block.inner_channels, block.depthwise.out_size)
        total += (2 if block.expand else 1) * before
        if block.kind == "wide":
            total += _elements(block.in_channels, block.in_size) + after
        else:
            total += 2 * after
    return bytes_per_value * total


def bottleneck_memory(spec: NetworkSpec, bytes_per_value: int = 2) -> int:
    """Return the bytes of the largest tensor between blocks.

    This is Table 3 of the paper, at 16 bits per activation. The stem's output is not counted, since
    it can be fused into the first block, as in the paper.
    """
    return bytes_per_value * max(
        _elements(block.out_channels, block.out_size) for block in resolve(spec).blocks
    )


def peak_memory(spec: NetworkSpec, bytes_per_value: int = 2, split: int | None = None) -> int:
    """Return the bytes that must be held at the same time while one block runs.

    This is section 5.1 of the paper. An inverted block holds its input and output, and one of
    ``split`` slices of the expanded tensor, because a depthwise convolution computes every channel
    separately. A 'wide' block holds the projected tensor, its output, a slice of the expanded
    tensor, and its input until it is added. Another kind of block holds the input and output of one
    convolution, and the block's input until it is added.

    Args:
        split: number of slices of the expanded tensor; None means the block's expansion factor, 1
            holds all of it.
    """
    return bytes_per_value * max(_block_peak(block, split) for block in resolve(spec).blocks)


def split_memory(block: Block, split: int) -> SplitMemory:
    """Return what an inverted block holds if its expanded tensor is computed in slices.

    Args:
        block: an inverted block.
        split: number of slices; more than the channels of the expanded tensor are as many.
    """
    channels = _slice_channels(block, split)
    inner = _elements(channels, block.depthwise.out_size)
    if block.expand:  # otherwise the depthwise convolution reads the block's input itself
        inner += _elements(channels, block.depthwise.in_size)
    ends = _elements(block.in_channels, block.in_size)
    return SplitMemory(ends + _elements(block.out_channels, block.out_size), inner)


def _block_peak(block: Block, split: int | None) -> int:
    held = _elements(block.in_channels, block.in_size)
    if block.kind == "inverted":
        return split_memory(block, split or block.expansion).total
    if block.kind != "wide":
        return max(
            _elements(step.in_channels, step.in_size) + _elements(step.out_channels, step.out_size)
            + (held if block.residual and step is not block.steps[0] else 0)
            for step in block.steps
        )  # fmt: skip
    channels = _slice_channels(block, split or block.expansion)
    output = _elements(block.out_channels, block.out_size)
    projected = _elements(block.project.out_channels, block.in_size)
    inner = _elements(channels, block.depthwise.in_size) if block.expand else 0
    return projected + max(held, (held if block.residual else 0) + inner + output)


def _slice_channels(block: Block, split: int) -> int:
    """Return the channels of the largest of ``split`` slices of a block's expanded tensor."""
    return math.ceil(block.inner_channels / min(split, block.inner_channels))


def _elements(channels: int, size: Size) -> int:
    return channels * size[0] * size[1]
