"""Photos as a program gives them: one, a folder of them, or any number."""

from collections.abc import Iterable, Iterator
from os import PathLike
from typing import TypeAlias

import numpy as np
from PIL import Image

from mobilenetv2.data.lists import is_list
from mobilenetv2.data.opening import find_each, find_photos
from mobilenetv2.errors import DataError
from mobilenetv2.images.photo import Photo, path_of

Photos: TypeAlias = Photo | Iterable[Photo]
"""One photo, a folder, a list of photos (``@list.txt``), a table of photos, or several of these."""


def collect(photos: Photos, ignore: str | Iterable[str] = ()) -> list[Photo] | Iterator[Photo]:
    """Return photos one by one, those in folders at any depth and in lists, in order.

    Args:
        photos: the photos.
        ignore: patterns of names in folders that are passed over.

    Returns:
        A list; an iterator where photos come from one, so that they are taken as they come.

    Raises:
        DataError: a name that is not there, a folder without photos, or neither a photo nor
            several. An iterator's names are not looked up before their turn.
    """
    if isinstance(photos, str | PathLike):
        return [*find_photos([photos], ignore)]
    if isinstance(photos, bytes | Image.Image | np.ndarray):
        return [photos]
    if isinstance(photos, Iterator):
        return _as_they_come(photos, ignore)
    if not isinstance(photos, Iterable):
        raise DataError(
            f"a {type(photos).__name__} is neither a photo nor a list of photos; give a path, a "
            "file's bytes, a Pillow image or an array uint8 (height, width, 3)"
        )
    given = list(photos)
    named = [photo for photo in given if isinstance(photo, str | PathLike)]
    found = iter(find_each(named, ignore))
    together: list[Photo] = []
    for photo in given:
        together += next(found) if isinstance(photo, str | PathLike) else [photo]
    return together


def is_several(photo: Photo) -> bool:
    """Return whether a name stands for any number of photos: a folder, a list or a table."""
    path = path_of(photo)
    return path is not None and (path.is_dir() or is_list(path))


def _as_they_come(photos: Iterator[Photo], ignore: str | Iterable[str]) -> Iterator[Photo]:
    for photo in photos:
        path = path_of(photo)
        if path is None:
            yield photo
        elif is_several(path):
            yield from find_photos([path], ignore)
        else:
            yield path
