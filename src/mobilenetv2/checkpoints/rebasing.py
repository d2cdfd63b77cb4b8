"""Measured statistics for a network whose BatchNorm came folded, when it is imported or trained.

:mod:`mobilenetv2.model.folding` says why and how. They are measured on the user's photos, or on
views of six photos that are in the package (``photos/SOURCES.md``).
"""

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.editions.numpy import MobileNetV2
from mobilenetv2.images.decode import decode, read_photo
from mobilenetv2.images.preprocess import engine_input, preprocess
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.folding import Moments
from mobilenetv2.model.folding import rebase as rebase_arrays
from mobilenetv2.progress import track
from mobilenetv2.spec.blocks import Convolution
from mobilenetv2.spec.network import SMALLEST_SIZE, NetworkSpec, Size
from mobilenetv2.spec.records import ModelConfig, Origin, Preprocessing, RebasedOn

VIEWS, MOST_VIEWS = 5, 20
"""Views of each photo in the package: of 224 x 224 pixels, and of small ones."""
SMALLEST_VIEW = 0.15
"""Share of a photo's area."""
MOST_PHOTOS = 64
"""The most of the user's photos that are measured on."""
MOST_PIXELS = 512 * 512
"""Networks that see larger pictures are measured on smaller ones: an import stays quick."""
UPDATE_RATE = 0.1
"""The least share that a new batch has in the running statistics of a rebased network. No file of
folded weights says one, and at TensorFlow's 0.003 the statistics never follow a training of a few
steps: benchmarks/own-loop.md has the figures."""
BATCH = 4 * 224 * 224
"""Pixels of the pictures that a thread holds at a time."""


def rebase_imported(
    config: ModelConfig, arrays: Arrays, photos: Sequence[Path] = ()
) -> tuple[ModelConfig, Arrays]:
    """Return a network whose BatchNorm came folded with statistics of such photos in it."""
    record = config.preprocessing.at(measured_size(config.preprocessing.size))
    if photos:
        used = photos[:: -(-len(photos) // MOST_PHOTOS)]
        given = [preprocess(read_photo(path), record, str(path)) for path in used]
        return rebase_on(given, "given photos", config, arrays)
    return rebase_on(built_in_views(record), "built-in photos", config, arrays)


def measured_size(size: Size) -> Size:
    """Return the size at which a network of that one is measured, of the same shape."""
    shrunk = min(1.0, (MOST_PIXELS / (size[0] * size[1])) ** 0.5)
    height, width = (max(SMALLEST_SIZE, round(side * shrunk)) for side in size)
    return height, width


def rebase_on(
    pictures: Sequence[NDArray], kind: RebasedOn, config: ModelConfig, arrays: Arrays
) -> tuple[ModelConfig, Arrays]:
    """Return the network with the statistics of some pictures; it computes what it did before.

    In training they move by at least :data:`UPDATE_RATE` of the way to those of a new batch.

    Args:
        pictures: uint8 (height, width, channels), at least one, all of one size.
        kind: where they are from.
        arrays: canonical, of any BatchNorm; they stay as they are.
    """
    origin = config.origin or Origin("unknown")
    note = f"BatchNorm rebased on {len(pictures)} views of {kind}."
    old = origin.note.partition("BatchNorm rebased on ")[0]
    origin = dataclasses.replace(
        origin, folded=False, rebased_on=kind, note=f"{old.strip()} {note}".strip()
    )
    moments = measure_moments(config, arrays, pictures)
    rebased = rebase_arrays(config.spec, arrays, moments)
    return dataclasses.replace(config, spec=_following(config.spec), origin=origin), rebased


def _following(spec: NetworkSpec) -> NetworkSpec:
    """Return the network with statistics that follow its training."""
    numerics = spec.numerics
    if numerics.update_rate >= UPDATE_RATE:
        return spec
    momentum = UPDATE_RATE if numerics.momentum_of == "new" else 1 - UPDATE_RATE
    return spec.replace(numerics=dataclasses.replace(numerics, momentum=momentum))


def built_in_views(record: Preprocessing) -> list[NDArray]:
    """Return views of the photos in the package as a network takes them, the same every time.

    With views, few photos are nearly as good as many: docs/decisions/files.md has the figures.
    """
    folder = files("mobilenetv2.checkpoints") / "photos"
    found = {item.name: item for item in folder.iterdir() if item.name.endswith(".jpg")}
    images = [decode(found[name].read_bytes(), name) for name in sorted(found)]
    views = round(VIEWS * 224 * 224 / (record.size[0] * record.size[1]))
    return [
        preprocess(draw_view(image, np.random.default_rng([number, index])), record)
        for number in range(min(max(views, 1), MOST_VIEWS))
        for index, image in enumerate(images)
    ]


def draw_view(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Return a crop of any place, size and shape, mirrored or not."""
    area = random.uniform(SMALLEST_VIEW, 1) * image.width * image.height
    shape = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
    width = min(image.width, round((area * shape) ** 0.5))
    height = min(image.height, round((area / shape) ** 0.5))
    left = int(random.integers(image.width - width + 1))
    top = int(random.integers(image.height - height + 1))
    view = image.crop((left, top, left + width, top + height))
    if random.random() < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return view


class Measuring(MobileNetV2):
    """The network in NumPy, so that no framework is needed; it sums what enters BatchNorms."""

    def __init__(self, config: ModelConfig, arrays: Arrays) -> None:
        self.config, self.arrays, self.dtype = config, arrays, np.dtype(np.float32)
        self.sums: dict[str, NDArray] = {}
        """Name of a convolution -> float64 (3, channels): count, sum and sum of squares."""

    def convolve(self, layer: Convolution, x: NDArray) -> NDArray:
        """Return the convolution of ``x``, and note it."""
        y = super().convolve(layer, x)
        count = np.full(y.shape[1], y.size // y.shape[1], np.float64)
        squares = np.einsum("nchw,nchw->c", y, y, dtype=np.float64)
        self.sums[layer.name] = np.stack([count, y.sum((0, 2, 3), dtype=np.float64), squares])
        return y


def measure_moments(
    config: ModelConfig, arrays: Arrays, pictures: Sequence[NDArray] | NDArray
) -> dict[str, Moments]:
    """Return the statistics of every BatchNorm's input, by the name of its convolution.

    ``pictures`` are uint8 (height, width, channels), at least one, all of one size.
    """
    count = max(1, BATCH // (pictures[0].shape[0] * pictures[0].shape[1]))
    batches = [np.stack([*pictures[i : i + count]]) for i in range(0, len(pictures), count)]
    total: dict[str, NDArray] = {}

    @np.errstate(over="ignore", invalid="ignore")  # a stranger's weights may overflow
    def sums_of(batch: NDArray) -> dict[str, NDArray]:
        network = Measuring(config, arrays)
        network(engine_input(batch, config.preprocessing))
        return network.sums

    # NumPy releases the interpreter's lock for most of it.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        found = threads.map(sums_of, batches)
        for sums in track(found, "measuring BatchNorm", len(pictures), count):
            total = {name: total.get(name, 0) + array for name, array in sums.items()}
    return {name: _moments(*array) for name, array in total.items()}


def _moments(count: NDArray, first: NDArray, second: NDArray) -> Moments:
    mean = first / count
    return Moments(mean, np.maximum(second / count - mean**2, 0))
