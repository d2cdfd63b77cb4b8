"""Body of the PyTorch edition in the forms of torchvision (features) and timm (features_only)."""

from collections.abc import Sequence
from typing import Any, NoReturn, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mobilenetv2.editions.feature_info import feature_info
from mobilenetv2.editions.heads import came_folded, warn_folded
from mobilenetv2.images.preprocess import normalise
from mobilenetv2.images.transform import Transform
from mobilenetv2.spec.records import ModelConfig


class Body(Protocol):
    """Parts of a network that its feature maps need."""

    training: bool

    @property
    def stem(self) -> nn.Module:
        """First convolution, with BatchNorm and activation."""

    @property
    def blocks(self) -> nn.ModuleList:
        """Blocks in their order."""

    @property
    def body_config(self) -> ModelConfig:
        """Config that the network was built from, with its original classifier."""


class Features(nn.Sequential):
    """Sequence of the network's own stem, blocks and head, as in torchvision.

    It maps images (batch, channels, height, width) to the last feature map. The network's forward
    pass calls the modules themselves, so hooks are registered on the first or last of them.
    """

    folded = False
    """True if the network's BatchNorm is folded."""

    def train(self, mode: bool = True) -> Self:
        """Set training mode; warn if the BatchNorm is folded, since training would destroy it."""
        if mode and self.folded:
            warn_folded()
        return super().train(mode)

    def __setitem__(self, index: object, module: nn.Module) -> NoReturn:
        raise TypeError(
            "network.features is only a view of the network's modules; replace network.stem, "
            "network.blocks[N] or network.head instead"
        )

    def __delitem__(self, index: object) -> NoReturn:
        raise TypeError("network.features is only a view; modules cannot be deleted there")

    def register_forward_pre_hook(self, hook: Any, **options: Any) -> RemovableHandle:
        """Register a hook on the first module, which has the same input."""
        return self[0].register_forward_pre_hook(hook, **options)

    def register_forward_hook(self, hook: Any, **options: Any) -> RemovableHandle:
        """Register a hook on the last module, which has the same output."""
        return self[-1].register_forward_hook(hook, **options)

    def register_full_backward_hook(self, hook: Any, prepend: bool = False) -> RemovableHandle:
        """Register a backward hook on the last module, whose output has the same gradient."""
        return self[-1].register_full_backward_hook(hook, prepend)


class FeaturesOnly(nn.Module):
    """Backbone from images (batch, channels, height, width) to a list of feature maps.

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
        super().__init__()
        self.config = network.body_config
        self.feature_info = feature_info(self.config.spec, out_indices)
        last = max(-1 if found.block is None else found.block for found in self.feature_info.chosen)
        self.stem = network.stem
        self.blocks = nn.ModuleList(network.blocks[: last + 1])
        self.training = network.training

    @property
    def transform(self) -> "TensorTransform":
        """Preprocessing from a photo to a float32 tensor (channels, height, width)."""
        return TensorTransform(self.config.preprocessing)

    def train(self, mode: bool = True) -> Self:
        """Set training mode; warn if the BatchNorm is folded, since training would destroy it."""
        if mode and came_folded(self.config):
            warn_folded()
        return super().train(mode)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps of normalised images (batch, channels, height, width)."""
        wanted = [found.block for found in self.feature_info.chosen]
        x = self.stem(x)
        maps: dict[int | None, Tensor] = {None: x}
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in wanted:
                maps[index] = x
        return [maps[index] for index in wanted]


def features_only(network: Body, out_indices: Sequence[int] | None = None) -> FeaturesOnly:
    """Return a backbone that gives a list of feature maps and shares the network's weights.

    Training the backbone trains the network, too. Its maps are those of timm's
    ``features_only=True``: the last one of each resolution, without the head convolution.

    Args:
        network: the network.
        out_indices: indices of the maps to return, in this order, such as ``(2, 3, 4)``. Default:
            all, which is ``(0, 1, 2, 3, 4)`` for the published networks.

    Returns:
        A module from images (batch, channels, height, width) to a list of feature maps
        (batch, k, height / stride, ...). Its ``.feature_info`` is the table of channels and
        strides.

    Raises:
        SpecError: the network has no feature map of an index.

    Example:
        >>> import torch
        >>> from mobilenetv2.editions import torch as edition
        >>> network = edition.build(mn.NetworkSpec(width=0.35, size=64), seed=0)
        >>> backbone = edition.features_only(network, (2, 3, 4))
        >>> backbone.feature_info.channels(), backbone.feature_info.reduction()
        ([16, 32, 112], [8, 16, 32])
        >>> [tuple(found.shape) for found in backbone(torch.zeros(1, 3, 64, 64))]
        [(1, 16, 8, 8), (1, 32, 4, 4), (1, 112, 2, 2)]
    """
    return FeaturesOnly(network, out_indices)


class TensorTransform(Transform[Tensor]):
    """Transform from a photo to a float32 tensor (channels, height, width).

    Example:
        >>> from mobilenetv2.editions.torch.features import TensorTransform
        >>> transform = TensorTransform(mn.Preprocessing())
        >>> tuple(transform(photo).shape)
        (3, 224, 224)
    """

    __slots__ = ()

    def finish(self, picture: NDArray) -> Tensor:
        """Return a normalised float32 tensor (channels, height, width)."""
        planes = normalise(picture, self.preprocessing).transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(planes))
