"""The JAX edition as a predictor: uint8 pictures in, logits or pooled features out."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from mobilenetv2.editions.jax.network import MobileNetV2
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.images.normalise import normalise
from mobilenetv2.spec.names import intermediate_names


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
    """A function from uint8 (batch, height, width, channels) to float32 (batch, outputs).

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
    """Every named intermediate in evaluation mode.

    Args:
        x: (batch, height, width, channels), normalised.

    Returns:
        Feature maps (batch, height, width, channels), ``features`` and ``logits`` (batch, n).
    """
    network.eval()
    found = _intermediates(network, jnp.asarray(x, network.dtype))
    # jit sorts a dict's keys.
    return {name: np.asarray(found[name]) for name in intermediate_names(network.spec)}
