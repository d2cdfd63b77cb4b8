"""Layers and blocks of the JAX edition; module names are the canonical ones."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from mobilenetv2.editions.heads import ActivationPart, DropoutPart, LinearPart, OtherPart, Part
from mobilenetv2.editions.jax.operations import convolution, depthwise_convolution
from mobilenetv2.spec.blocks import Block, Convolution, padding
from mobilenetv2.spec.blocks import Linear as LinearRecord
from mobilenetv2.spec.network import Numerics

ACTIVATIONS = {"relu6": jax.nn.relu6, "relu": jax.nn.relu}
POOLS: dict[str, Callable[..., jax.Array]] = {"average": jnp.mean, "max": jnp.max}


class BatchNorm(nnx.Module):
    """BatchNorm over all axes but the last, with running statistics in ``nnx.BatchStat``.

    It corrects the running variance by Bessel's factor, as PyTorch does, where the spec's numerics
    say so. Flax's own BatchNorm cannot.
    """

    def __init__(self, channels: int, numerics: Numerics, dtype: DTypeLike) -> None:
        self.scale = nnx.Param(jnp.ones(channels, dtype))
        self.shift = nnx.Param(jnp.zeros(channels, dtype))
        self.mean = nnx.BatchStat(jnp.zeros(channels, dtype))
        self.variance = nnx.BatchStat(jnp.ones(channels, dtype))
        self.numerics = numerics
        self.update_rate = numerics.update_rate
        self.use_running_average = False  # Flax's name: net.train() and net.eval() set it

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalise (batch, height, width, channels); in training mode, update the statistics."""
        mean, variance = self.mean[...], self.variance[...]
        if not self.use_running_average:
            axes = tuple(range(x.ndim - 1))
            mean = x.mean(axes)
            variance = ((x - mean) ** 2).mean(axes)
            self._update(mean, variance, x.size // x.shape[-1])
        factor = self.scale[...] * jax.lax.rsqrt(variance + self.numerics.epsilon)
        return (x - mean) * factor + self.shift[...]

    def _update(self, mean: jax.Array, variance: jax.Array, count: int) -> None:
        if self.numerics.running_variance == "unbiased":
            variance = variance * (count / max(1, count - 1))
        rate = self.update_rate
        for old, new in ((self.mean, mean), (self.variance, variance)):
            old[...] = (1 - rate) * old[...] + rate * jax.lax.stop_gradient(new)


class ConvBN(nnx.Module):
    """Convolution, BatchNorm and the activation, if the layer has one.

    The output of (batch, height, width, in_channels) is
    (batch, ceil(height / stride), ..., out_channels).
    """

    def __init__(self, layer: Convolution, numerics: Numerics, dtype: DTypeLike) -> None:
        kernel = (layer.kernel, layer.kernel, layer.in_channels // layer.groups, layer.out_channels)
        self.kernel = nnx.Param(jnp.zeros(kernel, dtype))
        self.bias = nnx.Param(jnp.zeros(layer.out_channels, dtype)) if layer.bias else None
        self.bn = BatchNorm(layer.out_channels, numerics, dtype)
        self.stride, self.activation = layer.stride, layer.activation
        self.depthwise = layer.role == "depthwise"
        self.numerics = numerics

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the output of the layer for (batch, height, width, channels)."""
        kernel = self.kernel[...]
        # Padding follows the actual size of the image; the spec's size is only a default.
        rows, columns = (
            padding(self.numerics.padding, side, kernel.shape[0], self.stride)
            for side in x.shape[1:3]
        )
        convolve = depthwise_convolution if self.depthwise else convolution
        y = convolve(x, kernel, self.stride, (rows, columns))
        if self.bias is not None:
            y = y + self.bias[...]
        y = self.bn(y)
        return y if self.activation is None else ACTIVATIONS[self.activation](y)


class InvertedResidual(nnx.Module):
    """Inverted residual: expansion, depthwise convolution, projection, shortcut."""

    def __init__(self, block: Block, numerics: Numerics, dtype: DTypeLike) -> None:
        self.index, self.residual = block.index, block.residual
        self.expand = ConvBN(block.expand, numerics, dtype) if block.expand else None
        self.depthwise = ConvBN(block.depthwise, numerics, dtype)
        self.project = ConvBN(block.project, numerics, dtype)
        self.shortcut = ConvBN(block.shortcut, numerics, dtype) if block.shortcut else None

    def __call__(self, x: jax.Array, tensors: dict[str, jax.Array]) -> jax.Array:
        """Return (batch, ceil(height / stride), ..., k') for (batch, height, width, k).

        It adds the output of every convolution to ``tensors``; ``jit`` removes unused ones.
        """
        name, y = f"blocks.{self.index}", x
        if self.expand is not None:
            y = tensors[f"{name}.expand"] = self.expand(y)
        y = tensors[f"{name}.depthwise"] = self.depthwise(y)
        y = tensors[f"{name}.project"] = self.project(y)
        if self.shortcut is not None:
            x = tensors[f"{name}.shortcut"] = self.shortcut(x)
        if self.residual:
            y = y + x
        tensors[name] = y
        return y


class Linear(nnx.Module):
    """Linear layer, with optional activation and dropout of its output.

    It maps (batch, in_features) to (batch, out_features).
    """

    def __init__(self, layer: LinearRecord, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        self.kernel = nnx.Param(jnp.zeros((layer.in_features, layer.out_features), dtype))
        self.bias = nnx.Param(jnp.zeros(layer.out_features, dtype)) if layer.bias else None
        self.dropout = nnx.Dropout(layer.dropout, rngs=rngs)
        self.activation = layer.activation

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return (batch, outputs) for (batch, inputs)."""
        y = x @ self.kernel[...]
        if self.bias is not None:
            y = y + self.bias[...]
        if self.activation is not None:
            y = ACTIVATIONS[self.activation](y)
        return self.dropout(y)


def list_parts(modules: Iterable[Any]) -> Iterator[Part[Any]]:
    """Yield the layers behind the pooled features as parts of :mod:`mobilenetv2.editions.heads`."""
    for module in modules:
        if isinstance(module, Linear | nnx.Linear):
            inputs, outputs = module.kernel.shape
            yield LinearPart(inputs, outputs, module.bias is not None, module)
            if isinstance(module, Linear):
                yield from list_parts([ACTIVATIONS.get(module.activation or ""), module.dropout])
        elif isinstance(module, nnx.Sequential):
            yield from list_parts(module.layers)
        elif isinstance(module, nnx.Dropout):
            yield DropoutPart(float(module.rate))
        elif module is jax.nn.relu6:
            yield ActivationPart("relu6")
        elif module is jax.nn.relu:  # nnx.relu is the same function
            yield ActivationPart("relu")
        elif module is not None:
            yield OtherPart(getattr(module, "__name__", type(module).__name__))
