"""Pictures for people to look at: small JPEG or PNG files, and the same inside a page."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

QUALITY = 85
SMALL = 96
"""Pixels. Pictures whose longer side is shorter are shown as the squares that they are: JPEG would
blur their colours by two and two squares, and is hardly smaller."""


def jpeg(picture: NDArray, most: int = 224) -> bytes:
    """A JPEG file of a picture, made smaller where a side is longer than ``most``.

    Args:
        picture: uint8 (height, width, 1 or 3).
        most: pixels of the longer side.
    """
    image = _image(picture)
    image.thumbnail((most, most), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()


def png(picture: NDArray) -> bytes:
    """A PNG file of a picture: the very same pixels.

    Args:
        picture: uint8 (height, width, 1 or 3).
    """
    buffer = io.BytesIO()
    _image(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def data_url(picture: NDArray, most: int = 224) -> str:
    """An address that holds the picture itself: a page with it needs no other file.

    Args:
        picture: uint8 (height, width, 1 or 3): a PNG file where it is ``SMALL``, else a JPEG file.
        most: pixels of the longer side; a larger picture is made smaller.
    """
    longer = max(picture.shape[:2])
    small = longer < SMALL and longer <= most
    kind, data = ("png", png(picture)) if small else ("jpeg", jpeg(picture, most))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _image(picture: NDArray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(picture[..., 0] if _grey(picture) else picture))


def _grey(picture: NDArray) -> bool:
    return bool(picture.shape[2] == 1)
