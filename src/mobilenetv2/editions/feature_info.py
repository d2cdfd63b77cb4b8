"""Modules, channels and strides of the feature maps that a backbone returns.

The maps are those of timm's ``features_only=True``: the last one of each resolution, from the stem
to the last block. The output of the head convolution is not among them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import overload

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """Module, channels and stride of one feature map."""

    index: int
    """Index of the map, from 0."""
    module: str
    """Name of the module whose output it is: 'stem' or 'blocks.N'."""
    channels: int
    reduction: int
    """Stride of the map, in pixels of the input."""

    @property
    def block(self) -> int | None:
        """Number of the block whose output it is; None for the stem."""
        return None if self.module == "stem" else int(self.module.rpartition(".")[2])


def feature_maps(spec: NetworkSpec) -> tuple[FeatureMap, ...]:
    """Return the last feature map of each resolution, in the order in which they are computed.

    Args:
        spec: the network.

    Returns:
        Five maps for the published networks, at strides 2, 4, 8, 16 and 32; fewer or others
        where a spec has other strides.

    Raises:
        SpecError: the network is impossible.

    Example:
        >>> from mobilenetv2.editions.feature_info import feature_maps
        >>> [(found.channels, found.reduction) for found in feature_maps(mn.NetworkSpec())]
        [(16, 2), (24, 4), (32, 8), (96, 16), (320, 32)]
    """
    network = resolve(spec)
    ends: list[tuple[str, int, int]] = []
    module, channels, reduction = "stem", network.stem.out_channels, network.stem.stride
    for block in network.blocks:
        if block.stride > 1:
            ends.append((module, channels, reduction))
        module, channels = f"blocks.{block.index}", block.out_channels
        reduction *= block.stride
    ends.append((module, channels, reduction))
    return tuple(FeatureMap(index, *end) for index, end in enumerate(ends))


class FeatureInfo:
    """Table of the feature maps that a backbone returns, with timm's methods.

    As in timm, an index or a loop gives the network's maps, also those that are not returned.

    Args:
        maps: every feature map of the network.
        out_indices: indices of the maps to return, in this order; default: all.

    Raises:
        SpecError: the network has no feature map of an index.

    Example:
        >>> from mobilenetv2.editions.feature_info import FeatureInfo, feature_maps
        >>> info = FeatureInfo(feature_maps(mn.NetworkSpec()), (2, -1))
        >>> info.channels(), info.reduction(), info.module_name()
        ([32, 320], [8, 32], ['blocks.5', 'blocks.16'])
        >>> info
        FeatureInfo(2: blocks.5 32 channels /8, 4: blocks.16 320 channels /32)
    """

    def __init__(
        self, maps: Sequence[FeatureMap], out_indices: Sequence[int] | None = None
    ) -> None:
        self.maps = tuple(maps)
        chosen = range(len(self.maps)) if out_indices is None else out_indices
        if not len(chosen):
            raise SpecError("out_indices is empty; give at least one index of a feature map")
        self.out_indices = tuple(self._checked(index) for index in chosen)

    def _checked(self, index: int) -> int:
        count = len(self.maps)
        if isinstance(index, bool) or not isinstance(index, int) or not -count <= index < count:
            raise SpecError(
                f"out_indices {index!r} is no feature map; the network has {count}, "
                f"0 to {count - 1}"
            )
        return index % count

    @property
    def chosen(self) -> tuple[FeatureMap, ...]:
        """Maps that the backbone returns, in their order."""
        return tuple(self.maps[index] for index in self.out_indices)

    @overload
    def channels(self, index: None = None) -> list[int]: ...
    @overload
    def channels(self, index: int) -> int: ...
    def channels(self, index: int | None = None) -> list[int] | int:
        """Return the channels of the returned maps, or of the network's map ``index``."""
        if index is None:
            return [found.channels for found in self.chosen]
        return self.maps[self._checked(index)].channels

    @overload
    def reduction(self, index: None = None) -> list[int]: ...
    @overload
    def reduction(self, index: int) -> int: ...
    def reduction(self, index: int | None = None) -> list[int] | int:
        """Return the strides of the returned maps, or of the network's map ``index``."""
        if index is None:
            return [found.reduction for found in self.chosen]
        return self.maps[self._checked(index)].reduction

    @overload
    def module_name(self, index: None = None) -> list[str]: ...
    @overload
    def module_name(self, index: int) -> str: ...
    def module_name(self, index: int | None = None) -> list[str] | str:
        """Return the modules of the returned maps, or of the network's map ``index``."""
        if index is None:
            return [found.module for found in self.chosen]
        return self.maps[self._checked(index)].module

    def to_dict(self) -> list[dict[str, str | int]]:
        """Return one mapping for each returned map, for JSON."""
        return [asdict(found) for found in self.chosen]

    def get_dicts(self) -> list[dict[str, str | int]]:
        """Return the rows of the returned maps under timm's names."""
        return [self[index] for index in self.out_indices]

    def __getitem__(self, index: int) -> dict[str, str | int]:
        """Return the row of the network's map ``index`` under timm's names."""
        found = self.maps[index]
        return {
            "num_chs": found.channels, "reduction": found.reduction, "module": found.module,
            "index": found.index,
        }  # fmt: skip

    def __iter__(self) -> Iterator[dict[str, str | int]]:
        return (self[index] for index in range(len(self)))

    def __len__(self) -> int:
        return len(self.maps)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FeatureInfo):
            return NotImplemented
        return (self.maps, self.out_indices) == (other.maps, other.out_indices)

    def __hash__(self) -> int:
        return hash((self.maps, self.out_indices))

    def __repr__(self) -> str:
        rows = (f"{m.index}: {m.module} {m.channels} channels /{m.reduction}" for m in self.chosen)
        return f"FeatureInfo({', '.join(rows)})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{m.index}</td><td>{m.module}</td><td>{m.channels}</td>"
            f"<td>{m.reduction}</td></tr>"
            for m in self.chosen
        )
        head = "<tr><th>index</th><th>module</th><th>channels</th><th>stride</th></tr>"
        return f"<table>{head}{rows}</table>"


def feature_info(spec: NetworkSpec, out_indices: Sequence[int] | None = None) -> FeatureInfo:
    """Return the table of the feature maps of a backbone.

    Args:
        spec: the network.
        out_indices: indices of the maps to return, in this order; default: all.

    Raises:
        SpecError: the network has no feature map of an index.
    """
    return FeatureInfo(feature_maps(spec), out_indices)
