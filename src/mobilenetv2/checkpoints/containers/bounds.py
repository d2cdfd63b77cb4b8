"""The bounds of all readers: nothing of a foreign file is taken for granted.

Sizes are held against the file's own before memory is taken, and no member of an archive is ever
a path.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import MobileNetV2Error, WeightsError
from mobilenetv2.files import read_file

LARGEST_FILE = 1024**3
"""Bytes: a training checkpoint of the widest published network, with all its state, is a tenth."""
LARGEST_GRAPH = 512 * 1024**2
"""Bytes of an ONNX or LiteRT file, which is read at once."""
MOST_ENTRIES = 20_000
"""Arrays, nodes, groups or members: MobileNetV2 has 314 tensors, a checkpoint a few times that."""
MOST_SIDES = 16
"""Of a shape, and inputs and outputs of one operator: a vector may be listed many times."""
LONGEST_NAME = 1024
EXPANSION, ROOM = 4, 64 * 1024**2
"""Arrays may take this many times the file's size, and this much beside it.

Weights hardly compress, and the widest widening (bfloat16 to float32) takes twice the bytes.
"""
LARGEST_JSON = 16 * 1024**2
PIECE = 1024**2
"""Bytes of an archive's member that are held at a time."""


def most_bytes(size: int) -> int:
    """Return how many bytes of arrays a file of ``size`` bytes may hold; beyond, it is a bomb."""
    return EXPANSION * size + ROOM


class Budget:
    """What a file's arrays may still take, counted before any of them is read."""

    def __init__(self, size: int) -> None:
        """``size`` is the file's, in bytes."""
        self._left, self._entries = most_bytes(size), MOST_ENTRIES

    def take(self, name: str, count: int) -> None:
        """Count one entry of ``count`` bytes."""
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
    """Raise unless a name can be shown to people and written as JSON."""
    if not 0 < len(name) <= LONGEST_NAME:
        raise WeightsError(f"damaged: an entry has a name of {len(name):,} characters")
    if clean(name) != name:
        raise WeightsError(f"damaged: {clean(name)[:80]!r} has characters that are no text")


def clean(text: str) -> str:
    """Return the text with '?' for what cannot be written as UTF-8."""
    return text.encode("utf-8", "replace").decode()


def numeric(array: NDArray, name: str) -> NDArray:
    """Return the array in native byte order, contiguous; bfloat16 widened to float32."""
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise WeightsError(f"{name!r} has values of type {array.dtype}, which no network has")
    # Not ascontiguousarray, which makes a vector of a scalar.
    return np.asarray(array, array.dtype.newbyteorder("="), order="C")


@contextmanager
def damage(what: str, path: Path | None = None) -> Iterator[None]:
    """Turn whatever goes wrong while a file is read into a :class:`WeightsError`.

    Args:
        what: kind of the file, which is then said to be damaged.
        path: its name, where the errors inside do not begin with it yet.
    """
    try:
        yield
    except (MobileNetV2Error, MemoryError) as error:
        if path and isinstance(error, WeightsError):
            raise WeightsError(f"{path}: {error}") from None
        raise
    except Exception as error:  # libraries raise what they like, and change it
        reason = clean(str(error) or type(error).__name__).strip().partition("\n")[0][:200]
        name = f"{path}: " if path else ""
        raise WeightsError(f"{name}damaged {what} ({reason}); download it again") from None


def read_graph_file(path: Path) -> bytes:
    """Read a whole ONNX or LiteRT file."""
    size = path.stat().st_size
    if size > LARGEST_GRAPH:
        raise WeightsError(f"{path}: {size:,} bytes are more than the limit of {LARGEST_GRAPH:,}")
    return read_file(path)


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip whose every member was read once and has the checksum that it should.

    PyTorch and Keras do not look at checksums: damaged weights would come in unnoticed.

    Raises:
        WeightsError: damaged, too many members or bytes, one name twice, or encrypted.
    """
    with damage("zip file"), zipfile.ZipFile(path) as archive:
        budget, seen = Budget(path.stat().st_size), set()
        for member in archive.infolist():
            budget.take(member.filename, member.file_size)
            if member.filename in seen:
                raise WeightsError(f"damaged: the member {member.filename!r} is there twice")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise WeightsError(f"the member {member.filename!r} is compressed unusually")
            seen.add(member.filename)
        for member in archive.infolist():
            with archive.open(member) as file:
                while file.read(PIECE):
                    pass
        yield archive


def copy_member(source: IO[bytes], target: Path, size: int) -> None:
    """Copy the ``size`` bytes that an archive declares, and not one more."""
    left = size
    with target.open("xb") as file:
        while piece := source.read(min(PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                break
            file.write(piece)
    if left:
        raise WeightsError("damaged archive: a member has not the size that it declares")
