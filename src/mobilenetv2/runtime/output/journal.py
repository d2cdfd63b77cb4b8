"""Record of the photos that are done, so that a killed run can go on where it was.

It lies beside the unfinished file of answers, and has one entry of fixed length for each photo:
who it is (its name), in which state it was (size and time of its file), and where its rows end. The
rows are written first, so that an entry stands for rows that are there. What a kill left behind the
last entry is cut off.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.documents import parse_table
from mobilenetv2.errors import MobileNetV2Error, argument
from mobilenetv2.files import open_file
from mobilenetv2.images.decode import LIMITS
from mobilenetv2.images.photo import PackedPhoto, Photo, path_of

ENTRY = np.dtype([("name", "<u8"), ("state", "<u8"), ("end", "<u8"), ("failed", "u1")])
"""Entry of one photo: digests of its name and of its state, the end of its rows in bytes, and 1 if
it has no answer."""
LONGEST_HEADER = 1024 * 1024
SECONDS_BETWEEN_SYNCS = 30.0
"""Seconds after which what was written is forced to the disk, should the power fail."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A photo as a journal knows it."""

    name: int
    """Digest of its name, or of its place among those in memory."""
    state: int
    """Digest of its file's size and time, or of its contents in memory."""


def settings_in(path: Path) -> Mapping[str, Any]:
    """Return the settings of the run that a journal is of.

    Raises:
        MobileNetV2Error: it is damaged.
        OSError: it cannot be read.
    """
    with open_file(path) as file:
        return _parsed(file.readline(LONGEST_HEADER), path)


def _parsed(header: bytes, path: Path) -> Mapping[str, Any]:
    return parse_table(header, str(path), MobileNetV2Error)


def identity(photo: Photo, number: int = 0) -> Identity:
    """Return the identity of a photo; one whose file is not there has a state of its own.

    Args:
        photo: the photo.
        number: number of photos in memory before it.
    """
    path = path_of(photo)
    if path is None:
        return Identity(_digest(f"\0{number}".encode()), _contents(photo))
    try:
        status = (photo.place if isinstance(photo, PackedPhoto) else path).stat()
        state = f"{status.st_size} {status.st_mtime_ns}"
    except (OSError, ValueError):
        state = "not there"
    return Identity(_digest(os.fsencode(path)), _digest(state.encode()))


def _contents(photo: Photo) -> int:
    """Return the digest of a photo in memory; that of one that cannot be read is of its type."""
    if isinstance(photo, bytes):
        return _digest(photo)
    if isinstance(photo, Image.Image) and photo.width * photo.height > LIMITS.pixels:
        return _digest(repr(photo.size).encode())  # it will be refused
    with suppress(OSError, ValueError, SyntaxError):  # what Pillow raises for damaged files
        pixels = np.ascontiguousarray(photo)
        kind = (photo.mode, photo.getpalette()) if isinstance(photo, Image.Image) else None
        made = blake2b(repr((kind, pixels.dtype, pixels.shape)).encode(), digest_size=8)
        made.update(pixels.data)
        return int.from_bytes(made.digest(), "little")
    return _digest(repr(type(photo)).encode())


def _digest(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


class Journal:
    """The photos that are done, of this run and of those before it.

    Args:
        path: file of the journal.
        settings: what the answers depend on, such as the model; plain values for JSON.
        resume: True to go on with an existing journal.

    Raises:
        MobileNetV2Error: a journal of other settings is there, or a damaged one.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], resume: bool) -> None:
        self.path = path
        header = json.dumps(settings, sort_keys=True).encode() + b"\n"
        found = np.zeros(0, ENTRY)
        if resume:
            found = self._read(header)
        self._file: BinaryIO = path.open("r+b" if resume else "wb")
        if not resume:
            self._file.write(header)
            self._file.flush()
        self._start = len(header)
        self._obsolete = set[int]()
        self._added = 0
        self._keep(found)

    def _keep(self, found: NDArray) -> None:
        """Take entries as those of the runs before, and sort them by name to find them."""
        self._found, self._order = found, np.argsort(found["name"], kind="stable")
        self._names, self._first, self._count = np.unique(
            found["name"][self._order], return_index=True, return_counts=True
        )
        self._left = self._count.copy()

    def _read(self, header: bytes) -> NDArray:
        with open_file(self.path) as file:
            said = file.readline(LONGEST_HEADER)
            data = file.read()
        if said != header:
            known = _parsed(said, self.path)
            other = json.loads(header)
            keys = {*known, *other}
            names = ", ".join(sorted(key for key in keys if known.get(key) != other.get(key)))
            raise MobileNetV2Error(
                f"{self.path}: the run that was stopped had other settings ({names}); give the "
                f"same, or {argument('overwrite', True)} to start anew"
            )
        return np.frombuffer(data[: len(data) // ENTRY.itemsize * ENTRY.itemsize], ENTRY)

    def cut(self, size: int) -> int:
        """Forget entries whose rows are not there, and return where the rows of the others end.

        Args:
            size: bytes of the file of rows.

        Returns:
            Bytes to keep of the rows; 0 if no photo is done.
        """
        whole = self._found["end"] <= size
        count = len(whole) if whole.all() else int(np.argmin(whole))
        self._keep(self._found[:count])
        self._file.truncate(self._start + count * ENTRY.itemsize)
        self._file.seek(0, os.SEEK_END)
        return int(self._found["end"][-1]) if count else 0

    @property
    def entries(self) -> int:
        """Number of all entries; those of photos that have changed are counted, too."""
        return len(self._found) + self._added

    @property
    def written(self) -> int:
        """Number of photos that have an entry and have not changed."""
        return len(self) + self._added

    def __len__(self) -> int:
        """Return the number of photos that earlier runs have done, and that have not changed."""
        return len(self._found) - len(self._obsolete)

    @property
    def failed(self) -> int:
        """Number of those that have no answer."""
        failed = self._found["failed"]
        return int(failed.sum()) - sum(int(failed[at]) for at in self._obsolete)

    def is_done(self, photo: Identity) -> bool:
        """Return True for a photo that is done, once for each time that it was done.

        A photo that has changed since is not done: its old rows are obsolete.
        """
        place = int(np.searchsorted(self._names, photo.name))
        if place == len(self._names) or int(self._names[place]) != photo.name:
            return False
        if not self._left[place]:
            return False
        self._left[place] -= 1
        first = self._first[place]
        entries = self._order[first : first + self._count[place]]
        if all(int(self._found["state"][at]) == photo.state for at in entries):
            return True
        self._obsolete |= {int(at) for at in entries}
        self._left[place] = 0
        return False

    def add(self, done: list[tuple[Identity, int, bool]]) -> None:
        """Add photos whose rows are written.

        Args:
            done: (identity, end of its rows in bytes, True if it has no answer) of each.
        """
        entries = np.array([(one.name, one.state, end, bad) for one, end, bad in done], ENTRY)
        self._file.write(entries.tobytes())
        self._file.flush()
        self._added += len(done)

    def sync(self) -> None:
        """Force what was written to the disk."""
        os.fsync(self._file.fileno())

    def obsolete(self, start: int) -> list[tuple[int, int]]:
        """Return the (first, last) bytes of rows of photos that have changed since.

        Args:
            start: bytes before the first row.
        """
        ends = self._found["end"]
        return [
            (int(ends[at - 1]) if at else start, int(ends[at])) for at in sorted(self._obsolete)
        ]

    def close(self) -> None:
        """Close the file."""
        self._file.close()
