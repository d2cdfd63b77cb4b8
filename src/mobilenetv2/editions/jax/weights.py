"""Canonical weights into the JAX edition and out of it."""

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from flax import nnx

from mobilenetv2.editions.edition import Dtype
from mobilenetv2.model.arrays import Arrays, check
from mobilenetv2.model.layout import TENSORFLOW_CONVOLUTION, TENSORFLOW_LINEAR, Layout
from mobilenetv2.spec.names import parameter_shapes

if TYPE_CHECKING:
    from mobilenetv2.editions.jax.network import MobileNetV2

LAYOUTS: dict[str, tuple[str, Layout]] = {
    "conv.weight": ("kernel", TENSORFLOW_CONVOLUTION),
    "classifier.weight": ("classifier.kernel", TENSORFLOW_LINEAR),
}
"""End of a canonical name -> end of the path in the network, layout there. A depthwise kernel is
(height, width, 1, channels): a convolution in as many groups, so its layout is no other."""


def load(network: "MobileNetV2", arrays: Arrays, where: str = "weights") -> None:
    """Copy canonical arrays into the network, in place; its dtype stays.

    Raises:
        WeightsError: the arrays are not exactly the network's, with the whole difference.
    """
    check(network.spec, arrays, where)
    assign(network, arrays)


def assign(network: "MobileNetV2", arrays: Arrays) -> None:
    """:func:`load` for some of the network's tensors, unchecked."""
    for name, array in arrays.items():
        variable, layout = _variable(network, name)
        value = layout.from_canonical(np.asarray(array)) if layout else np.asarray(array)
        variable[...] = jnp.asarray(value, variable.dtype)


def dump(network: "MobileNetV2", dtype: Dtype = "float32") -> Arrays:
    """The network's weights as canonical arrays: copies."""
    arrays: Arrays = {}
    for name in parameter_shapes(network.spec):
        variable, layout = _variable(network, name)
        array = np.asarray(variable[...], dtype)
        arrays[name] = layout.to_canonical(array) if layout else array.copy()
    return arrays


def _variable(network: "MobileNetV2", name: str) -> tuple[nnx.Variable, Layout | None]:
    """Where a canonical tensor lives, and how it lies there."""
    for end, (theirs, layout) in LAYOUTS.items():
        if name.endswith(end):
            return _follow(network, name.removesuffix(end) + theirs), layout
    return _follow(network, name.replace("conv.bias", "bias")), None


def _follow(module: nnx.Module, path: str) -> nnx.Variable:
    found = module
    for part in path.split("."):
        found = found[int(part)] if part.isdigit() else getattr(found, part)
    assert isinstance(found, nnx.Variable)
    return found
