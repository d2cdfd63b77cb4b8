"""MobileNetV2 in JAX (Flax NNX), read off the spec. Module names are the canonical ones.

Pictures are (batch, height, width, channels), as JAX and its compilers like them.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from numpy.typing import NDArray

from mobilenetv2.editions.edition import Dtype, check_options
from mobilenetv2.editions.jax.operations import convolution, depthwise_convolution
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.images.preprocess import normalise
from mobilenetv2.model.arrays import (
    TENSORFLOW_CONVOLUTION,
    TENSORFLOW_LINEAR,
    Arrays,
    Layout,
    check_arrays,
)
from mobilenetv2.model.initialisation import Initialisation, initialise
from mobilenetv2.spec.blocks import Block, Convolution, padding, require_inverted, resolve
from mobilenetv2.spec.blocks import Linear as LinearRecord
from mobilenetv2.spec.names import intermediate_names, parameter_shapes
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.records import ModelConfig

ACTIVATIONS = {"relu6": jax.nn.relu6, "relu": jax.nn.relu}
POOLS: dict[str, Callable[..., jax.Array]] = {"average": jnp.mean, "max": jnp.max}


class BatchNorm(nnx.Module):
    """BatchNorm over all axes but the last, its running statistics in ``nnx.BatchStat``.

    Flax's own does not correct the running variance by Bessel's factor, which PyTorch does; here
    it is as the spec's numerics say.
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
        """(batch, height, width, channels) -> the same; in training statistics move."""
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
    """Convolution, BatchNorm and, unless the layer is linear, the activation.

    (batch, height, width, in_channels) -> (batch, ceil(height / stride), ..., out_channels).
    """

    def __init__(self, layer: Convolution, numerics: Numerics, dtype: DTypeLike) -> None:
        kernel = (layer.kernel, layer.kernel, layer.in_channels // layer.groups, layer.out_channels)
        self.kernel = nnx.Param(jnp.zeros(kernel, dtype))
        self.bias = nnx.Param(jnp.zeros(layer.out_channels, dtype)) if layer.bias else None
        self.bn = BatchNorm(layer.out_channels, numerics, dtype)
        self.stride, self.linear = layer.stride, layer.linear
        self.depthwise = layer.role == "depthwise"
        self.numerics = numerics

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return (batch, height, width, channels), convolved, normalised and activated."""
        kernel = self.kernel[...]
        # From the picture that came: the spec's own size is only a default.
        rows, columns = (
            padding(self.numerics.padding, side, kernel.shape[0], self.stride)
            for side in x.shape[1:3]
        )
        convolve = depthwise_convolution if self.depthwise else convolution
        y = convolve(x, kernel, self.stride, (rows, columns))
        if self.bias is not None:
            y = y + self.bias[...]
        y = self.bn(y)
        return y if self.linear else ACTIVATIONS[self.numerics.activation](y)


class InvertedResidual(nnx.Module):
    """Expansion (perhaps), depthwise convolution, linear projection, shortcut (perhaps)."""

    def __init__(self, block: Block, numerics: Numerics, dtype: DTypeLike) -> None:
        self.index, self.residual = block.index, block.residual
        self.expand = ConvBN(block.expand, numerics, dtype) if block.expand else None
        self.depthwise = ConvBN(block.depthwise, numerics, dtype)
        self.project = ConvBN(block.project, numerics, dtype)
        self.shortcut = ConvBN(block.shortcut, numerics, dtype) if block.shortcut else None

    def __call__(self, x: jax.Array, tensors: dict[str, jax.Array]) -> jax.Array:
        """(batch, height, width, k) -> (batch, ceil(height / stride), ..., k').

        Every convolution's output is put into ``tensors``; ``jit`` drops what nobody uses.
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
    """A linear layer, its activation and dropout of what it gives, where it has them.

    (batch, in_features) -> (batch, out_features).
    """

    def __init__(self, layer: LinearRecord, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        self.kernel = nnx.Param(jnp.zeros((layer.in_features, layer.out_features), dtype))
        self.bias = nnx.Param(jnp.zeros(layer.out_features, dtype)) if layer.bias else None
        self.dropout = nnx.Dropout(layer.dropout, rngs=rngs)
        self.activation = layer.activation

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return (batch, n) of (batch, inputs), activated and dropped out."""
        y = x @ self.kernel[...]
        if self.bias is not None:
            y = y + self.bias[...]
        if self.activation is not None:
            y = ACTIVATIONS[self.activation](y)
        return self.dropout(y)


class MobileNetV2(nnx.Module):
    """The whole network, with the record of what it is and takes in ``config``.

    The arguments are those of :meth:`mobilenetv2.editions.edition.Edition.build`. The seed, 0 where
    there is none, is that of dropout, too. float64 needs ``jax_enable_x64``, else it is an error.
    """

    def __init__(
        self,
        config: ModelConfig | NetworkSpec,
        initialisation: Initialisation = "torchvision",
        seed: int | None = None,
        dtype: Dtype = "float32",
    ) -> None:
        dtype = check_options(dtype, seed)
        if dtype == "float64" and not jax.config.jax_enable_x64:
            raise MobileNetV2Error(
                "JAX computes in float32 here; for float64 set JAX_ENABLE_X64=1 before it is "
                "imported"
            )
        self.config = nnx.static(
            config if isinstance(config, ModelConfig) else ModelConfig.default(config)
        )
        network, numerics = resolve(self.spec), self.spec.numerics
        blocks, head = require_inverted(self.spec, "jax")
        self.stem = ConvBN(network.stem, numerics, dtype)
        self.blocks = nnx.List([InvertedResidual(block, numerics, dtype) for block in blocks])
        self.head = ConvBN(head, numerics, dtype)
        rngs = nnx.Rngs(seed or 0)
        self.dropout = nnx.Dropout(self.spec.dropout, rngs=rngs)
        *hidden, last = (Linear(layer, rngs, dtype) for layer in network.linears)
        self.hidden, self.classifier = nnx.List(hidden), last
        assign(self, initialise(parameter_shapes(self.spec), initialisation, seed or 0))

    @property
    def dtype(self) -> jnp.dtype:
        """Of the weights."""
        return jnp.dtype(self.stem.kernel.dtype)

    @property
    def spec(self) -> NetworkSpec:
        """What the network is."""
        return self.config.spec

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels), normalised -> logits (batch, classes)."""
        return self.intermediates(x)["logits"]

    def features(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) -> pooled features (batch, head channels)."""
        return self.intermediates(x)["features"]

    def intermediates(self, x: jax.Array) -> dict[str, jax.Array]:
        """One forward pass with every tensor of :func:`spec.names.intermediate_names`, in order.

        Args:
            x: (batch, height, width, channels), normalised; any size, not only the spec's.
        """
        tensors: dict[str, jax.Array] = {}
        y = tensors["stem"] = self.stem(x)
        for block in self.blocks:
            y = block(y, tensors)
        y = tensors["head"] = self.head(y)
        y = tensors["features"] = POOLS[self.spec.classifier.pooling](y, (1, 2))
        y = self.dropout(y)
        for index, layer in enumerate(self.hidden):
            y = tensors[f"hidden.{index}"] = layer(y)
        tensors["logits"] = self.classifier(y)
        return tensors


LAYOUTS: dict[str, tuple[str, Layout]] = {
    "conv.weight": ("kernel", TENSORFLOW_CONVOLUTION),
    "weight": ("kernel", TENSORFLOW_LINEAR),
}
"""End of a canonical name -> end of the path in the network, layout there. A depthwise kernel is
(height, width, 1, channels): a convolution in as many groups, so its layout is no other."""


def load(network: MobileNetV2, arrays: Arrays, where: str = "weights") -> None:
    """Put canonical arrays into a network."""
    check_arrays(network.spec, arrays, where)
    assign(network, arrays)


def assign(network: MobileNetV2, arrays: Arrays) -> None:
    """:func:`load` for some of the network's tensors, unchecked."""
    for name, array in arrays.items():
        variable, layout = _variable(network, name)
        value = layout.from_canonical(np.asarray(array)) if layout else np.asarray(array)
        variable[...] = jnp.asarray(value, variable.dtype)


def dump(network: MobileNetV2, dtype: Dtype = "float32") -> Arrays:
    """Return the canonical arrays of a network."""
    arrays: Arrays = {}
    for name in parameter_shapes(network.spec):
        variable, layout = _variable(network, name)
        array = np.asarray(variable[...], dtype)
        arrays[name] = layout.to_canonical(array) if layout else array.copy()
    return arrays


def _variable(network: MobileNetV2, name: str) -> tuple[nnx.Variable, Layout | None]:
    """Where a canonical tensor lives, and how it lies there."""
    for end, (theirs, layout) in LAYOUTS.items():
        if name.endswith(end):
            return _follow(network, name.removesuffix(end) + theirs), layout
    return _follow(network, name.replace("conv.bias", "bias")), None


def _follow(module: nnx.Module, path: str) -> nnx.Variable:
    node = module
    for part in path.split("."):
        node = node[int(part)] if part.isdigit() else getattr(node, part)
    assert isinstance(node, nnx.Variable)
    return node


def check_device(name: str) -> jax.Device:
    """JAX's device of that name, such as cpu, gpu or cuda:1.

    Raises:
        MobileNetV2Error: unknown, or not on this machine.
    """
    kind, _, index = name.partition(":")
    try:
        return jax.devices(kind)[int(index or 0)]
    except (RuntimeError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise MobileNetV2Error(
            f"--device {name}: JAX cannot use it here ({reason}); try cpu"
        ) from None


def predictor(
    network: MobileNetV2, device: str = "cpu", outputs: Literal["logits", "features"] = "logits"
) -> Callable[[NDArray], NDArray]:
    """Return a function from pictures to outputs.

    Each call takes the network's weights as they are, and puts it into evaluation mode.
    """
    where = check_device(device)

    def predict(pictures: NDArray) -> NDArray:
        network.eval()
        x = normalise(pictures, network.config.preprocessing).astype(network.dtype)
        return np.asarray(_run(network, jax.device_put(x, where), outputs), np.float32)

    return predict


# Of the module, not of a predictor: it is compiled once for a network, however often one is made.
@partial(nnx.jit, static_argnames="outputs")
def _run(network: MobileNetV2, x: jax.Array, outputs: str) -> jax.Array:
    return network(x) if outputs == "logits" else network.features(x)


@nnx.jit
def _intermediates(network: MobileNetV2, x: jax.Array) -> dict[str, jax.Array]:
    return network.intermediates(x)


def intermediates(network: MobileNetV2, x: NDArray) -> dict[str, NDArray]:
    """Return every named tensor of a forward pass."""
    network.eval()
    tensors = _intermediates(network, jnp.asarray(x, network.dtype))
    # jit sorts a dict's keys.
    return {name: np.asarray(tensors[name]) for name in intermediate_names(network.spec)}
