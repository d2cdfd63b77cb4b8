"""Photos named on a command line."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.sources import FolderSource
from mobilenetv2.errors import DataError
from mobilenetv2.images.decode import SUFFIXES, read_photo
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.spec.records import Preprocessing


def photos(names: list[str]) -> list[Path]:
    """The photos named, and those in the folders named, at any depth, in order.

    Raises:
        DataError: a name that is not there, or a folder without photos.
    """
    found: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = [
                path / entry
                for entry in FolderSource(path).names()
                if Path(entry).suffix.lower() in SUFFIXES and not entry.endswith("/")
            ]
            if not inside:
                raise DataError(f"{path}: no photos in this folder")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise DataError(f"{path}: no such photo or folder")
    return found


def pictures(names: list[str], record: Preprocessing) -> NDArray:
    """The photos named, as a network takes them: uint8 (photos, height, width, channels).

    Raises:
        DataError, ImageError: as :func:`photos`, or one that cannot be read.
    """
    return np.stack([preprocess(read_photo(path), record, str(path)) for path in photos(names)])
