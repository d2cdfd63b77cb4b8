"""The PyTorch edition as a predictor: uint8 pictures in, logits or pooled features out."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from mobilenetv2.editions.torch.network import MobileNetV2
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.spec.records import Preprocessing


def normalise(
    pictures: NDArray, record: Preprocessing, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """``(value - mean) / std`` on the device: the same numbers as :func:`images.normalise`.

    uint8 (batch, height, width, channels) -> float32 (batch, channels, height, width), in
    channels_last memory, which is how the pictures come and what convolutions like.
    """
    x = torch.from_numpy(np.ascontiguousarray(pictures)).to(device).permute(0, 3, 1, 2)
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1)
        for values in (record.mean, record.std)
    )
    return (x.float() - mean) / std


def predictor(
    network: MobileNetV2, device: str = "cpu", outputs: Literal["logits", "features"] = "logits"
) -> Callable[[NDArray], NDArray]:
    """A function from uint8 (batch, height, width, channels) to float32 (batch, outputs).

    The network goes to the device; each call puts it into evaluation mode.

    Raises:
        MobileNetV2Error: PyTorch cannot use the device here.
    """
    where = torch.device(check_device(device))
    network.place(where)

    def predict(pictures: NDArray) -> NDArray:
        network.eval()
        with torch.inference_mode():
            x = normalise(pictures, network.config.preprocessing, where)
            x = x.to(network.classifier.weight.dtype)
            y = network(x) if outputs == "logits" else network.features(x)
        return np.asarray(y.float().cpu().numpy())

    return predict


def intermediates(network: MobileNetV2, x: NDArray) -> dict[str, NDArray]:
    """Every named intermediate in evaluation mode.

    Args:
        x: (batch, height, width, channels), normalised.

    Returns:
        Feature maps (batch, height, width, channels), ``features`` and ``logits`` (batch, n).
    """
    weight = network.classifier.weight
    network.eval()
    with torch.inference_mode():
        y = torch.from_numpy(np.ascontiguousarray(x)).to(weight.device, weight.dtype)
        found = network.intermediates(y.permute(0, 3, 1, 2))
    return {
        name: (value.permute(0, 2, 3, 1) if value.ndim == 4 else value).cpu().numpy()
        for name, value in found.items()
    }


def check_device(name: str) -> str:
    """The device's name, if PyTorch can use it here.

    Raises:
        MobileNetV2Error: unknown, or not on this machine.
    """
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise MobileNetV2Error(
            f"--device {name}: PyTorch cannot use it here ({reason}); try cpu"
        ) from None
    return name
