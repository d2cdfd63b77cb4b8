"""Measured statistics for a network whose BatchNorm came folded, when it is imported.

:mod:`mobilenetv2.model.rebasing` says why and how. They are measured on the user's photos, or on
views of six photos that are in the package (``photos/SOURCES.md``).
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.editions.numpy import operations
from mobilenetv2.graph.graph import INPUT, Add, Conv, Graph, Pool, real
from mobilenetv2.graph.lowering import lower
from mobilenetv2.images.decode import decode, read_photo
from mobilenetv2.images.normalise import engine_input
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.rebasing import Moments, rebase
from mobilenetv2.progress import track
from mobilenetv2.spec.records import ModelConfig, Origin, Preprocessing, RebasedOn

VIEWS = 10
"""Views of each photo in the package."""
SMALLEST_VIEW = 0.15
"""Share of a photo's area."""
MOST_PHOTOS = 256
"""The most of the user's photos that are measured on."""
BATCH = 4
"""Pictures that a thread holds at a time."""
ACTIVATIONS: dict[str | None, Callable[[NDArray], NDArray]] = {
    "relu6": operations.relu6,
    "relu": operations.relu,
    None: lambda x: x,
}

Sums = dict[str, tuple[int, NDArray, NDArray]]
"""Name of a convolution -> count, sum and sum of squares of its BatchNorm's input."""


def rebase_imported(
    config: ModelConfig, arrays: Arrays, photos: Sequence[Path] = ()
) -> tuple[ModelConfig, Arrays]:
    """Return a network whose BatchNorm came folded with measured statistics in it.

    Args:
        photos: the user's, the more like those of its use the better; without any, those in the
            package.

    Raises:
        ImageError: one of the photos cannot be read.
    """
    record = config.preprocessing
    if photos:
        used = photos[:: -(-len(photos) // MOST_PHOTOS)]
        given = [preprocess(read_photo(path), record, str(path)) for path in used]
        return rebase_on(given, "given photos", config, arrays)
    return rebase_on(built_in_views(record), "built-in photos", config, arrays)


def rebase_on(
    pictures: Sequence[NDArray], kind: RebasedOn, config: ModelConfig, arrays: Arrays
) -> tuple[ModelConfig, Arrays]:
    """Return the network with the statistics of some pictures; it computes what it did before.

    Args:
        pictures: uint8 (height, width, channels) at the network's size, at least one.
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
    return dataclasses.replace(config, origin=origin), rebase(config.spec, arrays, moments)


def built_in_views(record: Preprocessing) -> list[NDArray]:
    """Return views of the photos in the package as a network takes them, the same every time.

    With views, few photos are nearly as good as many: docs/decisions/files.md has the figures.
    """
    folder = files("mobilenetv2.checkpoints") / "photos"
    found = {item.name: item for item in folder.iterdir() if item.name.endswith(".jpg")}
    images = [decode(found[name].read_bytes(), name) for name in sorted(found)]
    return [
        preprocess(draw_view(image, np.random.default_rng([number, index])), record)
        for number in range(VIEWS)
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


def measure_moments(
    config: ModelConfig, arrays: Arrays, pictures: Sequence[NDArray] | NDArray
) -> dict[str, Moments]:
    """Return the statistics of every BatchNorm's input, by the name of its convolution.

    It computes in NumPy, so that an import needs no framework.

    Args:
        pictures: uint8 (height, width, channels) at the network's size, at least one.
    """
    graph = lower(config, arrays, folded=False)
    batches = [np.stack([*pictures[i : i + BATCH]]) for i in range(0, len(pictures), BATCH)]
    total: Sums = {}
    # NumPy releases the interpreter's lock for most of it.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        sums = threads.map(lambda batch: sum_inputs(graph, batch), batches)
        for found in track(sums, "measuring BatchNorm", len(pictures), BATCH):
            for name, (count, first, second) in found.items():
                old = total.get(name, (0, np.zeros_like(first), np.zeros_like(second)))
                total[name] = (old[0] + count, old[1] + first, old[2] + second)
    return {
        name: Moments(first / count, np.maximum(second / count - (first / count) ** 2, 0))
        for name, (count, first, second) in total.items()
    }


def sum_inputs(graph: Graph, pictures: NDArray) -> Sums:
    """Run a graph whose BatchNorm is not folded up to its pooling, and sum what enters each.

    Args:
        pictures: uint8 (batch, height, width, channels).
    """
    values = {INPUT: engine_input(pictures, graph.config.preprocessing)}
    sums: Sums = {}
    for operation in graph.operations:
        if isinstance(operation, Conv):
            one_group = operation.groups == 1
            convolve = operations.convolution if one_group else operations.depthwise_convolution
            x, weight = values[operation.input], real(operation.weight)
            x = convolve(x, weight, operation.stride, operation.padding)
            if operation.bias is not None:
                x = x + real(operation.bias)[:, None, None]
            channels = x.transpose(1, 0, 2, 3).reshape(x.shape[1], -1)
            squares = np.einsum("cn,cn->c", channels, channels, dtype=np.float64)
            sums[operation.name] = (channels.shape[1], channels.sum(1, dtype=np.float64), squares)
            norm = operation.batch_norm
            assert norm is not None
            y = operations.batch_norm(
                x, norm.scale, norm.shift, norm.mean, norm.variance, norm.epsilon
            )
            values[operation.output] = ACTIVATIONS[operation.activation](y)
        elif isinstance(operation, Add):
            first, second = (values[name] for name in operation.inputs)
            values[operation.output] = ACTIVATIONS[operation.activation](first + second)
        elif isinstance(operation, Pool):
            break
    return sums
