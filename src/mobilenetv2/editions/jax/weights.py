"""Variables of the JAX edition by their canonical names."""

from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from flax import nnx

from mobilenetv2.editions.edition import Dtype
from mobilenetv2.editions.heads import Head
from mobilenetv2.model.arrays import (
    TENSORFLOW_CONVOLUTION,
    TENSORFLOW_LINEAR,
    Arrays,
    Layout,
    check_arrays,
)
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec


class Described(Protocol):
    """Parts of a network that reading and writing its weights need."""

    @property
    def spec(self) -> NetworkSpec:
        """Spec of the network, with its present classifier."""

    def describe_classifier(self) -> Head[Any]:
        """Return the spec with the present classifier, and its linear layers."""


def load(network: Described, arrays: Arrays, where: str = "weights") -> None:
    """Copy canonical arrays into a network."""
    check_arrays(network.spec, arrays, where)
    assign(network, arrays)


def assign(network: Described, arrays: Arrays) -> None:
    """Copy some canonical arrays into a network without a check."""
    for name, (variable, layout) in variables(network).items():
        if name in arrays:
            array = np.asarray(arrays[name])
            value = layout.from_canonical(array) if layout else array
            variable[...] = jnp.asarray(value, variable.dtype)


def dump(network: Described, dtype: Dtype = "float32") -> Arrays:
    """Return the weights of a network as canonical arrays."""
    arrays: Arrays = {}
    for name, (variable, layout) in variables(network).items():
        array = np.asarray(variable[...], dtype)
        arrays[name] = layout.to_canonical(array) if layout else array.copy()
    return arrays


def variables(network: Described) -> dict[str, tuple[nnx.Variable, Layout | None]]:
    """Return the network's variables and their layouts by canonical names.

    Raises:
        SpecError: no spec can describe the classifier.
    """
    head = network.describe_classifier()
    linears = [linear.name for linear in resolve(head.spec).linears]
    layers: dict[str, Any] = dict(zip(linears, head.layers, strict=True))
    found: dict[str, tuple[nnx.Variable, Layout | None]] = {}
    for name in parameter_shapes(head.spec):
        owner, _, part = name.rpartition(".")
        if owner in layers:
            weight = part == "weight"
            layer = layers[owner]
            found[name] = (layer.kernel, TENSORFLOW_LINEAR) if weight else (layer.bias, None)
        elif name.endswith("conv.weight"):
            path = name.removesuffix("conv.weight") + "kernel"
            # A depthwise kernel is (height, width, 1, channels), as of a grouped convolution.
            found[name] = _follow(network, path), TENSORFLOW_CONVOLUTION
        else:
            found[name] = _follow(network, name.replace("conv.bias", "bias")), None
    return found


def _follow(module: Any, path: str) -> nnx.Variable:
    node: Any = module
    for part in path.split("."):
        node = node[int(part)] if part.isdigit() else getattr(node, part)
    assert isinstance(node, nnx.Variable)
    return node
