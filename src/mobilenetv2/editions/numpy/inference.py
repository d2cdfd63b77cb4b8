"""The NumPy edition on pictures as they come: (batch, height, width, channels)."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.editions.numpy.network import MobileNetV2
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.images.normalise import normalise


def predictor(
    network: MobileNetV2, device: str = "cpu", outputs: Literal["logits", "features"] = "logits"
) -> Callable[[NDArray], NDArray]:
    """A function from uint8 (batch, height, width, channels) to float32 (batch, outputs).

    Raises:
        MobileNetV2Error: a device other than the CPU.
    """
    if device != "cpu":
        raise MobileNetV2Error(f"--device {device}: NumPy computes on the CPU only")

    def predict(pictures: NDArray) -> NDArray:
        x = normalise(pictures, network.config.preprocessing)
        return intermediates(network, x)[outputs].astype(np.float32)

    return predict


def intermediates(network: MobileNetV2, x: NDArray) -> dict[str, NDArray]:
    """Every named intermediate.

    Args:
        x: (batch, height, width, channels), normalised.

    Returns:
        Feature maps (batch, height, width, channels), ``features`` and ``logits`` (batch, n).
    """
    found = network.intermediates(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    return {
        name: value.transpose(0, 2, 3, 1) if value.ndim == 4 else value
        for name, value in found.items()
    }
