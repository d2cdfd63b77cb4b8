"""Splits of labelled photos, and the division of a split in two.

How folders spell splits and classes is in :mod:`mobilenetv2.data.layout`.
"""

import dataclasses
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.data.layout import ALL, TEST, TRAIN, VALIDATION, Layout, find_layout, split_of
from mobilenetv2.data.names import archive_suffix, is_address, is_photo, is_table
from mobilenetv2.data.opening import open_source
from mobilenetv2.data.passed_over import AGAIN, BROKEN, IN_ARCHIVE, Ignore, PassedOver
from mobilenetv2.data.shards.foreign import find_labels
from mobilenetv2.data.shards.source import ShardSource, open_shards
from mobilenetv2.data.sources import Source
from mobilenetv2.data.tables.inside import holds_photos, open_inside, parquet_files
from mobilenetv2.data.tables.photos import Tables, find_tables, open_table, read_tables
from mobilenetv2.errors import DataError, argument
from mobilenetv2.images.decode import Least, decode, decode_noted, stored_size
from mobilenetv2.images.memory import SHARED
from mobilenetv2.images.notes import Note
from mobilenetv2.images.preprocess import least_size, preprocess
from mobilenetv2.spec.records import Preprocessing
from mobilenetv2.text import SHOWN, escaped, listed, quoted

BUILT_IN = "digits"
"""Name of the built-in dataset."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo: its name in the source, and the index of its class in the dataset."""

    name: str
    label: int


@dataclass(frozen=True, slots=True)
class Split:
    """Photos of a source for one purpose: training, validation or test."""

    name: str
    source: Source
    classes: tuple[str, ...]
    photos: tuple[Photo, ...]

    def __len__(self) -> int:
        return len(self.photos)

    def image(self, photo: Photo, least: Least | None = None) -> Image.Image:
        """Return a photo as an upright RGB image.

        Args:
            photo: the photo.
            least: size that is enough, as for :func:`mobilenetv2.images.decode.decode`.

        Raises:
            ImageError: the photo cannot be read.
        """
        with SHARED.work():
            return decode(self.source.read(photo.name), self.full_name(photo), least=least)

    def stored_size(self, photo: Photo) -> tuple[int, int]:
        """Return a photo's (width, height) in pixels as in its file, which is not decoded.

        Raises:
            ImageError: the file cannot be read, or is no picture.
        """
        with SHARED.work():
            return stored_size(self.source.read(photo.name), self.full_name(photo))

    def picture(self, photo: Photo, record: Preprocessing) -> NDArray:
        """Return a photo as a network takes it: uint8 (height, width, channels).

        Raises:
            ImageError: the photo cannot be read, or cannot be resized.
        """
        return self.picture_noted(photo, record)[0]

    def picture_noted(
        self, photo: Photo, record: Preprocessing
    ) -> tuple[NDArray, tuple[Note, ...]]:
        """Return a photo as :meth:`picture` does, with notes on how its file was read.

        Raises:
            ImageError: as :meth:`picture`.
        """
        name = self.full_name(photo)
        with SHARED.work():  # the large picture is gone when the block ends
            data = self.source.read(photo.name)
            decoded = decode_noted(data, name, least=least_size(record))
            return preprocess(decoded.image, record, name), decoded.notes

    def full_name(self, photo: Photo) -> str:
        """Return the photo's name for messages."""
        return f"{self.source.place}/{photo.name}"

    def counts(self) -> list[int]:
        """Return the number of photos of each class."""
        found = Counter(photo.label for photo in self.photos)
        return [found[label] for label in range(len(self.classes))]

    def with_photos(self, photos: tuple[Photo, ...], name: str | None = None) -> "Split":
        """Return the split with other photos of the same source and classes."""
        return dataclasses.replace(self, photos=photos, name=name or self.name)


@dataclass(frozen=True, slots=True)
class Dataset:
    """All splits of a folder, an archive or a built-in set."""

    place: str
    classes: tuple[str, ...]
    splits: dict[str, Split]
    ignored: tuple[str, ...]
    """Files that are not photos by their suffix."""
    passed: PassedOver = field(default_factory=PassedOver, compare=False)
    """Files and folders that are not read, by the reason."""
    left_out: tuple[str, ...] = ()
    """Photos that are in no class folder of a split."""
    notes: tuple[str, ...] = ()
    """Notes for the user on what was found, one sentence each."""

    @property
    def links(self) -> int:
        """Number of links that were not followed."""
        return self.passed.count(BROKEN, AGAIN, IN_ARCHIVE)

    def split(self, name: str | None) -> Split:
        """Return a split by name; None means test, or else validation, or else all photos.

        Without a split of the name 'test', 'test' means 'validation': photos kept for the final
        figures.

        Raises:
            DataError: there is no such split.
        """
        for candidate in same_split(name) if name else ("test", "validation", ALL, "train"):
            if candidate in self.splits:
                return self.splits[candidate]
        have = ", ".join(self.splits)
        raise DataError(f"{self.place}: has no split {name!r}, it has: {have}")


def same_split(name: str) -> tuple[str, ...]:
    """Return the names that a split may have, the best first: 'test' may be 'validation'."""
    wanted = split_of(name) or name
    return (wanted, VALIDATION) if wanted == TEST else (wanted,)


def open_dataset(
    place: str | Path, ignore: str | Iterable[str] = (), zip_encoding: str | None = None
) -> Dataset:
    """Find the splits of a folder, an archive, shards, a table of photos, or 'digits'.

    Args:
        place: the folder, archive or table, the folder or the index of shards, an address of
            shards, an archive or a table, or the built-in 'digits'.
        ignore: patterns of names that are passed over.
        zip_encoding: encoding of names in an archive that are not marked as UTF-8.

    Raises:
        DataError: the place does not exist, has no photos, or has photos outside of class folders.
    """
    if str(place) == BUILT_IN:
        from mobilenetv2.data.sources import digits

        return find_splits(digits())
    if is_address(place):
        return _of_address(os.fspath(place), ignore, zip_encoding)
    patterns, path = Ignore(ignore), Path(place)
    if (files := parquet_files(path)) and holds_photos(files[0]):
        source, layout = open_inside(files, escaped(path), patterns)
        found = _dataset(source, layout, escaped(path), ())
    elif is_table(path.name) and path.is_file():
        labelled = open_table(path, patterns)
        found = _dataset(labelled.source, labelled.layout, escaped(path), ())
    else:
        found = find_splits(open_source(path, patterns, zip_encoding), patterns)
    return _with_unused(found, patterns)


def _with_unused(found: Dataset, patterns: Ignore) -> Dataset:
    """Return a dataset with a note on patterns that have matched nothing."""
    if unused := patterns.unused():
        note = f"{argument('ignore')}: nothing has a name such as {quoted(unused)}"
        return dataclasses.replace(found, notes=(*found.notes, note))
    return found


def _of_address(address: str, ignore: str | Iterable[str], zip_encoding: str | None) -> Dataset:
    """Return the splits of shards on a server, or of an archive or a table that is fetched.

    Raises:
        DataError: as :func:`open_dataset`, or the server does not give what is asked for.
        MissingExtra: a package for the address is not installed.
    """
    from mobilenetv2.data.remote.files import RemoteFiles, fetched

    name = address.partition("?")[0].rstrip("/").rpartition("/")[2]
    if archive_suffix(name) or is_table(name):
        found = open_dataset(fetched(address), ignore, zip_encoding)
        return dataclasses.replace(found, place=address)
    patterns = Ignore(ignore)
    return _with_unused(find_splits(open_shards(RemoteFiles(address), patterns)), patterns)


def absolute_place(place: str) -> str:
    """Return a path or an address that :func:`open_dataset` accepts from any current folder."""
    return place if place == BUILT_IN or is_address(place) else str(Path(place).absolute())


def find_splits(source: Source, ignore: Ignore | None = None) -> Dataset:
    """Find splits and classes in the names of a source, or in a table that it holds.

    Args:
        source: the photos.
        ignore: the patterns by which the source passes names over, for the rows of tables.

    Raises:
        DataError: there are no photos, or their layout is none of :mod:`mobilenetv2.data.layout`.
    """
    if isinstance(source, ShardSource):
        return _dataset(source, source.layout(), source.place, ())
    names = source.names()
    photos = [name for name in names if is_photo(name)]
    folders = [name for name in names if name.endswith("/")]
    ignored = tuple(name for name in names if not name.endswith("/") and not is_photo(name))
    if not photos:
        raise DataError(_no_photos(source, ignored))
    if layout := find_labels(source):
        return _dataset(source, layout, source.place, ())
    tables = find_tables(source, ignore)
    if tables.standard:
        return _of_tables(source, tables, ignored)
    try:
        layout = find_layout(source.place, photos, folders, ignored)
    except DataError as error:
        if tables.labelled:
            return _of_tables(source, tables, ignored)
        raise DataError("; ".join([str(error), *tables.lacking[:1]])) from None
    found = layout.classes()
    if len(found) < 2:
        if tables.labelled:
            return _of_tables(source, tables, ignored)
        if tables.lacking:
            raise DataError(f"{tables.lacking[0]}; else it takes two folders of photos or more")
    if not tables.agree(found):
        name = next(iter(tables.labelled))
        raise DataError(
            f"{source.place}: its folders are other classes ({quoted(found)}) than those in "
            f"{name}; give that table as the data, or pass it over: {argument('ignore', name)}"
        )
    layout.notes += _unused(tables)
    return _dataset(source, layout, source.place, ignored)


def _unused(tables: Tables) -> list[str]:
    """Return a note on tables of labels that are not used, since class folders are there."""
    if not tables.labelled:
        return []
    names = listed([*tables.labelled], SHOWN)
    if len(tables.labelled) == 1:
        return [f"not used: {names}, which names these photos; give it as the data if it counts"]
    return [
        f"not used: {names}, which name these photos; if they count, make one table of them, with "
        "a column split, and give it as the data"
    ]


def _of_tables(source: Source, tables: Tables, ignored: tuple[str, ...]) -> Dataset:
    labelled = read_tables(source, tables)
    others = tuple(name for name in ignored if name not in labelled.tables)
    return _dataset(labelled.source, labelled.layout, source.place, others)


def _dataset(source: Source, layout: Layout, place: str, ignored: tuple[str, ...]) -> Dataset:
    classes = layout.classes()
    index = {name: label for label, name in enumerate(classes)}
    splits = {
        name: Split(
            name, source, classes,
            tuple(
                Photo(photo, index[c])
                for c in sorted(layout.splits[name])
                for photo in sorted(layout.splits[name][c])
            ),
        )
        for name in sorted(layout.splits, key=[TRAIN, VALIDATION, TEST, ALL].index)
    }  # fmt: skip
    left_out = tuple(photo for found in layout.left_out.values() for photo in found)
    notes = [*source.notes, *source.passed.notes(), *layout.notes]
    if archives := [name for name in ignored if archive_suffix(name)]:
        beside = listed(archives, SHOWN)
        notes.append(f"not read, since folders of photos are there: {beside}; unpack what belongs")
    return Dataset(place, classes, splits, ignored, source.passed, left_out, tuple(notes))


def _no_photos(source: Source, others: tuple[str, ...]) -> str:
    """Return what to say of a source without photos, with what it has instead."""
    text = f"{source.place}: no photos found; it should hold a folder of photos for each class"
    archives = [name for name in others if archive_suffix(name)]
    if archives:
        text += f" (it holds archives, which have to be unpacked: {listed(archives, SHOWN)})"
    elif passed := source.passed.notes():
        text += f" ({'; '.join(passed)})"
    return text


def stratified_split(
    split: Split, fraction: float, seed: int, names: tuple[str, str], digests: Mapping[str, str]
) -> tuple[Split, Split]:
    """Divide a split in two, stratified; the second part gets ``fraction`` of every class.

    The division depends only on the photos' names and the seed, not on the order in which a disk
    lists them. Identical copies of a photo go to the same part, to avoid leakage; copies in several
    classes go to the first part.

    Args:
        fraction: part of each class, rounded; at least one photo if the class has two or more.
        names: names of the two parts.
        digests: digest of each photo's bytes, by photo name.
    """
    taken: set[str] = set()
    labels: dict[str, set[int]] = defaultdict(set)
    for photo in split.photos:
        labels[digests.get(photo.name, photo.name)].add(photo.label)
    for label in range(len(split.classes)):
        groups: dict[str, list[Photo]] = defaultdict(list)
        for photo in sorted((p for p in split.photos if p.label == label), key=lambda p: p.name):
            groups[digests.get(photo.name, photo.name)].append(photo)
        count = sum(map(len, groups.values()))
        wanted = min(max(1, round(fraction * count)), count - 1) if count > 1 else 0
        order = np.random.default_rng([seed, label]).permutation(len(groups))
        group_list = list(groups.items())
        left = wanted
        for index in order:
            digest, group = group_list[index]
            if len(group) <= left and len(labels[digest]) == 1:
                taken |= {photo.name for photo in group}
                left -= len(group)
    first = tuple(photo for photo in split.photos if photo.name not in taken)
    second = tuple(photo for photo in split.photos if photo.name in taken)
    return split.with_photos(first, names[0]), split.with_photos(second, names[1])
