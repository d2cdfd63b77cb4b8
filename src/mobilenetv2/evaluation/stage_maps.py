"""Feature maps of a photo at the end of each stage: the strongest channels, and their drawing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.editions import numpy as edition
from mobilenetv2.errors import ArtifactError
from mobilenetv2.evaluation.gradcam import colours
from mobilenetv2.images.display import Legend, Tile, enlarge_picture, sheet_of_rows
from mobilenetv2.images.preprocess import normalise
from mobilenetv2.model import store
from mobilenetv2.model.outputs import require_finite
from mobilenetv2.networks.given_model import AnyModel, located
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec

STRONGEST = 6
"""Number of channels that are shown of each stage."""
SIDE = 180
"""Longer side of a drawn map in pixels."""
TEXT = (
    "One row for each stage's output, with the channels whose values vary most over the photo. "
    "Each map has its own colour scale."
)
"""Legend of a drawing."""
STEM, HEAD = "stem", "head"


@dataclass(frozen=True, slots=True, repr=False)
class StageMaps:
    """The strongest channels of the output of a stage, of the stem or of the head."""

    name: str
    """Name of the output: 'stem', 'stage 1' ..., 'head'."""
    channels: int
    """Number of all channels of the output."""
    strongest: tuple[int, ...]
    """Indices of the channels in ``maps``, the strongest first."""
    maps: NDArray
    """Values of these channels, float32 (number, height', width')."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the map."""
        height, width = self.maps.shape[1:]
        return height, width

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON, without those of the maps."""
        return {
            "name": self.name, "channels": self.channels, "size": list(self.size),
            "strongest": list(self.strongest),
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"StageMaps({self.name}: {_map_words(self)})"


def _map_words(one: StageMaps) -> str:
    height, width = one.size
    return f"{height} x {width}, {one.channels:,} channel{'s' * (one.channels != 1)}"


def stage_outputs(spec: NetworkSpec) -> dict[str, str]:
    """Return the tensors whose maps are shown: 'stem', 'stage 1' ..., 'head' -> tensor's name."""
    network = resolve(spec)
    found = {STEM: network.stem.name}
    found |= {f"stage {one.stage + 1}": f"blocks.{one.index}" for one in network.blocks}
    return found | ({HEAD: network.head.name} if network.head else {})


def strongest(maps: NDArray, count: int = STRONGEST) -> list[int]:
    """Return the channels with the largest standard deviation over the map, the largest first.

    A channel that is the same everywhere shows nothing of the photo, however large its values are.
    Among channels with equal deviations, as in a map of a single cell, the one with the largest
    absolute mean comes first, then the one with the lowest index.

    Args:
        maps: one image's map, float (height', width', channels).
        count: number of channels.
    """
    values = maps.astype(np.float64)
    order = np.lexsort((-np.abs(values.mean((0, 1))), -values.std((0, 1))))
    return [int(index) for index in order[:count]]


def load_stage_maps(model: AnyModel) -> Callable[[NDArray], tuple[StageMaps, ...]]:
    """Load a model, and return a function from an image to the maps of its stages.

    The NumPy edition computes them. Memory: all maps of the network for one image.

    Args:
        model: model folder, catalogue name, ``hf://OWNER/NAME``, 'embedded', network or run.

    Returns:
        A function from an image before normalisation, uint8 (height, width, channels).

    Raises:
        WeightsError: the model cannot be downloaded or read.
        ArtifactError: the model is an exported file, which does not give these maps.
    """
    with located(model) as given:
        if given.place.is_file():
            raise ArtifactError(
                f"{given.place}: an exported file does not give the maps of its stages; use the "
                "model folder that it was exported from"
            )
        config, arrays = store.load(given.place)
        where = given.name
    network = edition.MobileNetV2(config)
    edition.load(network, arrays, where)

    def compute(picture: NDArray) -> tuple[StageMaps, ...]:
        tensors = edition.intermediates(network, normalise(picture[None], config.preprocessing))
        made = []
        for name, tensor in stage_outputs(config.spec).items():
            maps = require_finite(tensors[tensor], where)[0]
            chosen = strongest(maps)
            planes = np.ascontiguousarray(maps[..., chosen].transpose(2, 0, 1), np.float32)
            made.append(StageMaps(name, maps.shape[-1], tuple(chosen), planes))
        return tuple(made)

    return compute


def draw_stage_maps(picture: NDArray, name: str, stages: Sequence[StageMaps]) -> bytes:
    """Return a PNG file with a row for each stage: the photo, then the maps beside it.

    Args:
        picture: the image, uint8 (height, width, channels).
        name: name of the photo, for the legend.
        stages: maps of the stages.
    """
    large = enlarge_picture(picture, SIDE)
    rows = []
    for stage in stages:
        row = [Tile(large, stage.name.capitalize(), _map_words(stage))]
        for channel, values in zip(stage.strongest, stage.maps, strict=True):
            row.append(Tile(coloured(values, *large.shape[:2]), "", f"channel {channel}"))
        rows.append(row)
    strip = np.asarray(colours(np.linspace(0, 1, 64)), np.uint8)
    return sheet_of_rows(rows, Legend(f"{name}. {TEXT}", strip, "lowest", "highest"))


def coloured(values: NDArray, height: int, width: int) -> NDArray:
    """Return a map in colours from its lowest to its highest value, as squares without blur.

    Args:
        values: float (height', width'); if all are equal, the lowest colour is shown.
        height: height of the drawing in pixels.
        width: width of the drawing in pixels.

    Returns:
        uint8 (height, width, 3).
    """
    low, high = float(values.min()), float(values.max())
    share = (values - low) / (high - low) if high > low else np.zeros_like(values)
    image = Image.fromarray(np.asarray(np.rint(colours(share)), np.uint8))
    return np.asarray(image.resize((width, height), Image.Resampling.NEAREST))
