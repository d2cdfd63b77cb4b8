"""Lists of photos: ``@list.txt``, ``@-`` for standard input, or a table that names photos.

A list has a path on each line, or paths that end with a NUL, as ``find -print0`` writes them. A
relative path is looked for in the list's folder, else in the current one; those of standard input
only in the current one. A path that leads nowhere stays, so that it has an answer of its own.
"""

import codecs
import os
import sys
from os import PathLike
from pathlib import Path

from mobilenetv2.data.tables import is_table
from mobilenetv2.errors import DataError
from mobilenetv2.files import open_file
from mobilenetv2.text import escaped

MOST_BYTES = 64 * 1024**2
"""Largest size of a list."""
STDIN = "@-"
"""Name of the list that comes on standard input."""


def is_list(name: str | PathLike[str]) -> bool:
    """Return whether a name is that of a list or of a table.

    A file whose own name begins with '@' is no list.
    """
    text, path = os.fspath(name), Path(name)
    if text.startswith("@"):
        return len(text) > 1 and not path.exists()
    return is_table(text) and path.is_file()


def listed_photos(name: str | PathLike[str]) -> list[Path] | None:
    """Return the photos and folders of a list or a table; None for a name that is neither.

    Args:
        name: '@' and a path, '@-', or the path of a table.

    Raises:
        DataError: the list is not there, is empty or no text, or the table names no photos.
        OSError: it cannot be opened.
        MissingExtra: the package that reads Parquet is not installed.
    """
    if not is_list(name):
        return None
    text = os.fspath(name)
    if not text.startswith("@"):
        from mobilenetv2.data.table_photos import photos_of  # most calls name no table

        return photos_of(Path(name))
    if text == STDIN:
        names, folder = _names(sys.stdin.buffer.read(MOST_BYTES + 1), "standard input"), Path()
    else:
        path = Path(text[1:])
        if not path.exists():
            raise DataError(f"{escaped(path)}: no such list of photos")
        with open_file(path) as file:
            names, folder = _names(file.read(MOST_BYTES + 1), escaped(path)), path.parent
    found: list[Path] = []
    for one in names:
        beside = folder / one
        found.append(beside if beside.exists() or not Path(one).exists() else Path(one))
    return found


def _names(data: bytes, place: str) -> list[str]:
    """Return the names in a list, in order.

    Raises:
        DataError: it is too large, is no text, or names nothing.
    """
    if len(data) > MOST_BYTES:
        raise DataError(f"{place}: the list has more bytes than the limit of {MOST_BYTES:,}")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as PowerShell writes it
        try:
            names = [line for line in data.decode("utf-16").splitlines() if line.strip()]
        except UnicodeDecodeError:
            raise DataError(f"{place}: neither UTF-8 nor UTF-16; save the list as UTF-8") from None
    else:
        data = data.removeprefix(codecs.BOM_UTF8)
        parts = data.split(b"\0") if b"\0" in data else data.splitlines()
        names = [os.fsdecode(part) for part in parts if part.strip()]
    if any("\0" in name for name in names):
        raise DataError(f"{place}: a name in the list holds a NUL, which no path has")
    if not names:
        raise DataError(f"{place}: the list names no photo; write one path a line")
    return names
