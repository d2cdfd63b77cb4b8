"""Convolutions in the forms that XLA computes fast.

XLA's grouped convolution is slow on CPUs. A depthwise one of 48 channels on 32 x 32 pixels took 70
times as long as the equivalent sum of nine shifted products, and its gradients 3 to 20 times.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from mobilenetv2.spec.blocks import Padding


def convolution(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    """Convolve (batch, height, width, in) with (kernel, kernel, in, out) to (batch, ..., out)."""
    if kernel.shape[:2] == (1, 1) and stride == 1:
        return x @ kernel[0, 0]
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def depthwise_convolution(
    x: jax.Array, kernel: jax.Array, stride: int, padding: Padding
) -> jax.Array:
    """Convolve each channel of (batch, height, width, channels) with its own kernel."""
    options: Any = {"stride": stride, "padding": padding}
    return jax.lax.platform_dependent(
        x, kernel, cpu=partial(_shifted, **options), default=partial(_grouped, **options)
    )


def _grouped(x: jax.Array, kernel: jax.Array, *, stride: int, padding: Padding) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, feature_group_count=x.shape[-1],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip


def _shifted(x: jax.Array, kernel: jax.Array, *, stride: int, padding: Padding) -> jax.Array:
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    side, batch, channels = kernel.shape[0], x.shape[0], x.shape[-1]
    height, width = ((pixels - side) // stride + 1 for pixels in x.shape[1:3])
    total = jnp.zeros((), x.dtype)
    for row in range(side):
        for column in range(side):
            last = (batch, row + (height - 1) * stride + 1, column + (width - 1) * stride + 1)
            seen = jax.lax.slice(x, (0, row, column, 0), (*last, channels), (1, stride, stride, 1))
            total = total + seen * kernel[row, column, 0]
    return total
