"""Canonical weights into the PyTorch edition and out of it."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from mobilenetv2.editions.edition import Dtype
from mobilenetv2.model.arrays import Arrays, check

if TYPE_CHECKING:
    from mobilenetv2.editions.torch.network import MobileNetV2

BATCH_NORM = {
    "bn.scale": "bn.weight",
    "bn.shift": "bn.bias",
    "bn.mean": "bn.running_mean",
    "bn.variance": "bn.running_var",
}
"""Canonical -> PyTorch. ``num_batches_tracked`` has no canonical name: it only matters to a
BatchNorm without momentum, which this network does not have."""

_BACK = {theirs: ours for ours, theirs in BATCH_NORM.items()}


def load(network: "MobileNetV2", arrays: Arrays, where: str = "weights") -> None:
    """Copy canonical arrays into the network, in place; its device and dtype stay.

    Raises:
        WeightsError: the arrays are not exactly the network's, with the whole difference.
    """
    check(network.spec, arrays, where)
    assign(network, arrays)


def assign(network: "MobileNetV2", arrays: Arrays) -> None:
    """:func:`load` for some of the network's tensors, unchecked."""
    state = network.state_dict()
    with torch.no_grad():
        for name, array in arrays.items():
            state[_renamed(name, BATCH_NORM)].copy_(torch.tensor(np.asarray(array)))


def dump(network: "MobileNetV2", dtype: Dtype = "float32") -> Arrays:
    """The network's weights as canonical arrays on the CPU: copies."""
    return {
        _renamed(name, _BACK): tensor.detach().to("cpu", getattr(torch, dtype)).numpy().copy()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def _renamed(name: str, table: dict[str, str]) -> str:
    for old, new in table.items():
        if name.endswith(f".{old}"):
            return name.removesuffix(old) + new
    return name
