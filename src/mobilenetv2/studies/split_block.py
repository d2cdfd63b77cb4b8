"""One inverted block, computed in slices of its expanded tensor, in NumPy and in PyTorch."""

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import require
from mobilenetv2.model.folding import Folded
from mobilenetv2.spec.blocks import Block, Padding
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.studies.study import Factor

ALL = "all"
"""Split into as many slices as the expanded tensor has channels."""
SCRATCH = 4096
"""Values of an intermediate product that is added at once (16 KB): it stays in the nearest cache,
and it is small beside the tensors."""
BYTES = 4


@dataclass(frozen=True, slots=True)
class Layers:
    """An inverted block with folded BatchNorm, as the two functions below run it."""

    expand: tuple[NDArray, NDArray] | None
    """Weight (inner, in) and bias (inner,); None if the block has no expansion."""
    depthwise: tuple[NDArray, NDArray]
    """Weight (inner, 3, 3) and bias (inner,)."""
    project: tuple[NDArray, NDArray]
    """Weight (out, inner) and bias (out,)."""
    stride: int
    padding: Padding
    out_size: tuple[int, int]
    bound: float
    """Upper bound of the activation: 6 for ReLU6, infinity for ReLU."""
    residual: bool


def layers_of(spec: NetworkSpec, folded: Folded, block: Block) -> Layers:
    """Return a block of a network with identity shortcuts and inverted blocks only."""
    assert block.kind == "inverted" and block.shortcut is None
    matrices = [
        (weight.squeeze() if step.role == "depthwise" else weight[..., 0, 0], bias)
        for step in block.steps
        for weight, bias in [folded[step.name]]
    ]
    return Layers(
        matrices[0] if block.expand else None, matrices[-2], matrices[-1], block.stride,
        block.depthwise.padding, block.out_size,
        6.0 if spec.numerics.activation == "relu6" else np.inf, block.residual,
    )  # fmt: skip


def slice_count(channels: int, split: Factor) -> int:
    """Return the number of slices of the expanded channels, none of which is empty."""
    return channels if split == ALL else min(int(split), channels)


def slices(channels: int, split: Factor) -> list[slice]:
    """Return the parts of the expanded channels, as equal as they can be."""
    ends = np.linspace(0, channels, slice_count(channels, split) + 1).round().astype(int)
    return [slice(int(low), int(high)) for low, high in pairwise(ends)]


def run_in_slices(layers: Layers, x: NDArray, split: Factor) -> NDArray:
    """Return the output of a block; only one slice of the expanded tensor exists at a time.

    The projection is a sum over the expanded channels, and everything before it treats each of them
    by itself. So a slice is expanded, convolved, activated, and its part of the sum added.

    Args:
        layers: the block.
        x: (in_channels, height, width).
        split: number of slices.

    Returns:
        (out_channels, out_height, out_width).
    """
    parts = slices(len(layers.depthwise[1]), split)
    most = max(part.stop - part.start for part in parts)
    project, bias = layers.project
    out = np.empty((len(bias), *layers.out_size), x.dtype)
    out[...] = bias[:, None, None]
    narrow = np.empty((most, *layers.out_size), x.dtype)
    wide = None if layers.expand is None else np.empty((most, *x.shape[1:]), x.dtype)
    for part in parts:
        count = part.stop - part.start
        if layers.expand is None or wide is None:
            expanded = x[part]
        else:
            expanded = wide[:count]
            weight, shift = (array[part] for array in layers.expand)
            np.matmul(weight, _pixels(x), out=_pixels(expanded))
            expanded += shift[:, None, None]
            _activate(expanded, layers.bound)
        _convolve(layers, part, expanded, narrow[:count])
        _add_product(project[:, part], _pixels(narrow[:count]), _pixels(out))
    if layers.residual:
        out += x
    return out


def _pixels(x: NDArray) -> NDArray:
    """Return a tensor as a matrix (channels, pixels), without a copy."""
    return x.reshape(len(x), -1)


def _activate(x: NDArray, bound: float) -> None:
    """Clip ``x`` in place to 0 to ``bound``."""
    np.clip(x, 0, bound, out=x)


def _convolve(layers: Layers, part: slice, x: NDArray, out: NDArray) -> None:
    """Write the activated depthwise convolution of a slice into ``out``."""
    weight, bias = (array[part] for array in layers.depthwise)
    out[...] = bias[:, None, None]
    group = max(1, SCRATCH // (out.shape[1] * out.shape[2]))
    scratch = np.empty((min(group, len(x)), *out.shape[1:]), x.dtype)
    for first in range(0, len(x), group):
        chosen = slice(first, first + group)
        for row in range(3):
            for column in range(3):
                (to_rows, rows), (to_columns, columns) = (
                    _overlap(place - before, layers.stride, side, out_side)
                    for place, (before, _), side, out_side in zip(
                        (row, column), layers.padding, x.shape[1:], out.shape[1:], strict=True
                    )
                )
                seen, target = x[chosen, rows, columns], out[chosen, to_rows, to_columns]
                product = scratch[: len(seen), : target.shape[1], : target.shape[2]]
                np.multiply(seen, weight[chosen, row, column, None, None], out=product)
                target += product
    _activate(out, layers.bound)


def _overlap(shift: int, stride: int, side: int, out_side: int) -> tuple[slice, slice]:
    """Return the outputs that read a pixel inside the image, and these pixels, along one side.

    Output number o reads the pixel ``o * stride + shift``; pixels outside are zeros.
    """
    first = max(0, -(shift // stride))
    last = min(out_side - 1, (side - 1 - shift) // stride)
    start = first * stride + shift
    return slice(first, last + 1), slice(start, last * stride + shift + 1, stride)


def _add_product(weight: NDArray, x: NDArray, out: NDArray) -> None:
    """Add ``weight @ x`` to ``out``, some pixels at a time."""
    width = max(1, SCRATCH // len(out))
    for first in range(0, out.shape[1], width):
        pixels = slice(first, first + width)
        target = out[:, pixels]
        target += weight @ x[:, pixels]


def torch_runner(layers: Layers, split: Factor) -> Callable[[NDArray], NDArray]:
    """Return a function that computes the same with PyTorch's operators."""
    torch = require("torch")
    functional = torch.nn.functional
    parts = slices(len(layers.depthwise[1]), split)
    activate = torch.nn.functional.relu6 if layers.bound == 6 else torch.nn.functional.relu

    def tensor(array: NDArray) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array))

    steps = []
    for part in parts:
        expand = [tensor(array[part]) for array in layers.expand or ()]
        steps.append(
            (
                [expand[0][:, :, None, None], expand[1]] if expand else [],
                [tensor(layers.depthwise[0][part, None]), tensor(layers.depthwise[1][part])],
                tensor(layers.project[0][:, part, None, None]),
                part,
            )
        )
    bias = tensor(layers.project[1])
    (top, bottom), (left, right) = layers.padding

    def run(x: NDArray) -> NDArray:
        given = tensor(x[None])
        total: Any = None
        for expand, depthwise, project, part in steps:
            y = given[:, part]
            if expand:
                y = activate(functional.conv2d(given, *expand), inplace=True)
            if (top, left) != (bottom, right):
                y, padding = functional.pad(y, (left, right, top, bottom)), (0, 0)
            else:
                padding = (top, left)
            y = functional.conv2d(y, *depthwise, layers.stride, padding, groups=y.shape[1])
            y = functional.conv2d(
                activate(y, inplace=True), project, bias if total is None else None
            )
            total = y if total is None else total.add_(y)
        found = total + given if layers.residual else total
        return np.asarray(found[0].numpy())

    return run


def measured_bytes(layers: Layers, x: NDArray, split: Factor) -> int:
    """Return the largest number of bytes that Python and NumPy hold at once, with ``x``.

    NumPy's own buffers, some 50 KB, are counted. Weights are not, and neither are the buffers of
    the library that multiplies matrices, whose size does not depend on the tensors.
    """
    run_in_slices(layers, x, split)  # what is made once does not count
    tracemalloc.start()
    try:
        given = x.copy()
        run_in_slices(layers, given, split)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
