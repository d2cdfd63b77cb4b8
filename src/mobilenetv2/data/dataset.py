"""Splits of labelled photos, found by the names of folders, and the division of a split in two.

A dataset has folders ``train/``, ``validation/`` (or ``val/``) and ``test/``, each with a folder
for every class, or only class folders. One folder around everything is ignored. Each split may be
an archive.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from mobilenetv2.data.sources import Source, open_source
from mobilenetv2.errors import DataError
from mobilenetv2.images.decode import SUFFIXES, decode
from mobilenetv2.text import counted, quoted

SPLITS = {
    "train": "train", "training": "train",
    "validation": "validation", "val": "validation", "valid": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Split by folder name in lower case."""

ALL = "all"
"""Name of the only split in a folder without splits."""

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

    def image(self, photo: Photo) -> Image.Image:
        """Return a photo as an upright RGB image.

        Raises:
            ImageError: the photo cannot be read.
        """
        return decode(self.source.read(photo.name), self.full_name(photo))

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
    links: int = 0
    """Number of links that were not followed."""

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
    wanted = SPLITS.get(name, name)
    return (wanted, "validation") if wanted == "test" else (wanted,)


def open_dataset(place: str | Path) -> Dataset:
    """Find the splits of a folder, an archive, or the built-in 'digits'.

    Raises:
        DataError: the place does not exist, has no photos, or has photos outside of class folders.
    """
    if str(place) == BUILT_IN:
        from mobilenetv2.data.sources import digits

        return find_splits(digits())
    return find_splits(open_source(Path(place), SPLITS))


def absolute_place(place: str) -> str:
    """Return an absolute path that :func:`open_dataset` accepts from any current folder."""
    return place if place == BUILT_IN else str(Path(place).absolute())


def find_splits(source: Source) -> Dataset:
    """Find splits and classes in the names of a source.

    Raises:
        DataError: there are no photos, or photos outside of class folders.
    """
    names = source.names()
    files = [PurePosixPath(name) for name in names if not name.endswith("/")]
    folders = [PurePosixPath(name) for name in names if name.endswith("/")]
    photos = [file for file in files if file.suffix.lower() in SUFFIXES]
    ignored = tuple(str(file) for file in files if file.suffix.lower() not in SUFFIXES)
    if not photos:
        why = " (links are not followed, copy what they lead to)" if source.links else ""
        raise DataError(
            f"{source.place}: no photos found{why}; it should hold a folder of photos for each "
            "class"
        )
    depth, in_splits = _place_of_classes(photos, folders)
    grouped: dict[str, dict[str, list[str]]] = {}
    for folder in folders:
        if len(folder.parts) == depth + 1:
            name = _split_name(folder, depth, in_splits)
            if name:
                grouped.setdefault(name, {}).setdefault(folder.parts[depth], [])
    loose: list[str] = []
    for photo in photos:
        name = _split_name(photo, depth, in_splits) if len(photo.parts) >= depth + 2 else ""
        if name:
            grouped.setdefault(name, {}).setdefault(photo.parts[depth], []).append(str(photo))
        else:
            loose.append(str(photo))
    if loose:
        raise DataError(_loose(source.place, loose, grouped))
    classes = tuple(sorted({name for split in grouped.values() for name in split}))
    index = {name: label for label, name in enumerate(classes)}
    splits = {
        name: Split(
            name, source, classes,
            tuple(Photo(p, index[c]) for c in sorted(found) for p in sorted(found[c])),
        )
        for name, found in grouped.items()
    }  # fmt: skip
    order = sorted(splits, key=["train", "validation", "test", ALL].index)
    return Dataset(
        source.place, classes, {name: splits[name] for name in order}, ignored,
        source.links,
    )  # fmt: skip


def _loose(
    place: str, photos: Sequence[str], grouped: Mapping[str, Mapping[str, Sequence[str]]]
) -> str:
    """Return what to say of photos outside class folders, and of empty class folders beside."""
    empty = sorted({c for found in grouped.values() for c, inside in found.items() if not inside})
    lie = "lies" if len(photos) == 1 else "lie"
    text = (
        f"{place}: {counted(len(photos), 'photo')} {lie} outside the class folders "
        f"({quoted(photos)}); move each into the folder of its class"
    )
    if not grouped:
        text += f", such as {place}/CLASS/{PurePosixPath(photos[0]).name}"
    if empty:
        word = "class folder" if len(empty) == 1 else "class folders"
        text += f"; and add photos to the empty {word} {quoted(empty)}, or remove what is empty"
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


def _place_of_classes(
    photos: list[PurePosixPath], folders: list[PurePosixPath]
) -> tuple[int, bool]:
    """Return the number of folders above the classes, and True if the last are splits."""
    depth = 0
    tops = {path.parts[0].lower() for path in (*photos, *folders)}
    if len(tops) == 1 and not tops & SPLITS.keys() and all(len(p.parts) > 2 for p in photos):
        depth = 1  # a folder around everything
        tops = {path.parts[1].lower() for path in (*photos, *folders) if len(path.parts) > 1}
    in_splits = bool(tops & SPLITS.keys())
    if tops - SPLITS.keys():
        # Beside folders of other names, 'train' without classes inside is one of them: a vehicle.
        in_splits = any(
            photo.parts[depth].lower() in SPLITS and len(photo.parts) > depth + 2
            for photo in photos
        )
    return depth + in_splits, in_splits


def _split_name(path: PurePosixPath, depth: int, in_splits: bool) -> str:
    """Return the split of a path; '' if it is not in a split folder."""
    return SPLITS.get(path.parts[depth - 1].lower(), "") if in_splits else ALL
