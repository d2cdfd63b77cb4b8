"""The PyTorch edition's body for other people's code: torchvision's and timm's features."""

from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mobilenetv2.editions.feature_info import feature_info
from mobilenetv2.images.preprocess import normalise
from mobilenetv2.images.transform import Transform
from mobilenetv2.spec.network import NetworkSpec


class Body(Protocol):
    """The network, as far as its feature maps need it."""

    training: bool

    @property
    def stem(self) -> nn.Module:
        """The first convolution."""

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks."""

    @property
    def body_spec(self) -> NetworkSpec:
        """The spec whose body it is."""


class Features(nn.Sequential):
    """Stem, blocks and head in a row: the modules of the network themselves, as in torchvision.

    (batch, channels, height, width) -> the last feature map (batch, channels, ...). A network is
    computed without it, so that a hook is put on the first or the last of the modules.
    """

    def __setitem__(self, index: object, module: nn.Module) -> NoReturn:
        raise TypeError(
            "features shows the network's modules; replace network.stem, network.blocks[N] or "
            "network.head instead"
        )

    def __delitem__(self, index: object) -> NoReturn:
        raise TypeError("features shows the network's modules; none of them can be deleted there")

    def register_forward_pre_hook(self, hook: Any, **options: Any) -> RemovableHandle:
        """Register a hook of the first module: it takes the same pictures."""
        return self[0].register_forward_pre_hook(hook, **options)

    def register_forward_hook(self, hook: Any, **options: Any) -> RemovableHandle:
        """Register a hook of the last module: it returns the same map."""
        return self[-1].register_forward_hook(hook, **options)

    def register_full_backward_hook(self, hook: Any, prepend: bool = False) -> RemovableHandle:
        """Register a backward hook of the last module: its output has the same gradient."""
        return self[-1].register_full_backward_hook(hook, prepend)


class FeaturesOnly(nn.Module):
    """A network as a backbone: (batch, channels, height, width) -> a list of feature maps.

    It has the network's own stem and blocks: weights are shared, and training one trains the other.
    What no map needs is neither held nor computed. ``feature_info`` is the table of the maps.

    Args:
        network: the network.
        out_indices: maps that are returned, in this order; None is all of them.

    Raises:
        SpecError: an index is no number of a feature map.
    """

    def __init__(self, network: Body, out_indices: Sequence[int] | None = None) -> None:
        super().__init__()
        self.feature_info = feature_info(network.body_spec, out_indices)
        last = max(-1 if found.block is None else found.block for found in self.feature_info.chosen)
        self.stem = network.stem
        self.blocks = nn.ModuleList(network.blocks[: last + 1])
        self.training = network.training

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of pictures (batch, channels, height, width), normalised."""
        wanted = [found.block for found in self.feature_info.chosen]
        x = self.stem(x)
        maps: dict[int | None, Tensor] = {None: x}
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in wanted:
                maps[index] = x
        return [maps[index] for index in wanted]


def features_only(network: Body, out_indices: Sequence[int] | None = None) -> FeaturesOnly:
    """Return the network as a backbone that gives a list of feature maps.

    The backbone shares the network's weights, it does not copy them. Its maps are those of timm's
    ``features_only=True``: the last one of each resolution, without the head convolution.

    Args:
        network: the network.
        out_indices: maps that are returned, in this order, such as ``(2, 3, 4)``; None is all of
            them: ``(0, 1, 2, 3, 4)`` for the published networks.

    Returns:
        A module (batch, channels, height, width) -> list of (batch, k, height / stride, ...), with
        the table of channels and strides as ``.feature_info``.

    Raises:
        SpecError: an index is no number of a feature map.

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
    """The transform to a float32 tensor (channels, height, width).

    Example:
        >>> from mobilenetv2.editions.torch.features import TensorTransform
        >>> transform = TensorTransform(mn.Preprocessing())
        >>> tuple(transform(photo).shape)
        (3, 224, 224)
    """

    __slots__ = ()

    def finish(self, picture: NDArray) -> Tensor:
        """Return the picture normalised: float32 (channels, height, width)."""
        planes = normalise(picture, self.preprocessing).transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(planes))
