"""The inputs of a training step: random views of photos, and their targets.

A view depends only on (seed, epoch, index), so that any batch can be made again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.data import caches
from mobilenetv2.data.augment import (
    Mixture,
    augment,
    draw_mixture,
    generator,
    least_view,
    targets,
)
from mobilenetv2.data.batches import Batches, batches, whole_batches
from mobilenetv2.data.caches import ResizedCache, shrunk
from mobilenetv2.data.dataset import Split
from mobilenetv2.errors import RecipeError
from mobilenetv2.evaluation.matching import match
from mobilenetv2.evaluation.predictions import Predictor
from mobilenetv2.images.decode import Least
from mobilenetv2.images.preprocess import least_size
from mobilenetv2.model.outputs import probabilities, softmax
from mobilenetv2.runtime.predictor import load_predictor
from mobilenetv2.spec.network import Outputs, Size
from mobilenetv2.spec.records import Preprocessing
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.schedule import phase

SMALLEST = 32
"""Smallest side of a view in pixels, unless half of the network's side is less: smaller views leave
nothing after the network's strides."""


class Views(Protocol):
    """Inputs of training steps, by the indices of their photos."""

    def batches(self, chunks: Sequence[NDArray], epoch: int) -> Batches:
        """Yield (inputs of a step, indices) for each chunk of indices, prepared in advance."""


def least_for_training(recipe: Recipe, record: Preprocessing) -> Least | None:
    """Return the function to the size of a decoded photo that is enough for a whole run.

    It is None for whole photos: random parts of any size are cut out of those.
    """
    whole = least_size(record)
    if whole is None or recipe.trained == "head":
        return whole
    sizes = [view_size(recipe, record, epoch) for epoch in range(max(1, recipe.epochs))]
    how, largest = recipe.augmentation, max(sizes)
    if how.crop == "resized" and recipe.data.shrink:
        return partial(_larger, whole, partial(shrunk, _held_side(recipe, record)))
    least = least_view(how, record, largest)
    return None if least is None else partial(_larger, whole, least)


def view_size(recipe: Recipe, record: Preprocessing, epoch: int) -> Size:
    """Return (height, width) of the views of an epoch, in pixels."""
    data = recipe.data
    share = data.train_scale * phase(epoch, recipe.epochs, data.phases)
    height, width = record.size
    # Multiples of 8, except the full size: odd feature maps cost time without a gain.
    sides = (side if share == 1 else 8 * round(side * share / 8) for side in (height, width))
    least = min(SMALLEST, min(record.size) // 2)
    height, width = (max(least, side) for side in sides)
    return height, width


def _held_side(recipe: Recipe, record: Preprocessing) -> int:
    """Return the shorter side of the photos that are held."""
    sizes = [view_size(recipe, record, epoch) for epoch in range(max(1, recipe.epochs))]
    return round(recipe.data.shrink * max(max(size) for size in sizes))


def _larger(one: Least, other: Least, size: tuple[int, int]) -> tuple[int, int]:
    (width, height), (wide, high) = one(size), other(size)
    return max(width, wide), max(height, high)


@dataclass(slots=True)
class PhotoViews:
    """Random views of photos, new in each epoch.

    Decoding takes most of the time, so it is done once if the memory suffices. Small photos are
    cached whole (:mod:`mobilenetv2.data.caches`), others slightly larger than their views.
    """

    split: Split
    record: Preprocessing
    recipe: Recipe
    _image_cache: caches.ImageCache | None = field(default=None, init=False, repr=False)
    _resized_cache: ResizedCache | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.recipe.augmentation.crop == "resized" and self.recipe.data.shrink:
            side = _held_side(self.recipe, self.record)
            reduced = self.record.decode == "reduced"
            self._resized_cache = ResizedCache(self.split, side, reduced)

    def __len__(self) -> int:
        return len(self.split)

    def size(self, epoch: int) -> Size:
        """Return (height, width) of the views of an epoch, in pixels."""
        return view_size(self.recipe, self.record, epoch)

    def view(self, index: int, epoch: int) -> NDArray:
        """Return one view of a photo: uint8 (height, width, channels)."""
        photo = self.split.photos[index]
        how, size = self.recipe.augmentation, self.size(epoch)
        if self._resized_cache is not None:
            image = self._resized_cache.image(photo)
        else:
            image = self.split.image(photo, least_view(how, self.record, size))
        random = generator(self.recipe.seed, epoch, index)
        return augment(image, how, self.record, size, random, self.split.full_name(photo))

    def batches(self, chunks: Sequence[NDArray], epoch: int) -> Batches:
        """Yield (uint8 images (batch, height, width, channels), indices) for each chunk."""
        size, how = self.size(epoch), self.recipe.augmentation
        if not caches.fits_in_memory(len(self), how, self.record, size):
            self._image_cache = None
            return self._read(chunks, epoch)
        if self._image_cache is None or self._image_cache.size != size:
            self._image_cache = None  # free the memory before the next cache is made
            self._image_cache = caches.cache_images(self.split, how, self.record, size)
        held, seed = self._image_cache, self.recipe.seed
        return whole_batches(lambda indices: held.views(indices, seed, epoch), chunks)

    def _read(self, chunks: Sequence[NDArray], epoch: int) -> Batches:
        """Yield batches of photos that are read in this order, but for those that are held."""
        photos = (self.split.photos[index] for chunk in chunks for index in chunk)
        cache = self._resized_cache
        names = [photo.name for photo in photos if cache is None or not cache.holds(photo)]
        with self.split.source.ahead(names):
            yield from batches(lambda index: self.view(index, epoch), chunks)


@dataclass(frozen=True, slots=True)
class Teacher:
    """A trained network whose probabilities are targets for the student (distillation).

    It sees the same views as the student (Beyer et al., arXiv 2106.05237).
    """

    answer: Predictor
    size: Size
    outputs: tuple[int, ...]
    """Index of the teacher's output for each class of the data."""
    meaning: Outputs = "softmax"
    """Meaning of the teacher's logits."""

    def probabilities(self, pictures: NDArray, temperature: float) -> NDArray:
        """Return the teacher's probabilities for images, as float64 (batch, classes).

        Args:
            pictures: images, uint8 (batch, height, width, channels).
            temperature: divisor of the logits; above 1 it softens the probabilities.
        """
        if pictures.shape[1:3] != self.size:
            pictures = np.stack([_resized(picture, self.size) for picture in pictures])
        logits = self.answer(pictures) / temperature
        if self.meaning == "softmax":  # only over the classes of the data
            return softmax(logits[:, self.outputs])
        return probabilities(logits, self.meaning)[:, self.outputs]


def open_teacher(
    path: str, classes: tuple[str, ...], channels: int, threads: int | None = None
) -> Teacher:
    """Return the teacher in a model folder or an exported file.

    Args:
        path: the model folder or exported file.
        classes: names of the classes of the data.
        channels: colour channels of the student's input.
        threads: number of threads; default: the engine's own choice.

    Raises:
        RecipeError: the teacher takes another number of channels.
        DataError: the teacher lacks a class of the data.
        WeightsError, ArtifactError: the teacher cannot be read or run.
    """
    config, answer = load_predictor(Path(path), threads=threads)
    if config.preprocessing.channels != channels:
        raise RecipeError(
            f"distillation.teacher {path}: takes images of {config.preprocessing.channels} "
            f"channels, but the network to train takes {channels}"
        )
    outputs = match(classes, config.labels, "the data, for distillation.teacher")
    return Teacher(answer, config.spec.size, outputs, config.spec.classifier.outputs)


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets of a training step: smoothed and mixed labels, and a teacher's probabilities."""

    labels: NDArray
    """Class of each photo, int64 (photos,)."""
    classes: int
    recipe: Recipe
    teacher: Teacher | None = None
    outputs: Outputs = "softmax"
    """Meaning of the logits of the network in training."""

    def loaded(self, count: int, epoch: int, step: int, rows: NDArray) -> NDArray:
        """Return the rows of a batch whose images :meth:`make` takes: ``rows``, then their
        partners that are not among them.

        Args:
            count: number of photos in the batch.
            epoch: epoch of the step.
            step: step in the epoch.
            rows: rows of the batch to make, int (rows,).
        """
        mixture = self._mixture(count, epoch, step)
        if mixture is None:
            return rows
        partners = mixture.partner[rows]
        return np.concatenate([rows, np.setdiff1d(partners, rows)])

    def make(
        self, pictures: NDArray, indices: NDArray, epoch: int, step: int,
        rows: NDArray | None = None,
    ) -> tuple[NDArray, NDArray]:  # fmt: skip
        """Return a batch and its targets, mixed by mixup or CutMix if the recipe has them.

        Mixing is drawn for the whole batch, so that the rows are the same in whatever parts a batch
        is made.

        Args:
            pictures: images, uint8 (batch, height, width, channels), or cached feature maps; of the
                rows that :meth:`loaded` returns.
            indices: indices of the photos of the whole batch, int64 (batch,).
            epoch: epoch of the step; with ``step`` it determines the mixing.
            step: step in the epoch.
            rows: rows of the batch to make, int (rows,). Default: all.

        Returns:
            (images or maps as given, targets from 0 to 1 as float32 (rows, logits)).
        """
        recipe, smoothing = self.recipe, self.recipe.label_smoothing
        if self.outputs == "sigmoid":
            target = targets(self.labels[indices], self.classes)
            target = target * np.float32(1 - smoothing) + np.float32(smoothing / 2)
        else:
            target = targets(self.labels[indices], self.classes, smoothing)
        count = len(indices)
        rows = np.arange(count) if rows is None else rows
        if mixture := self._mixture(count, epoch, step):
            place = np.empty(count, np.int64)
            have = self.loaded(count, epoch, step, rows)
            place[have] = np.arange(len(have))
            partner = mixture.partner[rows]
            pictures, target = mixture.apply(
                pictures[: len(rows)], pictures[place[partner]], target[rows], target[partner]
            )
        else:
            target = target[rows]
        if self.teacher:
            share = np.float32(recipe.distillation.share)
            answers = self.teacher.probabilities(pictures, recipe.distillation.temperature)
            if (
                self.teacher.meaning == "sigmoid" and self.outputs != "sigmoid"
            ):  # a softmax needs targets with the sum 1
                answers = answers / answers.sum(1, keepdims=True)
            target = (1 - share) * target + share * answers.astype(np.float32)
        return pictures, target[:, 1:] if self.outputs == "logit" else target

    def _mixture(self, count: int, epoch: int, step: int) -> Mixture | None:
        """Return how the batch of a step is mixed; None if it is not."""
        recipe = self.recipe
        if not (recipe.mixing.mixup or recipe.mixing.cutmix):
            return None
        random = np.random.default_rng([recipe.seed, epoch, step, 3])
        return draw_mixture(count, recipe.mixing, random)


def step_inputs(
    views: Views, targets: Targets, chunks: Sequence[NDArray], epoch: int,
    rows: Callable[[int], NDArray], first: int = 0, mixing: int | None = None,
) -> Iterator[tuple[NDArray, NDArray]]:  # fmt: skip
    """Yield (inputs, targets) of the rows of each batch that this process computes.

    Args:
        views: inputs by photo.
        targets: their targets.
        chunks: indices of the photos of each whole batch.
        epoch: epoch of the views.
        rows: function from the number of photos of a batch to the rows to make.
        first: step in the epoch of the first batch. Default: 0.
        mixing: epoch that the mixing is drawn for. Default: that of the views.
    """
    drawn = epoch if mixing is None else mixing
    mine = [rows(len(chunk)) for chunk in chunks]
    todo = [
        chunk[targets.loaded(len(chunk), drawn, first + at, own)]
        for at, (chunk, own) in enumerate(zip(chunks, mine, strict=True))
    ]
    loaded = views.batches(todo, epoch)
    for at, (chunk, own, (pictures, _)) in enumerate(zip(chunks, mine, loaded, strict=True)):
        yield targets.make(pictures, chunk, drawn, first + at, own)


def _resized(picture: NDArray, size: Size) -> NDArray:
    image = Image.fromarray(picture if picture.shape[2] == 3 else picture[..., 0])
    image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(*size, picture.shape[2])
