"""What a network costs: parameters, multiply-adds, receptive field, activation memory.

Multiply-adds are those of the convolutions and the classifier, as the paper counts them:
biases, BatchNorm, activations, additions and pooling are left out.
"""

import math
from collections import Counter
from dataclasses import dataclass

from mobilenetv2.spec.blocks import Block, resolve
from mobilenetv2.spec.names import is_classifier, is_statistic, parameter_shapes
from mobilenetv2.spec.network import NetworkSpec, Size


@dataclass(frozen=True, slots=True)
class Layer:
    """One row of the network's table."""

    name: str
    role: str
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    out_size: Size
    parameters: int
    multiply_adds: int


def layers(spec: NetworkSpec) -> tuple[Layer, ...]:
    """One row for every convolution and every linear layer of the classifier."""
    network = resolve(spec)
    sizes: Counter[str] = Counter()
    for name, shape in parameter_shapes(spec).items():
        if not is_statistic(name):
            # Without 'weight', or of a convolution 'conv.weight', 'bn.scale' ...
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
    """Trained numbers: weights, biases, BatchNorm scale and shift (not the statistics)."""
    return sum(layer.parameters for layer in layers(spec))


def multiply_adds(spec: NetworkSpec) -> int:
    """Of one picture at the spec's size."""
    return sum(layer.multiply_adds for layer in layers(spec))


def multiply_adds_by_role(spec: NetworkSpec) -> dict[str, int]:
    """Multiply-adds of all stems, expansions, depthwise convolutions ... together."""
    totals: Counter[str] = Counter()
    for layer in layers(spec):
        totals[layer.role] += layer.multiply_adds
    return dict(totals)


def receptive_field(spec: NetworkSpec) -> int:
    """Side, in input pixels, of the square that one element of the last feature map sees."""
    field, step = 1, 1
    for conv in resolve(spec).convolutions:
        if conv.role != "shortcut":  # parallel to the block's main path and never larger
            field += (conv.kernel - 1) * step
            step *= conv.stride
    return field


def activation_memory(spec: NetworkSpec, bytes_per_value: int = 4) -> int:
    """Bytes read and written by the convolutions of one picture: inputs plus outputs."""
    return bytes_per_value * sum(
        _elements(conv.in_channels, conv.in_size) + _elements(conv.out_channels, conv.out_size)
        for conv in resolve(spec).convolutions
    )


def expanded_memory(spec: NetworkSpec, bytes_per_value: int = 4) -> int:
    """The part of :func:`activation_memory` that is expanded tensors, written and read.

    The stem's output, which a first block without an expansion reads as its expanded tensor,
    is counted on reading only. Blocks of other kinds expand nothing.
    """
    total = 0
    for block in resolve(spec).blocks:
        if block.kind != "inverted":
            continue
        wide = _elements(block.inner_channels, block.depthwise.in_size)
        narrow = _elements(block.inner_channels, block.depthwise.out_size)
        total += (2 if block.expand else 1) * wide + 2 * narrow
    return bytes_per_value * total


def bottleneck_memory(spec: NetworkSpec, bytes_per_value: int = 2) -> int:
    """Bytes of the largest tensor between blocks: the paper's Table 3 (16-bit activations).

    The stem's output is not counted: it can be fused into the first block, as the paper does.
    """
    return bytes_per_value * max(
        _elements(block.out_channels, block.out_size) for block in resolve(spec).blocks
    )


def peak_memory(spec: NetworkSpec, bytes_per_value: int = 2, split: int | None = None) -> int:
    """The paper's section 5.1: the most that must be held at once while one block runs.

    A block's input and output stay; of the expanded tensor only one of ``split`` slices exists
    at a time, since the depthwise convolution works on every channel by itself. In a block of
    another kind it is the input and output of one convolution, and the block's input beside them
    where it is still to be added.

    Args:
        split: slices of the expansion; None splits it t ways, 1 holds all of it.
    """
    return bytes_per_value * max(_block_peak(block, split) for block in resolve(spec).blocks)


def _block_peak(block: Block, split: int | None) -> int:
    held = _elements(block.in_channels, block.in_size)
    if block.kind != "inverted":
        return max(
            _elements(step.in_channels, step.in_size) + _elements(step.out_channels, step.out_size)
            + (held if block.residual and step is not block.steps[0] else 0)
            for step in block.steps
        )  # fmt: skip
    slices = min(split or block.expansion, block.inner_channels)
    channels = math.ceil(block.inner_channels / slices)
    held += _elements(block.out_channels, block.out_size)
    inner = _elements(channels, block.depthwise.out_size)
    if block.expand:  # otherwise the depthwise convolution reads the block's input itself
        inner += _elements(channels, block.depthwise.in_size)
    return held + inner


def _elements(channels: int, size: Size) -> int:
    return channels * size[0] * size[1]
