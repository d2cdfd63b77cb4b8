"""The inputs of a training step: random views of photos, and their targets.

A view is a function of (seed, epoch, index), so that any batch can be made again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.data import caches
from mobilenetv2.data.augment import augment, generator, mix, targets
from mobilenetv2.data.batches import Batches, batches, whole_batches
from mobilenetv2.data.caches import ResizedCache
from mobilenetv2.data.dataset import Split
from mobilenetv2.errors import RecipeError
from mobilenetv2.evaluation.matching import match
from mobilenetv2.evaluation.predictions import Predictor
from mobilenetv2.model.outputs import probabilities, softmax
from mobilenetv2.runtime.predictor import load_predictor
from mobilenetv2.spec.network import Outputs, Size
from mobilenetv2.spec.records import Preprocessing
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.schedule import phase

SMALLEST = 32
"""Pixels of a side, or half of the network's own: less is nothing after its strides."""


class Views(Protocol):
    """Photos by index, as an epoch sees them."""

    def batches(self, chunks: Sequence[NDArray], epoch: int) -> Batches:
        """Yield (inputs of a step, indices) for each chunk of indices, made ahead of their use."""


@dataclass(slots=True)
class PhotoViews:
    """Random views of photos, new in each epoch.

    Decoding is what costs, so it is done once where memory allows: small pictures are held whole
    (:mod:`mobilenetv2.data.caches`), photos a little larger than their views.
    """

    split: Split
    record: Preprocessing
    recipe: Recipe
    _image_cache: caches.ImageCache | None = field(default=None, init=False, repr=False)
    _resized_cache: ResizedCache | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.recipe.augmentation.crop == "resized" and self.recipe.data.shrink:
            sizes = [self.size(epoch) for epoch in range(max(1, self.recipe.epochs))]
            side = round(self.recipe.data.shrink * max(max(size) for size in sizes))
            self._resized_cache = ResizedCache(self.split, side)

    def __len__(self) -> int:
        return len(self.split)

    def size(self, epoch: int) -> Size:
        """Return (height, width) of an epoch's pictures."""
        data = self.recipe.data
        share = data.train_scale * phase(epoch, self.recipe.epochs, data.phases)
        height, width = self.record.size
        # Multiples of 8, but for the full size: odd maps cost time and give nothing.
        sides = (side if share == 1 else 8 * round(side * share / 8) for side in (height, width))
        least = min(SMALLEST, min(self.record.size) // 2)
        height, width = (max(least, side) for side in sides)
        return height, width

    def view(self, index: int, epoch: int) -> NDArray:
        """Return one view of a photo: uint8 (height, width, channels)."""
        photo = self.split.photos[index]
        source = self.split if self._resized_cache is None else self._resized_cache
        image, name = source.image(photo), self.split.full_name(photo)
        random = generator(self.recipe.seed, epoch, index)
        how = self.recipe.augmentation
        return augment(image, how, self.record, self.size(epoch), random, name)

    def batches(self, chunks: Sequence[NDArray], epoch: int) -> Batches:
        """Yield (uint8 images (batch, height, width, channels), indices) for each chunk."""
        size, how = self.size(epoch), self.recipe.augmentation
        if not caches.fits_in_memory(len(self), how, self.record, size):
            self._image_cache = None
            return batches(lambda index: self.view(index, epoch), chunks)
        if self._image_cache is None or self._image_cache.size != size:
            self._image_cache = None  # the memory, before the next is made
            self._image_cache = caches.cache_images(self.split, how, self.record, size)
        held, seed = self._image_cache, self.recipe.seed
        return whole_batches(lambda indices: held.views(indices, seed, epoch), chunks)


@dataclass(frozen=True, slots=True)
class Teacher:
    """A trained network that answers the same pictures: patient and consistent, it sees each view
    that the student sees (Beyer et al., arXiv 2106.05237)."""

    answer: Predictor
    size: Size
    outputs: tuple[int, ...]
    """Class of the data -> the teacher's class."""
    meaning: Outputs = "softmax"
    """The meaning of the teacher's logits."""

    def probabilities(self, pictures: NDArray, temperature: float) -> NDArray:
        """Return the probabilities of uint8 images (batch, height, width, channels): float64
        (batch, classes)."""
        if pictures.shape[1:3] != self.size:
            pictures = np.stack([_resized(picture, self.size) for picture in pictures])
        logits = self.answer(pictures) / temperature
        if self.meaning == "softmax":  # of the data's classes, whatever else it knows
            return softmax(logits[:, self.outputs])
        return probabilities(logits, self.meaning)[:, self.outputs]


def open_teacher(path: str, classes: tuple[str, ...], channels: int) -> Teacher:
    """Return the teacher in a model folder or an exported file.

    Raise RecipeError if its classes are not those of the data or it takes other pictures,
    WeightsError or ArtifactError if it cannot be read or run.
    """
    config, answer = load_predictor(Path(path))
    if config.preprocessing.channels != channels:
        raise RecipeError(
            f"distillation.teacher {path}: takes pictures of {config.preprocessing.channels} "
            f"channels, the network that learns takes {channels}"
        )
    outputs = match(classes, config.labels, "the data, for distillation.teacher")
    return Teacher(answer, config.spec.size, outputs, config.spec.classifier.outputs)


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets of images: labels, smoothed, mixed, and a teacher's answers."""

    labels: NDArray
    """The class of each photo: int64 (photos,)."""
    classes: int
    recipe: Recipe
    teacher: Teacher | None = None
    outputs: Outputs = "softmax"
    """The meaning of the logits that are trained."""

    def make(
        self, pictures: NDArray, indices: NDArray, epoch: int, step: int
    ) -> tuple[NDArray, NDArray]:
        """Return a batch and its targets, both mixed where the recipe asks for it.

        Args:
            pictures: uint8 (batch, height, width, channels), or maps.
            indices: int64 (batch,), of their photos.
            epoch, step: what is mixed with what is a function of them.

        Returns:
            (pictures like those given, float32 targets (batch, logits), each from 0 to 1).
        """
        recipe, smoothing = self.recipe, self.recipe.label_smoothing
        if self.outputs == "sigmoid":
            target = targets(self.labels[indices], self.classes)
            target = target * np.float32(1 - smoothing) + np.float32(smoothing / 2)
        else:
            target = targets(self.labels[indices], self.classes, smoothing)
        if recipe.mixing.mixup or recipe.mixing.cutmix:
            random = np.random.default_rng([recipe.seed, epoch, step, 3])
            pictures, target = mix(pictures, target, recipe.mixing, random)
        if self.teacher:
            share = np.float32(recipe.distillation.share)
            answers = self.teacher.probabilities(pictures, recipe.distillation.temperature)
            if (
                self.teacher.meaning == "sigmoid" and self.outputs != "sigmoid"
            ):  # one class is to be chosen
                answers = answers / answers.sum(1, keepdims=True)
            target = (1 - share) * target + share * answers.astype(np.float32)
        return pictures, target[:, 1:] if self.outputs == "logit" else target


def _resized(picture: NDArray, size: Size) -> NDArray:
    image = Image.fromarray(picture if picture.shape[2] == 3 else picture[..., 0])
    image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(*size, picture.shape[2])
