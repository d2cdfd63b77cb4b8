"""What a batch should be answered with: labels, smoothed, mixed, and what a teacher says."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.data.mixing import mix, targets
from mobilenetv2.errors import RecipeError
from mobilenetv2.evaluate.matching import match
from mobilenetv2.evaluate.predictions import Predictor
from mobilenetv2.model.outputs import softmax
from mobilenetv2.runtime.predictor import load_predictor
from mobilenetv2.spec.network import Size
from mobilenetv2.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Teacher:
    """A trained network that answers the same pictures: patient and consistent, it sees each view
    that the student sees (Beyer et al., arXiv 2106.05237)."""

    answer: Predictor
    size: Size
    outputs: tuple[int, ...]
    """Class of the data -> the teacher's output."""

    def probabilities(self, pictures: NDArray, temperature: float) -> NDArray:
        """uint8 (batch, height, width, channels) -> float64 (batch, classes)."""
        if pictures.shape[1:3] != self.size:
            pictures = np.stack([_resized(picture, self.size) for picture in pictures])
        return softmax(self.answer(pictures)[:, self.outputs] / temperature)


def open_teacher(path: str, classes: tuple[str, ...], channels: int) -> Teacher:
    """The teacher in a model folder or an exported file.

    Raises:
        RecipeError: its classes are not those of the data, or it takes other pictures.
        WeightsError, ArtifactError: it cannot be read or run.
    """
    config, answer = load_predictor(Path(path))
    if config.preprocessing.channels != channels:
        raise RecipeError(
            f"distillation.teacher {path}: takes pictures of {config.preprocessing.channels} "
            f"channels, the network that learns takes {channels}"
        )
    outputs = match(classes, config.labels, "the data, for distillation.teacher")
    return Teacher(answer, config.spec.size, outputs)


def make(
    pictures: NDArray,
    labels: NDArray,
    classes: int,
    recipe: Recipe,
    teacher: Teacher | None,
    random: np.random.Generator,
) -> tuple[NDArray, NDArray]:
    """The pictures as they are trained on and their targets.

    Args:
        pictures: uint8 (batch, height, width, channels).
        labels: int64 (batch,).
        random: what is mixed with what is drawn from it.

    Returns:
        (pictures like those given, float32 targets (batch, classes)).
    """
    wanted = targets(labels, classes, recipe.label_smoothing)
    if recipe.mixing.mixup or recipe.mixing.cutmix:
        pictures, wanted = mix(pictures, wanted, recipe.mixing, random)
    if teacher:
        share = np.float32(recipe.distillation.share)
        said = teacher.probabilities(pictures, recipe.distillation.temperature)
        wanted = (1 - share) * wanted + share * said.astype(np.float32)
    return pictures, wanted


def _resized(picture: NDArray, size: Size) -> NDArray:
    image = Image.fromarray(picture if picture.shape[2] == 3 else picture[..., 0])
    image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(*size, picture.shape[2])
