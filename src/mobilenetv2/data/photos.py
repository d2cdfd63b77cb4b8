"""Photos as a program gives them: one, a folder of them, or any number."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from itertools import islice
from os import PathLike, fspath
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from PIL import Image

from mobilenetv2.data.lists import STDIN, is_list
from mobilenetv2.data.names import archive_suffix, is_address, is_photo
from mobilenetv2.data.opening import is_packed, photos_of, require_photos
from mobilenetv2.data.passed_over import Ignore
from mobilenetv2.data.shards.index import INDEX
from mobilenetv2.data.shards.source import LocalFiles, ShardSource, open_shards, shards_at
from mobilenetv2.data.sources import Source
from mobilenetv2.errors import DataError
from mobilenetv2.images.photo import PackedPhoto, Photo
from mobilenetv2.progress import say
from mobilenetv2.text import escaped

Photos: TypeAlias = Photo | Iterable[Photo]
"""One photo, a folder, an archive, shards, a list of photos (``@list.txt``), a table of photos, or
several of these."""


def collect(
    photos: Photos,
    ignore: str | Iterable[str] = (),
    ordered: bool = True,
    without: Path | None = None,
) -> "CollectedPhotos":
    """Return photos to be taken one by one, those in folders at any depth, archives and lists.

    Args:
        photos: the photos.
        ignore: patterns of names in folders that are passed over.
        ordered: False for the order in which a disk lists a folder, which starts at once.
        without: folder in which no photos are looked for.

    Raises:
        DataError: a name that is not there, a folder without photos or in ``without``, or neither
            a photo nor several. An iterator's names are not looked up before their turn.
    """
    patterns = Ignore(ignore, without)
    if isinstance(photos, str | PathLike | bytes | Image.Image | np.ndarray | PackedPhoto):
        given: Iterable[Photo] = [photos]
    elif isinstance(photos, Iterator):
        return CollectedPhotos(photos, patterns, ordered)
    elif isinstance(photos, Iterable):
        given = [*photos]
    else:
        raise DataError(
            f"a {type(photos).__name__} is neither a photo nor a list of photos; give a path, a "
            "file's bytes, a Pillow image or an array uint8 (height, width, 3)"
        )
    named = [photo for photo in given if isinstance(photo, str | PathLike)]
    require_photos(named, patterns)
    packed = {name: open_packed(name, patterns) for name in named if _is_packed(name)}
    return CollectedPhotos(given, patterns, ordered, packed)


def open_packed(name: str | PathLike[str], ignore: Ignore) -> Source:
    """Open an archive or shards of photos, also those of an address."""
    path = Path(name)
    if is_address(name):
        from mobilenetv2.data.remote.files import RemoteFiles, fetched

        if archive_suffix(fspath(name)) is None:
            return open_shards(RemoteFiles(fspath(name)), ignore)
        path = fetched(fspath(name))
    from mobilenetv2.data.tables import inside

    if files := inside.parquet_files(path):
        return inside.open_inside(files, escaped(path), ignore, labelled=False)[0]
    if folder := shards_at(path):
        return open_shards(LocalFiles(folder), ignore)
    from mobilenetv2.data import archives  # most calls name none

    return archives.open_archive(path, ignore)


class CollectedPhotos:
    """Photos that are found as they are taken, so that a million take no memory.

    Args:
        given: photos, and names of folders, lists, tables and archives.
        ignore: patterns of names that are passed over.
        ordered: False for the order in which a disk lists a folder.
        packed: the archives and shards among the names, opened.
    """

    def __init__(
        self,
        given: Iterable[Photo],
        ignore: Ignore,
        ordered: bool = True,
        packed: Mapping[str | PathLike[str], Source] = MappingProxyType({}),
    ) -> None:
        self._given, self._ignore, self._ordered, self._packed = given, ignore, ordered, packed

    @property
    def slow(self) -> bool:
        """True if the photos come from a program one by one, perhaps slowly."""
        return isinstance(self._given, Iterator)

    def __iter__(self) -> Iterator[Photo]:
        """Yield the photos in order.

        Raises:
            DataError: a list cannot be read.
        """
        return self._photos(quiet=False)

    @property
    def alone(self) -> Photo | None:
        """The photo, if a program has named or given just one."""
        if self.slow:
            return None
        given = [*islice(self._given, 2)]
        return given[0] if len(given) == 1 and not is_several(given[0]) else None

    @property
    def once(self) -> bool:
        """True if the photos can be taken only once: from an iterator, or a list on stdin."""
        return self.slow or self.awaited

    @property
    def awaited(self) -> bool:
        """True if names come on standard input, perhaps with pauses."""
        return not self.slow and any(
            isinstance(one, str | PathLike) and fspath(one) == STDIN for one in self._given
        )

    def quietly(self, ordered: bool = True) -> Iterator[Photo]:
        """Return the photos as :meth:`__iter__` does, without notes on what is passed over.

        Args:
            ordered: False for any order, which takes the least time and memory.
        """
        return self._photos(quiet=True, ordered=ordered)

    def _photos(self, quiet: bool, ordered: bool = True) -> Iterator[Photo]:
        ordered = ordered and self._ordered
        for photo in self._given:
            if not isinstance(photo, str | PathLike):
                yield photo
            elif photo in self._packed or _is_packed(photo):
                source = self._packed.get(photo) or open_packed(photo, self._ignore)
                yield from _photos_in(photo, source, quiet)
            else:
                yield from photos_of(photo, self._ignore, ordered, quiet)


def _is_packed(name: str | PathLike[str]) -> bool:
    is_archive = archive_suffix(fspath(name)) is not None and Path(name).is_file()
    return is_archive or is_packed(name)


def _photos_in(name: str | PathLike[str], source: Source, quiet: bool) -> Iterator[PackedPhoto]:
    """Yield the photos of an archive, or of shards in the order in which they lie there."""
    found, path = [*filter(is_photo, source.names())], Path(name)
    place = path
    if is_address(name):  # which no path can hold
        path = place = Path()
    elif isinstance(source, ShardSource):
        path = shards_at(path) or path
        place = path / INDEX  # by its time a photo is known again
    names = [found[at] for at in source.stored(found)]
    # Whoever only looks, such as to count, reads few of them.
    with nullcontext() if quiet else source.ahead(names):
        for one in names:
            yield PackedPhoto(path / one, partial(source.read, one), place)
    for note in [] if quiet else (*source.notes, *source.passed.notes()):
        say(note)


def is_several(photo: Photo) -> bool:
    """Return whether a name stands for any number of photos: a folder, a list or a table."""
    if not isinstance(photo, str | PathLike):
        return False
    return Path(photo).is_dir() or is_list(photo) or _is_packed(photo)
