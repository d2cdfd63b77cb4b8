"""Augmentation without tuning: RandAugment and TrivialAugment, fourteen operations on a picture.

RandAugment (Cubuk et al., arXiv 1909.13719) applies N of them at one magnitude. TrivialAugment
(Mueller & Hutter, arXiv 2103.10158) applies one at a random strength of a wider range. Ranges are
those of the papers, translation excepted, of which torchvision's are taken as a share of the side:
32 pixels of 224 for TrivialAugment, which moves a small picture by less.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

HIGHEST = 30
"""Magnitudes go from 0 to this."""
GREY = 128
"""What comes in from outside of the picture."""

Operation = Callable[[Image.Image, float], Image.Image]


@dataclass(frozen=True, slots=True)
class Ranges:
    """How far each operation goes at the highest magnitude."""

    enhance: float
    """Colour, contrast, brightness and sharpness by a factor of up to 1 plus or minus this."""
    shear: float
    """Columns a row moves by, and the reverse."""
    translate: float
    """Share of the side."""
    rotate: float
    """Degrees."""
    posterize: int
    """Bits that are left of a level, at least."""


RAND = Ranges(enhance=0.9, shear=0.3, translate=150 / 331, rotate=30.0, posterize=4)
TRIVIAL = Ranges(enhance=0.99, shear=0.99, translate=32 / 224, rotate=135.0, posterize=2)


def rand_augment(
    image: Image.Image, operations: int, magnitude: int, random: np.random.Generator
) -> Image.Image:
    """``operations`` of the fourteen, drawn with replacement, all at one magnitude."""
    for _ in range(operations):
        name = NAMES[int(random.integers(len(NAMES)))]
        image = apply(image, name, magnitude / HIGHEST, RAND, bool(random.random() < 0.5))
    return image


def trivial_augment(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """One of the fourteen at a strength from nothing to all."""
    name = NAMES[int(random.integers(len(NAMES)))]
    strength = int(random.integers(HIGHEST + 1)) / HIGHEST
    return apply(image, name, strength, TRIVIAL, bool(random.random() < 0.5))


def apply(
    image: Image.Image, name: str, strength: float, ranges: Ranges, negative: bool
) -> Image.Image:
    """One operation.

    Args:
        image: of mode RGB or L.
        name: of :data:`NAMES`.
        strength: from 0, which changes nothing, to 1. 'autocontrast' and 'equalize' have none.
        negative: less instead of more, or the other direction.
    """
    if name == "identity":
        return image
    if name in ENHANCERS:
        amount = strength * ranges.enhance
        return ENHANCERS[name](image).enhance(1 - amount if negative else 1 + amount)
    if name == "autocontrast":
        return ImageOps.autocontrast(image)
    if name == "equalize":
        return ImageOps.equalize(image)
    if name == "solarize":
        return ImageOps.solarize(image, round(256 - 256 * strength))
    if name == "posterize":
        return ImageOps.posterize(image, 8 - round((8 - ranges.posterize) * strength))
    return _moved(image, name, -strength if negative else strength, ranges)


def _moved(image: Image.Image, name: str, strength: float, ranges: Ranges) -> Image.Image:
    """Bilinear: at 32 pixels a whole pixel is far."""
    fill: int | tuple[int, ...] = GREY if image.mode == "L" else (GREY,) * 3
    if name == "rotate":
        return image.rotate(strength * ranges.rotate, Image.Resampling.BILINEAR, fillcolor=fill)
    width, height = image.size
    x = y = across = down = 0.0
    if name == "shear x":
        across = strength * ranges.shear
        x = -across * height / 2  # about the centre
    elif name == "shear y":
        down = strength * ranges.shear
        y = -down * width / 2
    elif name == "translate x":
        x = strength * ranges.translate * width
    else:
        y = strength * ranges.translate * height
    matrix = (1, across, x, down, 1, y)
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=fill
    )


ENHANCERS = {
    "colour": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "brightness": ImageEnhance.Brightness,
    "sharpness": ImageEnhance.Sharpness,
}
NAMES = (
    "identity", "autocontrast", "equalize", "rotate", "solarize", "colour", "posterize", "contrast",
    "brightness", "sharpness", "shear x", "shear y", "translate x", "translate y",
)  # fmt: skip
