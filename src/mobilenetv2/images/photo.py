"""One photo, in whichever form a program has it, as a network takes it."""

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.errors import ImageError
from mobilenetv2.images.decode import Decoded, Least, convert, decode_noted, read_photo_noted
from mobilenetv2.images.memory import SHARED
from mobilenetv2.images.notes import Note
from mobilenetv2.images.preprocess import least_size, preprocess
from mobilenetv2.spec.records import Preprocessing


@dataclass(frozen=True, slots=True)
class PackedPhoto:
    """A photo in an archive."""

    path: Path
    """Path of the archive, and the photo's name in it."""
    read: Callable[[], bytes]
    """Function that returns the bytes of its file; it raises ImageError."""
    place: Path
    """Path of the archive."""


Photo: TypeAlias = str | PathLike[str] | bytes | Image.Image | NDArray | PackedPhoto
"""A path, a file's bytes, a Pillow image, an array uint8 (height, width, 3), red first, or
(height, width), grey, or a photo in an archive."""


def network_picture(photo: Photo, record: Preprocessing) -> NDArray:
    """Return a photo at the network's size.

    An array or a Pillow image of exactly the network's own size is taken as it is: a program has
    prepared it. Everything else is resized and cropped as the record says, a file of that size,
    too, so that a photo gets the same answer here as on the command line and in an evaluation.

    Returns:
        uint8 (height, width, channels), at ``record.size``.

    Raises:
        ImageError: it cannot be read, or is no photo.
    """
    return network_picture_noted(photo, record)[0]


def network_picture_noted(photo: Photo, record: Preprocessing) -> tuple[NDArray, tuple[Note, ...]]:
    """Return a photo as :func:`network_picture` does, with notes on how its file was read.

    Raises:
        ImageError: as :func:`network_picture`.
    """
    with SHARED.work():  # the large picture is gone when the call returns, before the block ends
        return _prepared(photo, record)


def _prepared(photo: Photo, record: Preprocessing) -> tuple[NDArray, tuple[Note, ...]]:
    decoded = open_photo_noted(photo, least_size(record))
    image = decoded.image
    is_own = isinstance(photo, Image.Image | np.ndarray)
    if is_own and image.size == record.size[::-1]:
        record = record.largest()
    return preprocess(image, record, str(path_of(photo) or "photo")), decoded.notes


def open_photo(photo: Photo) -> Image.Image:
    """Return a photo as an upright RGB image.

    Raises:
        ImageError: it cannot be read, or is no photo.
    """
    return open_photo_noted(photo).image


def open_photo_noted(photo: Photo, least: Least | None = None) -> Decoded:
    """Return a photo as :func:`open_photo` does, with notes on how its file was read.

    Args:
        photo: the photo; an image or an array in memory is taken whole.
        least: size that is enough, as for :func:`mobilenetv2.images.decode.decode`.

    Raises:
        ImageError: as :func:`open_photo`.
    """
    if isinstance(photo, bytes):
        return decode_noted(photo, "the photo's bytes", least=least)
    if isinstance(photo, Image.Image):
        return convert(photo, "photo")
    if isinstance(photo, np.ndarray):
        sides = photo.shape[:2] if photo.shape[2:] in ((), (3,)) else ()
        if photo.dtype != np.uint8 or len(sides) != 2:
            raise ImageError(
                f"an array {photo.dtype} of shape {list(photo.shape)} is no picture: uint8 "
                "(height, width, 3) is"
            )
        return convert(Image.fromarray(np.ascontiguousarray(photo)), "photo")
    if isinstance(photo, str | PathLike):
        return read_photo_noted(Path(photo), least=least)
    if isinstance(photo, PackedPhoto):
        return decode_noted(photo.read(), str(photo.path), least=least)
    raise ImageError(
        f"a {type(photo).__name__} is no photo: a path, a file's bytes, a Pillow image or an array "
        "uint8 (height, width, 3) is"
    )


def path_of(photo: Photo) -> Path | None:
    """Return where a photo lies; None for one in memory."""
    if isinstance(photo, PackedPhoto):
        return photo.path
    return Path(photo) if isinstance(photo, str | PathLike) else None
