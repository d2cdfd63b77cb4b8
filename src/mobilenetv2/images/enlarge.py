"""Small things made large for people to look at: pictures at a network's size, and heat."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CRISP = 3
"""Times, from which on a picture's pixels are shown as the squares that they are."""


def enlarge_picture(picture: NDArray, side: int) -> NDArray:
    """A picture whose longer side has about ``side`` pixels.

    Args:
        picture: uint8 (height, width, 1 or 3).

    Returns:
        uint8 (height, width, 3).
    """
    factor = side / max(picture.shape[:2])
    resample = Image.Resampling.LANCZOS
    if factor >= CRISP:
        factor, resample = round(factor), Image.Resampling.NEAREST
    height, width = (max(1, round(length * factor)) for length in picture.shape[:2])
    colour = np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3)))
    return np.asarray(Image.fromarray(colour).resize((width, height), resample))


def enlarge_smoothly(values: NDArray, height: int, width: int) -> NDArray:
    """Numbers on a coarse grid as a smooth surface (bicubic), within the range that they have.

    Args:
        values: float (rows, columns).

    Returns:
        float32 (height, width).
    """
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    large = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return np.asarray(np.clip(large, values.min(), values.max()))
