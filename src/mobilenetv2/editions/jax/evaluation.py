"""One pass through a network of the JAX edition that leaves it as it is."""

from typing import Any

import jax
import numpy as np
from flax import nnx

from mobilenetv2.editions.edition import COARSE, ROUNDING, Draw, Evaluated
from mobilenetv2.spec.network import Size


def evaluate(network: nnx.Module, draw: Draw, size: Size) -> Evaluated:
    """Pass random images through a copy of the network in evaluation mode."""
    images, copy = draw(size), nnx.clone(network)
    copy.eval()
    dtype = jax.tree.leaves(nnx.state(copy, nnx.Param))[0].dtype
    outputs = np.asarray(_run(copy, images.astype(dtype)), np.float32)
    on_cpu = jax.default_backend() == "cpu"
    return Evaluated(images, outputs, ROUNDING.get(str(dtype), COARSE) if on_cpu else COARSE)


@nnx.jit
def _run(network: Any, x: jax.Array) -> jax.Array:
    y: jax.Array = network(x)
    return y
