"""Built-in data, which scikit-learn carries: handwritten digits, and two photographs."""

import io

import numpy as np
from PIL import Image

from mobilenetv2.data.sources import MemorySource
from mobilenetv2.errors import require

TEST = 360


def digits() -> MemorySource:
    """Return 1,797 real handwritten digits of 8 x 8 pixels, dark strokes on white as on paper.

    E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI repository (CC BY 4.0).
    The files are ``train/CLASS/N.png`` and ``test/CLASS/N.png``: the last 360 are the test split.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    bunch = require("sklearn.datasets").load_digits()
    files = {}
    for index, (picture, label) in enumerate(zip(bunch.images, bunch.target, strict=True)):
        split = "test" if index >= len(bunch.target) - TEST else "train"
        buffer = io.BytesIO()
        Image.fromarray(np.round(255 - picture * (255 / 16)).astype(np.uint8)).save(buffer, "PNG")
        files[f"{split}/{label}/{index:04d}.png"] = buffer.getvalue()
    return MemorySource("digits", files)


def photographs() -> list[Image.Image]:
    """Return two RGB photographs, a Chinese temple and a flower: 427 x 640 pixels (CC BY 2.0).

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    images = require("sklearn.datasets").load_sample_images().images
    return [Image.fromarray(image) for image in images]
