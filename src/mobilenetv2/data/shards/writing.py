"""Writing of shards: .tar files in WebDataset's layout, the same bytes each time.

A sample is two members, ``KEY.SUFFIX`` with the photo's bytes as they are and ``KEY.cls`` with the
number of its class. A key is the photo's number in its split. Times, owners and modes in the
headers are the same for all.
"""

import hashlib
import os
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import numpy as np

from mobilenetv2.data.shards.index import MOST_IN_SHARD, Shard
from mobilenetv2.files import TEMPORARY

BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
LABEL_BYTES = 2 * BLOCK
"""Bytes of a ``.cls`` member."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A photo to be written."""

    key: int
    """Number of the photo in its split."""
    name: str
    """Name of the photo in the data, which the index keeps."""
    label: int
    data: bytes


def shard_name(split: str, number: int) -> str:
    """Return the name of a shard."""
    return f"{split}-{number:06}.tar"


def member(name: str, data: bytes) -> bytes:
    """Return the header of a member; its bytes and :func:`padding` follow."""
    about = tarfile.TarInfo(name)
    about.size, about.mode = len(data), 0o644
    return about.tobuf(tarfile.USTAR_FORMAT)


def padding(size: int) -> bytes:
    """Return the zeros that fill a member's last block."""
    return bytes(-size % BLOCK)


def room(sample: Sample) -> int:
    """Return the bytes that a sample takes in a shard."""
    size = len(sample.data)
    return BLOCK + size + -size % BLOCK + LABEL_BYTES


@dataclass(slots=True)
class ShardFile:
    """A shard that is being written, under a temporary name until it is whole.

    Attributes:
        size: bytes that are written.
    """

    path: Path
    split: str
    size: int = 0
    _rows: list[tuple[str, int, int, int, int]] = field(default_factory=list)
    _file: BinaryIO | None = None
    _temporary: Path | None = None
    _digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, sample: Sample) -> None:
        """Write a sample."""
        suffix = sample.name.rpartition(".")[2].lower()
        offset = self.size + BLOCK
        label = str(sample.label).encode()
        self._write(
            member(f"{sample.key:09}.{suffix}", sample.data), sample.data,
            padding(len(sample.data)), member(f"{sample.key:09}.cls", label), label,
            padding(len(label)),
        )  # fmt: skip
        self._rows.append(
            (sample.name, offset, len(sample.data), sample.label, zlib.crc32(sample.data))
        )

    def finish(self) -> Shard:
        """Write the end, give the file its name, and return its entry in the index."""
        self._write(END)
        assert self._file is not None and self._temporary is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._temporary, self.path)
        names, offsets, sizes, labels, crcs = zip(*self._rows, strict=True)
        return Shard(
            self.path.name, self.split, self.size, self._digest.hexdigest(), names,
            np.array(offsets, np.int64), np.array(sizes, np.int64), np.array(labels, np.int32),
            np.array(crcs, np.uint32),
        )  # fmt: skip

    def discard(self) -> None:
        """Remove what is written so far."""
        if self._file is not None and self._temporary is not None:
            self._file.close()
            self._temporary.unlink(missing_ok=True)

    def _write(self, *parts: bytes) -> None:
        if self._file is None:
            name = f"{TEMPORARY}{self.path.name}-{uuid4().hex[:8]}"
            self._temporary = self.path.with_name(name)
            self._file = self._temporary.open("xb")
        for part in parts:
            self._file.write(part)
            self._digest.update(part)
            self.size += len(part)


def write_shards(
    folder: Path,
    split: str,
    samples: Iterable[Sample],
    shard_bytes: int,
    first: int = 0,
    done: Callable[[Shard], None] = lambda shard: None,
) -> Iterator[Sample]:
    """Write samples in their order, and yield each that is written.

    Args:
        folder: an existing folder.
        split: split of the samples, with which the files' names begin.
        samples: the samples.
        shard_bytes: size from which a shard is full; a single larger photo has its own.
        first: number of the first shard.
        done: function that is called with each shard that is whole.
    """
    number, file = first, ShardFile(folder / shard_name(split, first), split)
    try:
        for sample in samples:
            full = len(file) and file.size + room(sample) + len(END) > shard_bytes
            if full or len(file) == MOST_IN_SHARD:
                done(file.finish())
                number += 1
                file = ShardFile(folder / shard_name(split, number), split)
            file.add(sample)
            yield sample
        if len(file):
            done(file.finish())
    finally:
        file.discard()
