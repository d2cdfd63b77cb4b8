"""Photos in shards, each read by its place in the index; nothing is unpacked.

A photo is one read of a part of a file. What is read has the CRC-32 of the index, so that another
file of the same name, or a damaged one, is an error and no other picture.
"""

import os
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import BufferedReader
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.layout import Layout
from mobilenetv2.data.passed_over import Ignore, PassedOver, passed_folder
from mobilenetv2.data.shards.index import INDEX, Index, Lines, is_index, read_index
from mobilenetv2.data.shards.order import buffered_order
from mobilenetv2.data.sources import Source
from mobilenetv2.errors import DataError, ImageError, argument
from mobilenetv2.files import open_file
from mobilenetv2.images.decode import LIMITS
from mobilenetv2.images.memory import SHARED
from mobilenetv2.text import escaped

MOST_OPEN = 64
"""Largest number of shards that are kept open; others are opened for each photo."""
START = 256
"""Bytes by which a file is known to be an index."""


class Files(Protocol):
    """The folder of an index: its files, read in parts."""

    name: str
    """Name of the folder, for messages."""

    def lines(self, file: str) -> AbstractContextManager[Lines]:
        """Open a file to be read line by line.

        Raises:
            DataError: it is not there, or cannot be read.
        """

    def part(self, file: str, offset: int, size: int) -> bytes:
        """Return a part of a file; fewer bytes where it ends earlier.

        Raises:
            OSError: it cannot be read.
        """

    def ahead(self, parts: Sequence[tuple[str, int, int]]) -> AbstractContextManager[None]:
        """Read parts (file, offset, size) ahead of their turn while the ``with`` block lasts."""


class LocalFiles:
    """A folder on the disk.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, escaped(folder)
        self._open: dict[str, BufferedReader] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._open)

    @contextmanager
    def lines(self, file: str) -> Iterator[Lines]:
        """Open a file to be read line by line."""
        with open_file(self.folder / file) as opened:
            yield opened

    def part(self, file: str, offset: int, size: int) -> bytes:
        """Return a part of a file; fewer bytes where it ends earlier."""
        with self._lock:
            opened = self._open.get(file)
            if opened is None and len(self._open) < MOST_OPEN:
                opened = self._open[file] = open_file(self.folder / file)
        if opened is not None and hasattr(os, "pread"):  # without a place that threads would share
            return _read_at(opened.fileno(), offset, size)
        with open_file(self.folder / file) as own:
            own.seek(offset)
            return own.read(size)

    def ahead(self, parts: Sequence[tuple[str, int, int]]) -> AbstractContextManager[None]:
        """Return a context that does nothing: the system reads files of a disk ahead."""
        return nullcontext()


def _read_at(descriptor: int, offset: int, size: int) -> bytes:
    data = os.pread(descriptor, size, offset)
    while len(data) < size and (more := os.pread(descriptor, size - len(data), offset + len(data))):
        data += more
    return data


def _close(files: dict[str, BufferedReader]) -> None:
    for file in files.values():
        file.close()


class ShardSource(Source):
    """Photos of an index.

    Args:
        files: the folder of the index.
        index: the index.
        ignore: patterns of names that are passed over.
    """

    def __init__(self, files: Files, index: Index, ignore: Ignore | None = None) -> None:
        self.files, self.index = files, index
        patterns, passed = ignore or Ignore(), PassedOver()
        self._places: dict[str, tuple[int, int]] = {}
        for number, shard in enumerate(index.shards):
            for row, name in enumerate(shard.names):
                if found := passed_folder(name.split("/"), patterns):
                    passed.add(found[1], name)
                else:
                    self._places[name] = number, row
        if not self._places:
            raise DataError(f"{files.name}: {argument('ignore')} passes over all its photos")
        super().__init__(files.name, self._places, passed)

    def layout(self) -> Layout:
        """Return the photos by split and class, as the index says; a class may have none."""
        classes, splits = self.index.classes, dict[str, dict[str, list[str]]]()
        used = np.unique(np.concatenate([shard.labels for shard in self.index.shards]))
        empty = [name for label, name in enumerate(classes) if label not in used]
        for name, (number, row) in self._places.items():
            shard = self.index.shards[number]
            inside = splits.setdefault(shard.split, {one: [] for one in empty})
            inside.setdefault(classes[shard.labels[row]], []).append(name)
        return Layout(splits)

    def size(self, name: str) -> int:
        """Return the bytes of a photo."""
        return self._part(name)[2]

    def read(self, name: str) -> bytes:
        """Return a photo's bytes."""
        number, row = self._places[name]
        shard = self.index.shards[number]
        size, offset = int(shard.sizes[row]), int(shard.offsets[row])
        if size > LIMITS.bytes:
            raise ImageError(f"{self.place}/{name}: larger than {LIMITS.bytes:,} bytes")
        SHARED.claim_file(size)
        where = f"{self.place}/{name}: cannot be read"
        try:
            data = self.files.part(shard.file, offset, size)
        except DataError as error:
            raise ImageError(f"{where} ({error})") from None
        except OSError as error:
            raise ImageError(f"{where} ({shard.file}: {error.strerror or error})") from None
        if len(data) < size:
            raise ImageError(f"{where} ({shard.file} is truncated)")
        if zlib.crc32(data) != shard.crcs[row]:
            raise ImageError(
                f"{where} ({shard.file} holds other bytes than the index says; fetch it again, or "
                "make the shards anew)"
            )
        return data

    def ahead(self, names: Sequence[str]) -> AbstractContextManager[None]:
        """Read photos ahead of their turn, in about the order in which they will be read."""
        return self.files.ahead(_Parts(self._part, names))

    def _part(self, name: str) -> tuple[str, int, int]:
        number, row = self._places[name]
        shard = self.index.shards[number]
        return shard.file, int(shard.offsets[row]), int(shard.sizes[row])

    def places(self, names: Sequence[str]) -> tuple[NDArray, NDArray, NDArray]:
        """Return each photo's shard, its offset there and its size, all int64 (names,)."""
        found = np.array([self._places[name] for name in names], np.int64).reshape(-1, 2)
        offsets, sizes = np.empty(len(found), np.int64), np.empty(len(found), np.int64)
        for number in np.unique(found[:, 0]):
            here, shard = found[:, 0] == number, self.index.shards[number]
            offsets[here] = shard.offsets[found[here, 1]]
            sizes[here] = shard.sizes[found[here, 1]]
        return found[:, 0], offsets, sizes

    def stored(self, names: Sequence[str]) -> NDArray:
        """Return the order in which the photos lie in the shards, int64 (names,)."""
        shards, offsets, _ = self.places(names)
        return np.lexsort((offsets, shards))

    def buffered(self, names: Sequence[str], seed: int, epoch: int) -> NDArray:
        """Return a shuffled order in which the shards are read in large parts, int64 (names,)."""
        return buffered_order(*self.places(names), seed, epoch)


class _Parts(Sequence[tuple[str, int, int]]):
    """Parts of files of photos by their names, each made when it is asked for."""

    def __init__(self, part: Callable[[str], tuple[str, int, int]], names: Sequence[str]) -> None:
        self._part, self._names = part, names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, at: Any) -> Any:
        return self._part(self._names[at])


def shards_at(path: Path) -> Path | None:
    """Return the folder of shards at a path: a folder with an index, or the index; else None."""
    folder, file = (path, path / INDEX) if path.is_dir() else (path.parent, path)
    if file.name != INDEX or not file.is_file():
        return None
    with open_file(file) as opened:
        return folder if is_index(opened.read(START)) else None


def open_shards(files: Files, ignore: Ignore | None = None) -> ShardSource:
    """Open the shards of a folder.

    Raises:
        DataError: the index is damaged.
        OSError: it cannot be read.
    """
    with files.lines(INDEX) as opened:
        index = read_index(opened, f"{files.name}/{INDEX}")
    return ShardSource(files, index, ignore)
