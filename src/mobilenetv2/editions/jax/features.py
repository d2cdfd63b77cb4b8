"""Backbone of the JAX edition, which gives a list of feature maps."""

from collections.abc import Sequence
from typing import Any, Protocol

import jax
from flax import nnx

from mobilenetv2.editions.feature_info import feature_info
from mobilenetv2.editions.heads import came_folded, warn_folded
from mobilenetv2.images.transform import ArrayTransform
from mobilenetv2.spec.records import ModelConfig


class Body(Protocol):
    """Parts of a network that its feature maps need."""

    @property
    def stem(self) -> Any:
        """First convolution, with BatchNorm and activation."""

    @property
    def blocks(self) -> Any:
        """Blocks in their order."""

    @property
    def body_config(self) -> ModelConfig:
        """Config that the network was built from, with its original classifier."""


class FeaturesOnly(nnx.Module):
    """Backbone from images (batch, height, width, channels) to a list of feature maps.

    It shares the network's stem and blocks, so that training one trains the other. It leaves out
    blocks that no map needs. ``feature_info`` is the table of the maps, ``config`` the network's
    config, ``transform`` its preprocessing.

    Args:
        network: the network.
        out_indices: indices of the maps to return, in this order; default: all.

    Raises:
        SpecError: the network has no feature map of an index.
    """

    def __init__(self, network: Body, out_indices: Sequence[int] | None = None) -> None:
        info = feature_info(network.body_config.spec, out_indices)
        last = max(-1 if found.block is None else found.block for found in info.chosen)
        self.feature_info, self.config = nnx.static(info), nnx.static(network.body_config)
        self.stem = network.stem
        self.blocks = nnx.List(network.blocks[: last + 1])

    @property
    def transform(self) -> ArrayTransform:
        """Preprocessing from a photo to a float32 array (height, width, channels)."""
        return ArrayTransform(self.config.preprocessing)

    def train(self, **attributes: Any) -> None:
        """Set training mode; warn if the BatchNorm is folded, since training would destroy it."""
        if came_folded(self.config):
            warn_folded()
        super().train(**attributes)

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        """Return the feature maps of normalised images (batch, height, width, channels)."""
        tensors = {"stem": self.stem(x)}
        y = tensors["stem"]
        for block in self.blocks:
            y = block(y, tensors)
        return [tensors[found.module] for found in self.feature_info.chosen]


def features_only(network: Body, out_indices: Sequence[int] | None = None) -> FeaturesOnly:
    """Return a backbone that gives a list of feature maps and shares the network's weights.

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
