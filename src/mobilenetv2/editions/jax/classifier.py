"""The classifier of the JAX edition, or one that a user put in its place, as a list of parts."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
from flax import nnx

from mobilenetv2.editions.heads import ActivationPart, DropoutPart, LinearPart, OtherPart, Part
from mobilenetv2.editions.jax.layers import ACTIVATIONS, Linear


def list_parts(modules: Iterable[Any]) -> Iterator[Part[Any]]:
    """Yield what runs behind the pooled features, as :mod:`mobilenetv2.editions.heads` has it."""
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
