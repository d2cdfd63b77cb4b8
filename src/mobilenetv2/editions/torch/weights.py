"""Tensors of the PyTorch edition by their canonical names."""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from mobilenetv2.editions.edition import Dtype
from mobilenetv2.editions.heads import Head
from mobilenetv2.model.arrays import Arrays, check_arrays
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.names import is_classifier
from mobilenetv2.spec.network import NetworkSpec


class Described(Protocol):
    """Parts of a network that reading and writing its weights need."""

    @property
    def spec(self) -> NetworkSpec:
        """Spec of the network, with its present classifier."""

    def describe_classifier(self) -> Head[nn.Linear]:
        """Return the spec with the present classifier, and its linear layers."""

    def state_dict(self) -> dict[str, Any]:
        """Return the tensors by PyTorch's names."""


BATCH_NORM = {
    "bn.scale": "bn.weight",
    "bn.shift": "bn.bias",
    "bn.mean": "bn.running_mean",
    "bn.variance": "bn.running_var",
}
"""Canonical name to PyTorch's name. ``num_batches_tracked`` has no canonical name, since only a
BatchNorm without momentum needs it, which this network does not have."""

_BACK = {theirs: ours for ours, theirs in BATCH_NORM.items()}


def load(network: Described, arrays: Arrays, where: str = "weights") -> None:
    """Copy canonical arrays into a network; it stays on its device."""
    check_arrays(network.spec, arrays, where)
    assign(network, arrays)


def assign(network: Described, arrays: Arrays) -> None:
    """Copy some canonical arrays into a network without a check."""
    state = tensors(network)
    with torch.no_grad():
        for name, array in arrays.items():
            state[name].copy_(torch.tensor(np.asarray(array)))


def dump(network: Described, dtype: Dtype = "float32") -> Arrays:
    """Return the canonical arrays of a network, on the CPU."""
    return {
        name: tensor.to("cpu", getattr(torch, dtype)).numpy().copy()
        for name, tensor in tensors(network).items()
    }


def tensors(network: Described) -> dict[str, Tensor]:
    """Return the network's own tensors by their canonical names.

    Raises:
        SpecError: no spec can describe the classifier.
    """
    found = {
        _renamed(name, _BACK): tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked") and not is_classifier(name)
    }
    head = network.describe_classifier()
    for linear, layer in zip(resolve(head.spec).linears, head.layers, strict=True):
        found[f"{linear.name}.weight"] = layer.weight.detach()
        if linear.bias:
            found[f"{linear.name}.bias"] = layer.bias.detach()
    return found


def _renamed(name: str, table: dict[str, str]) -> str:
    for old, new in table.items():
        if name.endswith(f".{old}"):
            return name.removesuffix(old) + new
    return name
