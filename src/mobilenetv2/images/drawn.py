"""Images that are drawn here, to compare networks on: shapes on clouds of colour.

Noise alone is not enough, because a network's outputs hardly differ between images of noise.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.spec.records import Preprocessing

SIDE, COUNT = 256, 4
"""Side of the images in pixels, and their usual number."""


def sample_pictures(record: Preprocessing, count: int = COUNT, seed: int = 0) -> NDArray:
    """Draw images, the same ones every time.

    Returns:
        uint8 (count, height, width, channels) at the network's size.
    """
    drawn = [_draw_picture(np.random.default_rng([seed, index])) for index in range(count)]
    return np.stack([preprocess(image, record) for image in drawn])


def _draw_picture(random: np.random.Generator) -> Image.Image:
    image = _draw_clouds(random)
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = random.integers(-40, SIDE, 2).tolist()
        width, height = random.integers(20, 140, 2).tolist()
        colour = tuple(random.integers(0, 256, 3).tolist())
        kind = random.integers(3)
        if kind == 0:
            pen.ellipse((x, y, x + width, y + height), fill=colour)
        elif kind == 1:
            pen.rectangle((x, y, x + width, y + height), fill=colour, outline=(0, 0, 0))
        else:
            pen.line((x, y, x + width, y + height), fill=colour, width=int(random.integers(2, 14)))
    return image


def _draw_clouds(random: np.random.Generator) -> Image.Image:
    """Return the sum of finer and finer noise, each at half the strength, as in photos."""
    total = np.zeros((SIDE, SIDE, 3))
    for octave in range(1, 8):
        cells = random.integers(0, 256, (2**octave, 2**octave, 3), np.uint8)
        smooth = Image.fromarray(cells).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        total += np.asarray(smooth) / 2**octave
    return Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))
