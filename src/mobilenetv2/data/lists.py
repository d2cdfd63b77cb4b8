"""Lists of photos: ``@list.txt``, ``@-`` for standard input, or a table that names photos.

A list has a path on each line, or paths that end with a NUL, as ``find -print0`` writes them. A
relative path is looked for in the list's folder, else in the current one; those of standard input
only in the current one. A path that leads nowhere stays, so that it has an answer of its own.
"""

import codecs
import os
import sys
import time
from collections.abc import Generator, Iterator
from io import BufferedIOBase
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from mobilenetv2.data.names import is_table
from mobilenetv2.errors import DataError
from mobilenetv2.files import exists, open_file
from mobilenetv2.text import escaped

MOST_BYTES = 1024**3
"""Largest size of a list, which is read as its names are needed."""
FIRST, LONGEST = 64 * 1024, 64 * 1024
"""Bytes that are read at once, and of the longest name in a list."""
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


def listed_photos(name: str | PathLike[str]) -> Generator[Path, None, None]:
    """Yield the photos and folders of a list or a table, each when its turn comes.

    Args:
        name: '@' and a path, '@-', or the path of a table; :func:`is_list` says that it is one.

    Raises:
        DataError: the list is not there, is empty or no text, or the table names no photos.
        OSError: it cannot be opened.
        MissingExtra: the package that reads Parquet is not installed.
    """
    text = os.fspath(name)
    if not text.startswith("@"):
        from mobilenetv2.data.tables.photos import photos_of  # most calls name no table

        yield from photos_of(Path(name))
        return
    if text == STDIN:
        # Not through the buffer: its lock would be held while another thread ends the process.
        stream = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
        for one in _names(stream, "standard input"):
            yield Path(one)
        return
    path = Path(text[1:])
    if not path.exists():
        raise DataError(f"{escaped(path)}: no such list of photos")
    with open_file(path) as file:
        for one in _names(file, escaped(path)):
            beside = path.parent / one
            yield beside if exists(beside) or not exists(Path(one)) else Path(one)


def _names(stream: BinaryIO, place: str) -> Iterator[str]:
    """Yield the names in a list, in order, as they come.

    Raises:
        DataError: it is too large, is no text, or names nothing.
    """
    read, found = 0, False
    for part in _parts(stream, place):
        read += len(part) + 1
        _require_size(read, place)
        if not part.strip():
            continue
        if b"\0" in part:
            raise DataError(f"{place}: a name in the list holds a NUL, which no path has")
        found = True
        yield os.fsdecode(part)
    if not found:
        raise DataError(f"{place}: the list names no photo; write one path a line")


def _parts(stream: BinaryIO, place: str) -> Iterator[bytes]:
    """Yield the lines of a list, or what its NULs end, as bytes of UTF-8 or of names on a disk."""
    start = _next(stream)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as PowerShell writes it
        try:
            text = _rest(stream, start, place).decode("utf-16")
        except UnicodeDecodeError:
            raise DataError(f"{place}: neither UTF-8 nor UTF-16; save the list as UTF-8") from None
        yield from (line.encode() for line in text.splitlines())
        return
    rest = start.removeprefix(codecs.BOM_UTF8)
    while start and not (b"\0" in rest or b"\n" in rest) and len(rest) <= LONGEST:
        start = _next(stream)  # of a slow writer, whose first name is not whole yet
        rest += start
    end = b"\0" if b"\0" in rest else b"\n"
    while start:
        *whole, rest = rest.split(end)
        yield from (one.rstrip(b"\r") if end == b"\n" else one for one in whole)
        if len(rest) > LONGEST:
            raise DataError(f"{place}: a line with more than {LONGEST:,} bytes is no path")
        start = _next(stream)
        rest += start
    yield rest.rstrip(b"\r")


def _rest(stream: BinaryIO, start: bytes, place: str) -> bytes:
    """Return all bytes of a list; raise DataError if they are too many."""
    parts, read = [start], len(start)
    while part := _next(stream):
        parts.append(part)
        read += len(part)
        _require_size(read, place)
    return b"".join(parts)


def _require_size(count: int, place: str) -> None:
    if count > MOST_BYTES:
        raise DataError(f"{place}: the list has more bytes than the limit of {MOST_BYTES:,}")


def _next(stream: BinaryIO) -> bytes:
    """Return the bytes that are there, at least one; none at the end."""
    read = stream.read1 if isinstance(stream, BufferedIOBase) else stream.read
    found: bytes | None = read(FIRST)
    while found is None:  # nothing is there yet, and the stream does not wait
        time.sleep(0.05)
        found = read(FIRST)
    return found
