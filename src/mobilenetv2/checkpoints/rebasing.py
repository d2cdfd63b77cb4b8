"""Measured statistics for a network whose BatchNorm is folded, on import or before training.

:mod:`mobilenetv2.model.folding` has the reason and the method. The statistics are measured on the
user's photos, or on views of six photos in the package (``photos/SOURCES.md``).
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
"""Number of views of each packaged photo: at 224 x 224 pixels, and the maximum."""
SMALLEST_VIEW = 0.15
"""Smallest fraction of a photo's area in a view."""
MOST_PHOTOS = 64
"""Maximum number of the user's photos that are used."""
MOST_PIXELS = 512 * 512
"""Maximum number of pixels of an image, to save time with larger networks."""
UPDATE_RATE = 0.1
"""Smallest share of a new batch in the running statistics of a rebased network.

No file of folded weights has one. At TensorFlow's 0.003 the statistics do not follow a training of
a few steps: benchmarks/own-loop.md has the figures.
"""
BATCH = 4 * 224 * 224
"""Number of pixels that a thread processes at a time."""


def rebase_imported(
    config: ModelConfig, arrays: Arrays, photos: Sequence[Path] = ()
) -> tuple[ModelConfig, Arrays]:
    """Return a network with measured statistics in place of those of a folded BatchNorm.

    Args:
        photos: the user's photos; empty means those in the package.

    Raises:
        ImageError: a photo cannot be read.
    """
    record = config.preprocessing.at(measured_size(config.preprocessing.size))
    if photos:
        used = photos[:: -(-len(photos) // MOST_PHOTOS)]
        given = [preprocess(read_photo(path), record, str(path)) for path in used]
        return rebase_on(given, "given photos", config, arrays)
    return rebase_on(built_in_views(record), "built-in photos", config, arrays)


def measured_size(size: Size) -> Size:
    """Return the size at which a network is measured, with the same aspect ratio."""
    shrunk = min(1.0, (MOST_PIXELS / (size[0] * size[1])) ** 0.5)
    height, width = (max(SMALLEST_SIZE, round(side * shrunk)) for side in size)
    return height, width


def rebase_on(
    pictures: Sequence[NDArray], kind: RebasedOn, config: ModelConfig, arrays: Arrays
) -> tuple[ModelConfig, Arrays]:
    """Return the network with statistics measured on images; its outputs stay the same.

    In training they move by at least :data:`UPDATE_RATE` of the way to those of a new batch.

    Args:
        pictures: uint8 (height, width, channels), at least one, all of one size.
        kind: source of the images.
        arrays: canonical, with any BatchNorm; they are not changed.
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
    """Return views of the photos in the package, preprocessed and always the same.

    A few photos with views are nearly as good as many photos: docs/decisions/files.md has the
    figures.
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
    """Return a random crop of any place, size and aspect ratio, mirrored or not."""
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
    """NumPy edition of the network that also sums the inputs of its BatchNorms."""

    def __init__(self, config: ModelConfig, arrays: Arrays) -> None:
        self.config, self.arrays, self.dtype = config, arrays, np.dtype(np.float32)
        self.sums: dict[str, NDArray] = {}
        """Count, sum and sum of squares as float64 (3, channels), by convolution."""

    def convolve(self, layer: Convolution, x: NDArray) -> NDArray:
        """Return the convolution of ``x``, and record its statistics."""
        y = super().convolve(layer, x)
        count = np.full(y.shape[1], y.size // y.shape[1], np.float64)
        squares = np.einsum("nchw,nchw->c", y, y, dtype=np.float64)
        self.sums[layer.name] = np.stack([count, y.sum((0, 2, 3), dtype=np.float64), squares])
        return y


def measure_moments(
    config: ModelConfig, arrays: Arrays, pictures: Sequence[NDArray] | NDArray
) -> dict[str, Moments]:
    """Return the statistics of every BatchNorm's input, by the name of its convolution.

    Args:
        pictures: uint8 (height, width, channels), at least one, all of one size.
    """
    count = max(1, BATCH // (pictures[0].shape[0] * pictures[0].shape[1]))
    batches = [np.stack([*pictures[i : i + count]]) for i in range(0, len(pictures), count)]
    total: dict[str, NDArray] = {}

    @np.errstate(over="ignore", invalid="ignore")  # foreign weights may overflow
    def sums_of(batch: NDArray) -> dict[str, NDArray]:
        network = Measuring(config, arrays)
        network(engine_input(batch, config.preprocessing))
        return network.sums

    # NumPy releases the interpreter's lock most of the time.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        found = threads.map(sums_of, batches)
        for sums in track(found, "measuring BatchNorm", len(pictures), count):
            total = {name: total.get(name, 0) + array for name, array in sums.items()}
    return {name: _moments(*array) for name, array in total.items()}


def _moments(count: NDArray, first: NDArray, second: NDArray) -> Moments:
    mean = first / count
    return Moments(mean, np.maximum(second / count - mean**2, 0))
