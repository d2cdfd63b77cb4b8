"""Look-up of the photos that a table names: by path, without suffix, without folder.

A path that is there as it is written counts first. Else a photo of that name is looked for, without
regard to case, in all folders of the source, or in those up to two below the table. Of several, one
in the folder of the table's split counts: ``train.csv`` means ``train/1.jpg``, not ``test/1.jpg``.
"""

import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from pathlib import Path, PurePosixPath

from mobilenetv2.data.layout import split_of
from mobilenetv2.images.decode import SUFFIXES

MOST_FOLDERS = 200
"""Largest number of folders beside a table in which photos are looked up."""
_FIRST = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
_TRIED = (*_FIRST, *sorted(SUFFIXES - set(_FIRST)))

Find = Callable[[str], str | None]
"""Function from a path in a table to the name of a photo that is there; None if none is."""


def split_in(name: str) -> str:
    """Return the split that a table's folders or name say, or ''.

    The name may have words beside the split's: 'val_labels.csv', 'trainAnnotations.csv'.
    """
    path = PurePosixPath(name)
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", path.stem)
    return next(filter(None, map(split_of, (*path.parts[:-1], path.stem, *words))), "")


def within(photos: Collection[str], table: str) -> Find:
    """Return the look-up of photos in the source that holds the table, by the table's name."""
    by_name: dict[str, list[str]] | None = None

    def find(path: str) -> str | None:
        nonlocal by_name
        name = posixpath.normpath(path.replace("\\", "/"))
        for base in dict.fromkeys((posixpath.dirname(table), "")):
            inside = posixpath.normpath(posixpath.join(base, name))
            if (exact := _with_suffix(inside, photos.__contains__)) is not None:
                return exact
        if name.startswith(("/", "..")):
            return None
        if by_name is None:
            by_name = _by_last_part(photos)
        return _only(by_name, posixpath.basename(name), split_in(table))

    return find


def beside(table: Path) -> Find:
    """Return the look-up of photos for a table that the user gave by itself."""
    folder = table.parent
    by_name: dict[str, list[str]] | None = None

    def find(path: str) -> str | None:
        nonlocal by_name
        for spelling in dict.fromkeys((path, path.replace("\\", "/"))):
            try:
                whole = os.path.normpath(folder / spelling)
                if (exact := _with_suffix(whole, os.path.isfile)) is not None:
                    return exact
            except ValueError:  # a NUL, which no path has
                return None
        if by_name is None:
            by_name = _by_last_part(_photos_below(folder))
        return _only(by_name, posixpath.basename(path.replace("\\", "/")), split_in(table.name))

    return find


def _only(by_name: dict[str, list[str]], name: str, split: str) -> str | None:
    """Return the one photo of a name, or the one in a folder of the split; None if none is."""
    alike = by_name.get(name.casefold(), [])
    exact = [photo for photo in alike if name in _names_of(photo)]
    for some in (exact, alike):
        inside = [photo for photo in some if split and split_of(Path(photo).parent.name) == split]
        for candidates in (inside, some):
            if len(candidates) == 1:
                return candidates[0]
    return None


def _names_of(photo: str) -> tuple[str, str]:
    """Return a photo's name without folders, with and without its suffix."""
    name = Path(photo).name
    return name, name.rpartition(".")[0]


def _with_suffix(name: str, exists: Callable[[str], bool]) -> str | None:
    if exists(name):
        return name
    if PurePosixPath(name).suffix.lower() in SUFFIXES:
        return None
    return next((name + suffix for suffix in _TRIED if exists(name + suffix)), None)


def _by_last_part(photos: Iterable[str]) -> dict[str, list[str]]:
    """Return photos by their names without folders and case, with and without the suffix."""
    found: dict[str, list[str]] = defaultdict(list)
    for photo in photos:
        for key in _names_of(photo):
            found[key.casefold()].append(photo)
    return found


def _photos_below(folder: Path) -> list[str]:
    """Return the photos in folders up to two below a folder, as many as are looked up in."""
    found: list[str] = []
    folders = [folder]
    for place in folders:
        try:
            inside = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:
            continue  # its photos are then named as missing
        found += [one.path for one in inside if Path(one.name).suffix.lower() in SUFFIXES]
        if len(place.relative_to(folder).parts) < 2:
            room = MOST_FOLDERS - len(folders)
            below = [Path(e.path) for e in inside if e.is_dir() and not e.name.startswith(".")]
            folders += below[:room]
    return found


def common_folder(folder: Path, photos: list[Path]) -> Path:
    """Return the folder that the photos' names are relative to: the table's, if all are in it."""
    if all(photo.is_relative_to(folder) for photo in photos):
        return folder
    try:
        return Path(os.path.commonpath([photo.parent for photo in photos]))
    except ValueError:  # on several drives
        return folder
