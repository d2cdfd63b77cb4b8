"""Facts of a place of labelled photos: the function ``mn.data_info``."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from mobilenetv2.data.archives import ArchivesSource, TarSource, ZipSource
from mobilenetv2.data.batches import in_parallel
from mobilenetv2.data.dataset import Split, open_dataset
from mobilenetv2.data.imagenet import ImageNetSource
from mobilenetv2.data.shards.index import Shard
from mobilenetv2.data.shards.source import ShardSource
from mobilenetv2.data.sources import FolderSource, MemorySource, Source
from mobilenetv2.data.tables.inside import InsideSource
from mobilenetv2.data.tables.photos import ListedSource
from mobilenetv2.errors import DataError
from mobilenetv2.progress import track
from mobilenetv2.text import counted

KINDS: Mapping[type[Source], str] = {
    ShardSource: "shards",
    FolderSource: "folder",
    ZipSource: "archive",
    TarSource: "archive",
    ArchivesSource: "archives",
    ImageNetSource: "archives",
    ListedSource: "table",
    InsideSource: "parquet",
    MemorySource: "built-in",
}
"""Word for a place of photos by its source."""
CHUNK = 8 * 1024**2


@dataclass(frozen=True, slots=True)
class SplitInfo:
    """Facts of a split."""

    photos: int
    bytes: int | None
    """Bytes of the photos' files; None if a file is not there."""
    counts: dict[str, int]
    """Number of photos of each class."""
    shards: int = 0


@dataclass(frozen=True, slots=True)
class DataInfo:
    """Facts of a place of labelled photos, without reading any of them."""

    place: str
    kind: str
    """Kind of the place: 'folder', 'archive', 'archives', 'table', 'shards', 'parquet' or
    'built-in'."""
    classes: tuple[str, ...]
    splits: dict[str, SplitInfo]
    notes: tuple[str, ...]
    """Notes on what was found, one sentence each."""
    damaged: tuple[str, ...] | None = None
    """Shards whose bytes are other ones than the index says; None if they were not compared."""

    @property
    def photos(self) -> int:
        """Number of photos."""
        return sum(split.photos for split in self.splits.values())

    @property
    def bytes(self) -> int | None:
        """Bytes of the photos' files; None if they are unknown."""
        sizes = [split.bytes for split in self.splits.values()]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def shards(self) -> int:
        """Number of shards; 0 for another place than shards."""
        return sum(split.shards for split in self.splits.values())

    def __str__(self) -> str:
        size = "unknown size" if self.bytes is None else f"{self.bytes / 1e6:,.1f} MB"
        text = (
            f"{self.place}: {self.kind}, {counted(self.photos, 'photo')} of "
            f"{counted(len(self.classes), 'class')}, {size}"
        )
        return f"{text}, {counted(self.shards, 'shard')}" if self.shards else text

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain values for JSON."""
        return {
            "place": self.place, "kind": self.kind, "photos": self.photos, "bytes": self.bytes,
            "shards": self.shards, "classes": list(self.classes),
            "splits": {
                name: {
                    "photos": split.photos, "bytes": split.bytes, "shards": split.shards,
                    "classes": split.counts,
                }
                for name, split in self.splits.items()
            },
            "notes": list(self.notes),
            **({} if self.damaged is None else {"damaged": list(self.damaged)}),
        }  # fmt: skip


def data_info(
    data: str | PathLike[str],
    *,
    check: bool = False,
    ignore: str | Sequence[str] = (),
    zip_encoding: str | None = None,
) -> DataInfo:
    """Return what a place of labelled photos holds: classes, photos, splits, bytes, shards.

    Args:
        data: labelled photos, as :func:`mobilenetv2.train` takes them.
        check: True to read all shards and compare them with the index.
        ignore: patterns of names of files and folders that are passed over, such as "raw*".
        zip_encoding: encoding of names in an archive that are not marked as UTF-8.

    Raises:
        DataError: the place does not exist or has no labelled photos, or ``check`` is given for
            another place than shards.

    Example:
        >>> found = mn.data_info(photos)
        >>> found.kind, found.photos, found.splits["all"].counts
        ('folder', 24, {'hat': 12, 'shoes': 12})
    """
    dataset = open_dataset(os.fspath(data), ignore, zip_encoding)
    sources = {id(split.source): split.source for split in dataset.splits.values()}
    source = next(iter(sources.values()))
    files = source.index.shards if isinstance(source, ShardSource) else ()
    damaged = None
    if check:
        if not isinstance(source, ShardSource):
            raise DataError(f"{dataset.place}: has no shards, so there is nothing to compare")
        damaged = _damaged(source)
    splits = {
        name: SplitInfo(
            len(split), _bytes(split), dict(zip(split.classes, split.counts(), strict=True)),
            sum(shard.split == name for shard in files),
        )
        for name, split in dataset.splits.items()
    }  # fmt: skip
    kind = KINDS[type(source)]
    return DataInfo(dataset.place, kind, dataset.classes, splits, dataset.notes, damaged)


def _bytes(split: Split) -> int | None:
    total = 0
    for photo in split.photos:
        size = split.source.size(photo.name)
        if size is None:
            return None
        total += size
    return total


def _damaged(source: ShardSource) -> tuple[str, ...]:
    """Return the names of shards that are missing, or are others than the index says."""

    def is_whole(shard: Shard) -> bool:
        digest, left = hashlib.sha256(), 0
        try:
            for left in range(0, shard.bytes + 1, CHUNK):  # one byte more, which is none
                digest.update(source.files.part(shard.file, left, CHUNK))
        except (OSError, DataError):
            return False
        return digest.hexdigest() == shard.sha256

    shards = source.index.shards
    whole = in_parallel(is_whole, shards, ahead=1)
    found = zip(shards, track(whole, "comparing shards", len(shards)), strict=True)
    return tuple(shard.file for shard, right in found if not right)
