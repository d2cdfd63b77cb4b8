"""Preprocessing of a decoded image for the network: the only place that resizes images.

The same bytes give the same uint8 image, bit for bit, on every machine. Pillow resizes,
antialiased; a runtime's own resize would differ by up to 3 levels. Pillow is imported only where an
image is resized; the editions only normalise and do not need it.

A record with ``decode`` 'reduced' allows a JPEG to be decoded at 1/2, 1/4 or 1/8 of its size:
:func:`least_size` says what is enough. The picture that comes is then resized as any other.
"""

from functools import partial
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ImageError
from mobilenetv2.spec.records import Preprocessing

if TYPE_CHECKING:
    from PIL import Image

    from mobilenetv2.images.decode import Least

NARROW = 16
"""Ratio of an image's sides from which on it is called long and narrow."""


def preprocess(image: "Image.Image", record: Preprocessing, name: str = "picture") -> NDArray:
    """Return an RGB image at the network's size: central part, resize, centre crop.

    Returns:
        uint8 of shape (height, width, channels), at ``record.size``.

    Raises:
        ImageError: resizing takes too much memory, as for an extreme aspect ratio, or the image is
            too small where nothing is resized.
    """
    if record.channels == 1:
        image = image.convert("L")
    if record.central_fraction < 1:
        image = _centre(image, *(max(1, round(s * record.central_fraction)) for s in image.size))
    width, height = _resized(image.size, record)
    if record.fit == "none":
        if image.width < record.size[1] or image.height < record.size[0]:
            raise ImageError(
                f"{name}: {image.width} x {image.height} pixels are fewer than the network's "
                f"{record.size[1]} x {record.size[0]}, and its preprocessing does not resize; "
                "enlarge it first"
            )
    elif (width, height) != image.size:
        image = _resize(image, (width, height), record, name)
    image = _centre(image, record.size[1], record.size[0])
    return np.asarray(image).reshape(*record.size, record.channels)


def least_size(record: Preprocessing) -> "Least | None":
    """Return the function to the least size of a decoded picture; None for whole pictures.

    A picture is large enough if preprocessing does not enlarge it where it would not have enlarged
    the whole one: its central part is as large as what it is resized to.
    """
    return None if record.decode == "whole" or record.fit == "none" else partial(_least, record)


def _least(record: Preprocessing, size: tuple[int, int]) -> tuple[int, int]:
    width, height = _resized(size, record)
    return ceil(width / record.central_fraction), ceil(height / record.central_fraction)


def _resize(
    image: "Image.Image", size: tuple[int, int], record: Preprocessing, name: str
) -> "Image.Image":
    """Return an image of another (width, height), unless that takes too much memory.

    A 4 x 100,000 strip that covers 256 x 256 would become 256 x 6,400,000.
    """
    from mobilenetv2.images import memory

    needed = memory.needed_to_resize(image, size)
    if needed > memory.MOST:
        narrow = max(image.size) > NARROW * min(image.size)
        way = "it is too long and narrow: crop it" if narrow else "crop it or make it smaller"
        raise ImageError(
            f"{name}: {image.width:,} x {image.height:,} pixels, resized to {size[0]:,} x "
            f"{size[1]:,} for this network, take {needed / 1e6:,.0f} MB, more than the limit of "
            f"{memory.MOST / 1e6:,.0f} MB; {way} first"
        )
    with memory.beyond(image, size):
        return image.resize(size, resampling(record))


def resampling(record: Preprocessing) -> "Image.Resampling":
    """Return Pillow's filter for the record's interpolation."""
    from PIL import Image

    return Image.Resampling[record.interpolation.upper()]


def _resized(size: tuple[int, int], record: Preprocessing) -> tuple[int, int]:
    """Return (width, height) after resizing."""
    if record.fit == "none":
        return size
    height, width = record.resize
    if record.fit == "stretch":
        return width, height
    # One side is exact. The other is truncated, as in torchvision's Resize, which knows squares
    # only; for other shapes timm rounds it.
    whole = int if width == height else round
    if size[0] * height <= size[1] * width:
        return width, max(height, whole(width * size[1] / size[0]))
    return max(width, whole(height * size[0] / size[1])), height


def _centre(image: "Image.Image", width: int, height: int) -> "Image.Image":
    if image.size == (width, height):
        return image
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def normalise(pictures: NDArray, record: Preprocessing) -> NDArray:
    """Return ``(value - mean) / std`` in float32, in the same layout.

    Do not call this within ``jit``: a compiler turns a division by a constant into a
    multiplication, which rounds differently.

    Args:
        pictures: uint8 (batch, height, width, channels).
    """
    mean, std = (np.asarray(values, np.float32) for values in (record.mean, record.std))
    return np.asarray((pictures.astype(np.float32) - mean) / std)


def engine_input(pictures: NDArray, record: Preprocessing) -> NDArray:
    """Return :func:`normalise`'s numbers in an engine's layout: float32 (batch, channels, ...)."""
    planes = pictures.transpose(0, 3, 1, 2)
    found = np.empty(planes.shape, np.float32)
    mean, std = (
        np.asarray(values, np.float32)[:, np.newaxis, np.newaxis]
        for values in (record.mean, record.std)
    )
    # Written plane by plane at once: three times as fast as turning normalised images.
    np.subtract(planes, mean, out=found)
    found /= std
    return found
