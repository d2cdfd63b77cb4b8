"""Operations of the network in a few lines of NumPy each, as readable definitions.

Arrays of images are (batch, channels, height, width). Results have the type of the inputs, so
that float64 images are computed in float64.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.spec.blocks import Padding


def convolution(x: NDArray, weight: NDArray, stride: int, padding: Padding) -> NDArray:
    """Convolve: each output channel is a weighted sum over all input channels and kernel pixels.

    Args:
        x: (batch, in_channels, height, width).
        weight: (out_channels, in_channels, kernel, kernel).
        stride: step between two outputs, in pixels.
        padding: numbers of zeros, ((top, bottom), (left, right)).

    Returns:
        (batch, out_channels, out_height, out_width).
    """
    out_channels, in_channels, kernel, _ = weight.shape
    total: NDArray | float = 0.0
    for row, column, seen in _shifted(x, kernel, stride, padding):
        batch, _, height, width = seen.shape
        pixels = seen.reshape(batch, in_channels, height * width)
        summed = weight[:, :, row, column] @ pixels  # (out, in) @ (batch, in, pixels)
        total = total + summed.reshape(batch, out_channels, height, width)
    return np.asarray(total)


def depthwise_convolution(x: NDArray, weight: NDArray, stride: int, padding: Padding) -> NDArray:
    """Convolve each channel by itself: a weighted sum over the kernel's pixels.

    Args:
        x: (batch, channels, height, width).
        weight: (channels, 1, kernel, kernel).

    Returns:
        (batch, channels, out_height, out_width).
    """
    total: NDArray | float = 0.0
    for row, column, seen in _shifted(x, weight.shape[-1], stride, padding):
        total = total + seen * weight[:, :, row, column, None]
    return np.asarray(total)


def _shifted(
    x: NDArray, kernel: int, stride: int, padding: Padding
) -> Iterator[tuple[int, int, NDArray]]:
    """Yield (row, column, its input pixels (batch, channels, out_h, out_w)) per kernel pixel."""
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    height, width = (side - kernel + 1 for side in x.shape[2:])
    for row in range(kernel):
        for column in range(kernel):
            yield (
                row,
                column,
                x[:, :, row : row + height : stride, column : column + width : stride],
            )


def batch_norm(
    x: NDArray, scale: NDArray, shift: NDArray, mean: NDArray, variance: NDArray, epsilon: float
) -> NDArray:
    """Return (x - mean) / sqrt(variance + epsilon) * scale + shift for each channel.

    Args:
        x: (batch, channels, height, width); the others are (channels,).
    """
    factor = scale / np.sqrt(variance + x.dtype.type(epsilon))
    return np.asarray((x - _channels(mean)) * _channels(factor) + _channels(shift))


def _channels(values: NDArray) -> NDArray:
    return values[:, None, None]


def relu(x: NDArray) -> NDArray:
    """Set negative values to 0."""
    return np.asarray(np.maximum(x, 0))


def relu6(x: NDArray) -> NDArray:
    """Clip to 0 to 6: the bound limits the range, for precise low-bit arithmetic."""
    return np.asarray(np.clip(x, 0, 6))


def global_average_pool(x: NDArray) -> NDArray:
    """Return the mean over all positions: (batch, channels, height, width) to (batch, channels)."""
    return np.asarray(x.mean((2, 3)))


def global_max_pool(x: NDArray) -> NDArray:
    """Return the maximum over all positions, as (batch, channels)."""
    return np.asarray(x.max((2, 3)))


def linear(x: NDArray, weight: NDArray, bias: NDArray | None = None) -> NDArray:
    """Return (batch, outputs) for x (batch, features) and weight (outputs, features)."""
    y = np.asarray(x @ weight.T)
    return y if bias is None else y + bias
