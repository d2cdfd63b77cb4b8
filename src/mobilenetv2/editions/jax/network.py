"""MobileNetV2 in JAX (Flax NNX), built from the spec; module names are the canonical ones.

Images are (batch, height, width, channels), JAX's usual layout.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from mobilenetv2.editions.edition import Dtype, check_options
from mobilenetv2.editions.heads import (
    Head,
    came_folded,
    describe_head,
    dropouts,
    head_config,
    warn_folded,
)
from mobilenetv2.editions.jax.layers import POOLS, ConvBN, InvertedResidual, Linear, list_parts
from mobilenetv2.editions.jax.layers import BatchNorm as BatchNorm
from mobilenetv2.editions.jax.weights import assign
from mobilenetv2.errors import MobileNetV2Error, argument
from mobilenetv2.images.preprocess import normalise
from mobilenetv2.images.transform import ArrayTransform
from mobilenetv2.model.initialisation import Initialisation, initialise, with_classes
from mobilenetv2.spec.blocks import require_inverted, resolve
from mobilenetv2.spec.names import intermediate_names, parameter_shapes
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Labels, ModelConfig


class MobileNetV2(nnx.Module):
    """MobileNetV2, with its :class:`ModelConfig` in ``config``.

    The arguments are those of :meth:`mobilenetv2.editions.edition.Edition.build`. The seed, 0 by
    default, is also the seed of dropout. float64 raises an error without ``jax_enable_x64``.
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
                "JAX computes in float32 in this process; for float64, set JAX_ENABLE_X64=1 before "
                "JAX is imported"
            )
        self._config = nnx.static(
            config if isinstance(config, ModelConfig) else ModelConfig.default(config)
        )
        self._assigned = False
        spec = self.body_spec
        network, numerics = resolve(spec), spec.numerics
        blocks, head = require_inverted(spec, "jax")
        self.stem = ConvBN(network.stem, numerics, dtype)
        self.blocks = nnx.List([InvertedResidual(block, numerics, dtype) for block in blocks])
        self.head = ConvBN(head, numerics, dtype)
        rngs = nnx.Rngs(seed or 0)
        self.dropout = nnx.Dropout(spec.dropout, rngs=rngs)
        *hidden, last = (Linear(layer, rngs, dtype) for layer in network.linears)
        self.hidden, self.classifier = nnx.List(hidden), last
        assign(self, initialise(parameter_shapes(spec), initialisation, seed or 0))

    @property
    def dtype(self) -> jnp.dtype:
        """Data type of the weights."""
        return jnp.dtype(self.stem.kernel.dtype)

    @property
    def config(self) -> ModelConfig:
        """Config of the network, with its present classifier.

        An assigned classifier has numbered labels. To name them, set a config with labels.

        Raises:
            SpecError: no spec can describe the classifier; the message says why.
        """
        if isinstance(self.classifier, Linear) and self._dropouts == dropouts(self.body_spec):
            return self._config
        return head_config(self._config, self.describe_classifier().spec, not self._assigned)

    @config.setter
    def config(self, config: ModelConfig) -> None:  # assignments go through __setattr__
        raise AttributeError("config")

    @property
    def spec(self) -> NetworkSpec:
        """Spec of the network, with its present classifier."""
        return self.config.spec

    @property
    def body_spec(self) -> NetworkSpec:
        """Spec that the network was built from, with its original classifier."""
        return self._config.spec

    @property
    def body_config(self) -> ModelConfig:
        """Config that the network was built from, with its original classifier."""
        config: ModelConfig = self._config
        return config

    @property
    def _dropouts(self) -> list[float]:
        return [float(self.dropout.rate), *(float(layer.dropout.rate) for layer in self.hidden)]

    @property
    def num_features(self) -> int:
        """Channels of the pooled features, the classifier's input."""
        return resolve(self.body_spec).features

    @property
    def transform(self) -> ArrayTransform:
        """Preprocessing from a photo to a float32 array (height, width, channels).

        ``network.transform(photo)`` returns the array, ``network.transform()`` the function.
        """
        return ArrayTransform(self._config.preprocessing)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "config":  # nnx would make it a part of the network's tree
            self._config, self._assigned = nnx.static(value), False
            return
        if name == "classifier" and not isinstance(value, Linear):
            self._assigned = True
            linear = isinstance(value, nnx.Linear)
            if not (linear and self.hidden and value.in_features == self._hidden_width()):
                self.hidden = nnx.List([])
            if not linear:
                self.dropout.rate = 0.0  # the assigned module has its own dropout
        super().__setattr__(name, value)

    def _hidden_width(self) -> int:
        return int(self.hidden[-1].kernel.shape[1])

    def describe_classifier(self) -> Head[nnx.Module]:
        """Return the spec with the present classifier, and its linear layers.

        Raises:
            SpecError: no spec can describe the classifier; the message says why.
        """
        modules = [self.dropout, *self.hidden, self.classifier]
        return describe_head(list_parts(modules), self.body_spec)

    def reset_classifier(
        self, classes: int | Iterable[str] | Labels, seed: int | None = None
    ) -> None:
        """Replace the classifier by a new one for these classes, in place; hidden layers stay.

        Args:
            classes: number of classes, or their names in the order of the outputs.
            seed: seed of the new weights and their dropout; default: 0.

        Raises:
            SpecError: there are no classes, or no spec can describe the present classifier.
        """
        check_options(seed=seed)
        dtype, rngs = self.dtype, nnx.Rngs(seed or 0)
        old = self.describe_classifier().layers[:-1]
        config = with_classes(self.config, Labels.of(classes))
        *hidden, last = (Linear(layer, rngs, dtype) for layer in resolve(config.spec).linears)
        for layer, kept in zip(hidden, old, strict=True):
            layer.kernel, layer.bias = kept.kernel, kept.bias
        self.hidden, self.dropout.rate = nnx.List(hidden), config.spec.dropout
        self.classifier = last
        self.config = config
        shapes = {n: s for n, s in parameter_shapes(config.spec).items() if "classifier." in n}
        assign(self, initialise(shapes, "torchvision", seed or 0))
        self.classifier.dropout.deterministic = self.dropout.deterministic
        for layer in self.hidden:
            layer.dropout.deterministic = self.dropout.deterministic

    def train(self, **attributes: Any) -> None:
        """Set training mode; warn if the BatchNorm is folded, since training would destroy it."""
        if came_folded(self._config):
            warn_folded()
        super().train(**attributes)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the logits (batch, n) of normalised images (batch, height, width, channels)."""
        return self.classify(self.pooled_features(x), {})

    def forward_features(self, x: jax.Array) -> jax.Array:
        """Return the last feature map (batch, ..., k) of (batch, height, width, channels)."""
        return self._body(x, {})

    def pooled_features(self, x: jax.Array) -> jax.Array:
        """Return the pooled features (batch, k) of (batch, height, width, channels)."""
        return POOLS[self.body_spec.classifier.pooling](self.forward_features(x), (1, 2))

    def classify(self, features: jax.Array, tensors: dict[str, jax.Array]) -> jax.Array:
        """Return the logits (batch, n) of pooled features (batch, k).

        It adds the outputs of the hidden layers to ``tensors``.
        """
        y = self.dropout(features)
        for index, layer in enumerate(self.hidden):
            y = tensors[f"hidden.{index}"] = layer(y)
        return jnp.asarray(self.classifier(y))

    def _body(self, x: jax.Array, tensors: dict[str, jax.Array]) -> jax.Array:
        y = tensors["stem"] = self.stem(x)
        for block in self.blocks:
            y = block(y, tensors)
        y = tensors["head"] = self.head(y)
        return y

    def intermediates(self, x: jax.Array) -> dict[str, jax.Array]:
        """Return the tensors of one pass, in the order of ``spec.names.intermediate_names``.

        Args:
            x: (batch, height, width, channels), normalised, of any size.
        """
        tensors: dict[str, jax.Array] = {}
        y = self._body(x, tensors)
        y = tensors["features"] = POOLS[self.body_spec.classifier.pooling](y, (1, 2))
        tensors["logits"] = self.classify(y, tensors)
        return tensors


def reset_classifier(
    network: MobileNetV2, classes: int | Iterable[str] | Labels, seed: int | None = None
) -> MobileNetV2:
    """Replace the classifier in place and return the network.

    The arguments are those of :meth:`MobileNetV2.reset_classifier`.
    """
    network.reset_classifier(classes, seed)
    return network


def config_of(network: MobileNetV2) -> ModelConfig:
    """Return the config of a network, with its present classifier.

    Raises:
        SpecError: no spec can describe the classifier.
    """
    return network.config


def check_device(name: str) -> jax.Device:
    """Return JAX's device of a name such as cpu, gpu or cuda:1.

    Raises:
        MobileNetV2Error: the device is unknown, or not on this machine.
    """
    kind, _, index = name.partition(":")
    try:
        return jax.devices(kind)[int(index or 0)]
    except (RuntimeError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise MobileNetV2Error(
            f"{argument('device', name)}: JAX cannot use it here ({reason}); try cpu"
        ) from None


def predictor(
    network: MobileNetV2, device: str = "cpu", outputs: Literal["logits", "features"] = "logits"
) -> Callable[[NDArray], NDArray]:
    """Return a function from uint8 images to outputs.

    Each call uses the network's present weights and sets evaluation mode.
    """
    where = check_device(device)

    def predict(pictures: NDArray) -> NDArray:
        network.eval()
        x = normalise(pictures, network.transform.preprocessing).astype(network.dtype)
        return np.asarray(_run(network, jax.device_put(x, where), outputs), np.float32)

    return predict


# A function of the module, so that it is compiled once for all predictors of a network.
@partial(nnx.jit, static_argnames="outputs")
def _run(network: MobileNetV2, x: jax.Array, outputs: str) -> jax.Array:
    return network(x) if outputs == "logits" else network.pooled_features(x)


@nnx.jit
def _intermediates(network: MobileNetV2, x: jax.Array) -> dict[str, jax.Array]:
    return network.intermediates(x)


def intermediates(network: MobileNetV2, x: NDArray) -> dict[str, NDArray]:
    """Return the named intermediate tensors of a forward pass."""
    network.eval()
    tensors = _intermediates(network, jnp.asarray(x, network.dtype))
    # jit sorts a dict's keys.
    return {name: np.asarray(tensors[name]) for name in intermediate_names(network.spec)}
