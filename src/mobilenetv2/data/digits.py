"""The built-in set: 1,797 real handwritten digits of 8 x 8 pixels, which scikit-learn carries.

E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI repository (CC BY 4.0).
The last 360 are the test split, in the order in which the set comes.
"""

import io

import numpy as np
from PIL import Image

from mobilenetv2.data.sources import MemorySource
from mobilenetv2.errors import require

TEST = 360


def digits() -> MemorySource:
    """``train/CLASS/N.png`` and ``test/CLASS/N.png``, dark strokes on white as on paper."""
    bunch = require("sklearn.datasets").load_digits()
    files = {}
    for index, (picture, label) in enumerate(zip(bunch.images, bunch.target, strict=True)):
        split = "test" if index >= len(bunch.target) - TEST else "train"
        buffer = io.BytesIO()
        Image.fromarray(np.round(255 - picture * (255 / 16)).astype(np.uint8)).save(buffer, "PNG")
        files[f"{split}/{label}/{index:04d}.png"] = buffer.getvalue()
    return MemorySource("digits", files)
