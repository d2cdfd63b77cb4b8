"""Diagrams of networks for Python: an SVG, which notebooks show and ``save`` writes."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenetv2.diagrams.block import block_description, block_title, draw_block
from mobilenetv2.diagrams.network import draw_network, network_description, network_title
from mobilenetv2.errors import SpecError, argument
from mobilenetv2.files import write_atomically
from mobilenetv2.networks.description import find_network
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

if TYPE_CHECKING:
    from mobilenetv2.networks.options import Network
    from mobilenetv2.spec.network import Size

NAME = "blocks."
"""Start of the canonical name of a block."""


@dataclass(frozen=True, slots=True, repr=False)
class Diagram:
    """A diagram of a network or of one of its blocks; ``str`` gives the SVG."""

    spec: NetworkSpec
    block: int | None = None
    """Index of the block, from 0; None for the whole network."""

    @property
    def svg(self) -> str:
        """The SVG file, whose title and description say in words what it shows."""
        return draw_network(self.spec) if self.block is None else draw_block(self.spec, self.block)

    @property
    def title(self) -> str:
        """Title of the diagram."""
        if self.block is None:
            return network_title(self.spec)
        return block_title(resolve(self.spec).blocks[self.block])

    @property
    def description(self) -> str:
        """Everything that the diagram shows, layer by layer, in words."""
        if self.block is None:
            return network_description(self.spec)
        return block_description(self.spec, resolve(self.spec).blocks[self.block])

    def save(self, path: str | PathLike[str]) -> None:
        """Write the SVG file; an existing file is replaced as a whole.

        Raises:
            OSError: the file cannot be written.
        """
        write_atomically(Path(path), self.svg)

    def __str__(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"Diagram({self.title})"

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return self.svg  # inside a page, screen readers find its title and description


def diagram(
    model: "str | PathLike[str] | NetworkSpec | ModelConfig | Network" = "torchvision",
    *,
    block: int | str | None = None,
    file: str | PathLike[str] | None = None,
    width: float | None = None,
    size: "int | Size | None" = None,
    classes: int | None = None,
) -> Diagram:
    """Draw a network, or one of its blocks, as an SVG.

    The width of a slab stands for the channels of a map, its height for the map's size. Light and
    dark screens get their own colours, and phones can show the diagram without zooming.

    Args:
        model: name of ``list_models``, model folder, JSON file of a spec, spec or config, or
            network of any edition.
        block: index of a block, from 0, or its name, such as 'blocks.3'. Default: the whole
            network.
        file: SVG file to write. Default: none is written.
        width: width multiplier; default: the model's.
        size: height and width of the input in pixels; default: the model's.
        classes: number of classes; default: the model's.

    Raises:
        SpecError: a name is unknown, a file has no spec, the network is impossible, or it does not
            have the block.
        WeightsError: a folder is not a model folder.
        MobileNetV2Error: ``model`` is an object of another type.
        OSError: the file cannot be written.

    Example:
        >>> mn.diagram("mobilenet_v2", block=3)
        Diagram(Block 3: inverted residual, stride 2)
        >>> picture = mn.diagram(mn.NetworkSpec(width=0.5), file="network.svg")
        >>> str(picture)[:4]
        '<svg'
    """
    spec, _ = find_network(model, width, size, classes, "diagram")
    found = Diagram(spec, None if block is None else _index(spec, block))
    if file is not None:
        found.save(file)
    return found


def _index(spec: NetworkSpec, block: int | str) -> int:
    """Return the index of a block that is given by its index or its name."""
    known = len(resolve(spec).blocks)
    text = str(block).removeprefix(NAME)
    is_number = not isinstance(block, bool) and text.isascii() and text.isdecimal()
    if is_number and len(text) <= len(str(known)) and int(text) < known:
        return int(text)
    raise SpecError(
        f"{argument('block', block)}: the network has no such block; it has {NAME}0 to "
        f"{NAME}{known - 1}"
    )
