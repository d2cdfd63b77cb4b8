"""The JAX edition as a backbone that gives a list of feature maps."""

from collections.abc import Sequence
from typing import Any, Protocol

import jax
from flax import nnx

from mobilenetv2.editions.feature_info import feature_info
from mobilenetv2.spec.network import NetworkSpec


class Body(Protocol):
    """The network, as far as its feature maps need it."""

    @property
    def stem(self) -> Any:
        """The first convolution."""

    @property
    def blocks(self) -> Any:
        """The blocks."""

    @property
    def body_spec(self) -> NetworkSpec:
        """The spec whose body it is."""


class FeaturesOnly(nnx.Module):
    """A network as a backbone: (batch, height, width, channels) -> a list of feature maps.

    It has the network's own stem and blocks: weights are shared, and training one trains the other.
    What no map needs is neither held nor computed. ``feature_info`` is the table of the maps.

    Args:
        network: the network.
        out_indices: maps that are returned, in this order; None is all of them.

    Raises:
        SpecError: an index is no number of a feature map.
    """

    def __init__(self, network: Body, out_indices: Sequence[int] | None = None) -> None:
        info = feature_info(network.body_spec, out_indices)
        last = max(-1 if found.block is None else found.block for found in info.chosen)
        self.feature_info = nnx.static(info)
        self.stem = network.stem
        self.blocks = nnx.List(network.blocks[: last + 1])

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        """Return the maps of pictures (batch, height, width, channels), normalised."""
        tensors = {"stem": self.stem(x)}
        y = tensors["stem"]
        for block in self.blocks:
            y = block(y, tensors)
        return [tensors[found.module] for found in self.feature_info.chosen]


def features_only(network: Body, out_indices: Sequence[int] | None = None) -> FeaturesOnly:
    """Return the network as a backbone that gives a list of feature maps; weights are shared.

    The arguments are those of :meth:`mobilenetv2.editions.edition.Edition.features_only`.

    Example:
        # needs: jax
        >>> import numpy as np
        >>> from mobilenetv2.editions import jax as edition
        >>> network = edition.build(mn.NetworkSpec(width=0.35, size=64))
        >>> backbone = edition.features_only(network, (3, 4))
        >>> [found.shape for found in backbone(np.zeros((1, 64, 64, 3), np.float32))]
        [(1, 4, 4, 32), (1, 2, 2, 112)]
    """
    return FeaturesOnly(network, out_indices)
