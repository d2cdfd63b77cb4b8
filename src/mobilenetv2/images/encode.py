"""Pictures for people to look at: small JPEG files, and the same inside a page."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

QUALITY = 85


def jpeg(picture: NDArray, most: int = 224) -> bytes:
    """A JPEG file of a picture, made smaller where a side is longer than ``most``.

    Args:
        picture: uint8 (height, width, 1 or 3).
        most: pixels of the longer side.
    """
    image = Image.fromarray(np.ascontiguousarray(picture[..., 0] if _grey(picture) else picture))
    image.thumbnail((most, most), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()


def data_url(picture: NDArray, most: int = 224) -> str:
    """The same as an address that holds the picture itself: a page with it needs no other file."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(picture, most)).decode("ascii")


def _grey(picture: NDArray) -> bool:
    return bool(picture.shape[2] == 1)
