"""Limits of all readers for sizes and names in foreign files.

Declared sizes are compared with the file's size before memory is allocated. The name of an
archive's member is never used as a path.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mobilenetv2 import documents
from mobilenetv2.errors import MobileNetV2Error, WeightsError
from mobilenetv2.files import read_file
from mobilenetv2.zips import Zip, require_plain

LARGEST_FILE = 1024**3
"""Maximum size of a file in bytes, ten times that of the widest network's training checkpoint."""
LARGEST_GRAPH = 512 * 1024**2
"""Maximum size of an ONNX or LiteRT file in bytes; such files are read at once."""
MOST_ENTRIES = 20_000
"""Maximum number of arrays, nodes, groups or members; MobileNetV2 has 314 tensors."""
MOST_SIDES = 16
"""Maximum number of dimensions of a shape, and of inputs and outputs of an operator.

A vector may be listed many times in a file, so its length must be limited.
"""
LONGEST_NAME = 1024
EXPANSION, ROOM = 4, 64 * 1024**2
"""Limit of the arrays' bytes: this factor times the file's size, plus this many bytes.

Weights hardly compress, and the largest widening (bfloat16 to float32) doubles the bytes.
"""
LARGEST_JSON = documents.LARGEST_JSON
PIECE = 1024**2
"""Number of bytes of an archive's member that are read at a time."""


def most_bytes(size: int) -> int:
    """Return the maximum bytes of arrays that a file of ``size`` bytes may hold."""
    return EXPANSION * size + ROOM


class Budget:
    """Counter of the bytes and entries that a file's arrays may still use, before any is read."""

    def __init__(self, size: int) -> None:
        """Start with the budget of a file of ``size`` bytes."""
        self._left, self._entries = most_bytes(size), MOST_ENTRIES

    def take(self, name: str, count: int) -> None:
        """Count one entry of ``count`` bytes.

        Raises:
            WeightsError: the budget is exceeded, or the name is invalid.
        """
        self._entries -= 1
        self._left -= count
        if self._entries < 0:
            raise WeightsError(f"more than {MOST_ENTRIES:,} entries; no network of this kind")
        check_name(name)
        if count < 0 or self._left < 0:
            raise WeightsError(
                f"damaged or hostile: {name!r} is declared larger than the file can hold"
            )


def check_name(name: str) -> None:
    """Raise unless a name can be shown to people and written as JSON.

    Raises:
        WeightsError: the name is empty, too long, or not valid text.
    """
    if not 0 < len(name) <= LONGEST_NAME:
        raise WeightsError(f"damaged: an entry has a name of {len(name):,} characters")
    if clean(name) != name:
        raise WeightsError(f"damaged: {clean(name)[:80]!r} has characters that are not text")


def clean(text: str) -> str:
    """Return the text with '?' for characters that UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()


def numeric(array: NDArray, name: str) -> NDArray:
    """Return the array in native byte order, contiguous; bfloat16 is widened to float32.

    Raises:
        WeightsError: the array has another type.
    """
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise WeightsError(f"{name!r} has values of type {array.dtype}, which no network has")
    # ascontiguousarray would turn a scalar into a vector.
    return np.asarray(array, array.dtype.newbyteorder("="), order="C")


@contextmanager
def damage(what: str, path: Path | None = None) -> Iterator[None]:
    """Convert any error while a file is read into a :class:`WeightsError`.

    Args:
        what: kind of the file, which the message calls damaged.
        path: name of the file, if errors in the block do not begin with it.
    """
    try:
        yield
    except (MobileNetV2Error, MemoryError) as error:
        if path and isinstance(error, WeightsError):
            raise type(error)(f"{path}: {error}") from None
        raise
    except Exception as error:  # libraries raise errors of many types
        reason = clean(str(error) or type(error).__name__).strip().partition("\n")[0][:200]
        name = f"{path}: " if path else ""
        raise WeightsError(f"{name}damaged {what} ({reason}); download it again") from None


def read_graph_file(path: Path) -> bytes:
    """Read a whole ONNX or LiteRT file."""
    size = path.stat().st_size
    if size > LARGEST_GRAPH:
        raise WeightsError(f"{path}: {size:,} bytes are more than the limit of {LARGEST_GRAPH:,}")
    return read_file(path, LARGEST_GRAPH)


@contextmanager
def open_zip(path: Path) -> Iterator[Zip]:
    """Open a zip file after every member is read once and its checksum compared.

    PyTorch and Keras do not compare checksums, so damaged weights would not be noticed.

    Raises:
        WeightsError: damaged, too many members or bytes, a name that occurs twice, or encrypted.
    """
    with damage("zip file"), Zip(path, MOST_ENTRIES) as archive:
        budget, seen = Budget(path.stat().st_size), set()
        for member in archive.infolist():
            budget.take(member.filename, member.file_size)
            if member.filename in seen:
                raise WeightsError(f"damaged: the member {member.filename!r} occurs twice")
            require_plain(member)
            seen.add(member.filename)
        for member in archive.infolist():
            with archive.open(member) as file:
                while file.read(PIECE):
                    pass
        yield archive


def copy_member(source: IO[bytes], target: Path, size: int) -> None:
    """Copy a member whose declared size is ``size`` bytes.

    Raises:
        WeightsError: the member has another size.
    """
    left = size
    with target.open("xb") as file:
        while piece := source.read(min(PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                break
            file.write(piece)
    if left:
        raise WeightsError("damaged archive: the size of a member differs from the declared one")
