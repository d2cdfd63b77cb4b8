"""Unpacking of a compressed tar archive, to a temporary file that nobody else can open.

Photos of a compressed archive cannot be read one by one in any order, so that the whole is unpacked
once. Its size is bounded by the disk's free space and by a multiple of the archive's size: photos
hardly shrink, and a file that grows a thousandfold is a bomb. The temporary file has no name, and
is gone with the program.
"""

import bz2
import gzip
import lzma
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from mobilenetv2.errors import DataError, require
from mobilenetv2.files import open_file
from mobilenetv2.text import escaped

CHUNK = 1024**2
LARGEST_RATIO = 200
"""Largest ratio of the unpacked size to the archive's; that of empty pictures as BMP is below."""
SMALL = 32 * CHUNK
"""Unpacked size in bytes up to which any ratio is taken."""
LZMA_MEMORY = 256 * CHUNK
"""Most memory of an .xz archive's dictionary, in bytes; that of 'xz -9' takes 65 MiB."""
WINDOW = 128 * CHUNK
"""Largest window of a .zst archive, in bytes; that of 'zstd --ultra --long' is as large."""


def unpacked(path: Path, suffix: str) -> IO[bytes]:
    """Return the unpacked bytes of a compressed file, as an open temporary file.

    Args:
        path: the file.
        suffix: its kind, a key of :data:`KINDS`.

    Raises:
        DataError: the file is damaged, or too large when unpacked.
        MissingExtra: the package for its kind is not installed.
        OSError: the disk cannot be read or written.
    """
    read = KINDS[suffix]
    limit = max(SMALL, path.stat().st_size * LARGEST_RATIO)
    free = shutil.disk_usage(tempfile.gettempdir()).free
    size = 0
    try:
        with ExitStack() as stack, open_file(path) as packed:
            made = stack.enter_context(tempfile.TemporaryFile())
            for data in read(packed):
                size += len(data)
                if size > limit:
                    raise DataError(
                        f"{escaped(path)}: unpacks to more than {LARGEST_RATIO} times its size, "
                        "which photos do not; it was not unpacked further"
                    )
                if size > free:
                    raise DataError(
                        f"{escaped(path)}: the temporary folder {tempfile.gettempdir()} has not "
                        "enough space to unpack it; unpack it elsewhere and give its folder"
                    )
                made.write(data)
            made.seek(0)
            stack.pop_all()  # it is returned open
            return made
    except (lzma.LZMAError, zlib.error, EOFError, gzip.BadGzipFile, _Damaged) as error:
        raise DataError(
            f"{escaped(path)}: damaged {suffix.removeprefix('.')} archive ({error})"
        ) from None


class _Damaged(Exception):
    """A compressed file that is damaged."""


def _gzip(packed: IO[bytes]) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=packed) as stream:
        while data := stream.read(CHUNK):
            yield data


def _bzip2(packed: IO[bytes]) -> Iterator[bytes]:
    with bz2.BZ2File(packed) as stream:
        try:
            while data := stream.read(CHUNK):
                yield data
        except OSError as error:  # what bz2 raises for damaged data
            raise _Damaged(error) from None


def _xz(packed: IO[bytes]) -> Iterator[bytes]:
    # LZMAFile has no limit of memory.
    data, stream = packed.read(CHUNK), lzma.LZMADecompressor(memlimit=LZMA_MEMORY)
    while data or not stream.needs_input:
        made = stream.decompress(data, CHUNK)
        if made:
            yield made
        data = b""
        if stream.eof:
            data = stream.unused_data.lstrip(b"\0") or packed.read(CHUNK).lstrip(b"\0")
            if not data:
                return
            stream = lzma.LZMADecompressor(memlimit=LZMA_MEMORY)
        elif stream.needs_input:
            data = packed.read(CHUNK)
    raise EOFError("it ends too early")


def _zstandard(packed: IO[bytes]) -> Iterator[bytes]:
    # A file that is cut short ends without an error; the tar archive in it then has no end.
    library: Any = require("zstandard")
    unpacker = library.ZstdDecompressor(max_window_size=WINDOW)
    try:
        with unpacker.stream_reader(packed, read_across_frames=True) as stream:
            while data := stream.read(CHUNK):
                yield data
    except library.ZstdError as error:
        raise _Damaged(error) from None


KINDS: dict[str, Callable[[IO[bytes]], Iterator[bytes]]] = {
    ".gz": _gzip, ".tgz": _gzip, ".bz2": _bzip2, ".tbz2": _bzip2, ".xz": _xz, ".txz": _xz,
    ".zst": _zstandard, ".tzst": _zstandard,
}  # fmt: skip
"""Function that yields the unpacked bytes, by the last suffix in lower case."""
