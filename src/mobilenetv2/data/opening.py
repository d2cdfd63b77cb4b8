"""Opening of what a user names: a folder, an archive, a folder of archives, photos."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from mobilenetv2.data.archives import (
    SUFFIXES,
    ArchivesSource,
    archive_stem,
    archive_suffix,
    open_archive,
)
from mobilenetv2.data.layout import split_of
from mobilenetv2.data.lists import listed_photos
from mobilenetv2.data.passed_over import Ignore, is_junk, is_photo
from mobilenetv2.data.sources import FolderSource, Source
from mobilenetv2.data.tables import is_table
from mobilenetv2.errors import DataError, argument
from mobilenetv2.files import open_file
from mobilenetv2.progress import say
from mobilenetv2.text import SHOWN, escaped, listed

MODEL, WEIGHTS = "config.json", "model.safetensors"
"""Files of every model folder (``model.store``, a room that this one does not know)."""


def open_source(
    path: Path, ignore: Ignore | None = None, zip_encoding: str | None = None
) -> Source:
    """Open a folder, an archive, or a folder that holds archives only.

    Of the last kind are a folder with an archive for each split (train.zip, test.zip), and one with
    a single archive.

    Args:
        path: the place.
        ignore: patterns of names that are passed over.
        zip_encoding: encoding of names in archives that are not marked as UTF-8.

    Raises:
        DataError: none of them, not there, a model's or a run's folder, or an archive is damaged.
        MissingExtra: the package to unpack an archive is not installed.
        OSError: a pipe or a device, or it may not be read.
    """
    ignore = ignore or Ignore()
    if path.is_dir():
        require_no_model(path)
        found = [
            below
            for below in sorted(path.iterdir())
            if not is_junk(below.name) and not ignore.matches(escaped(below.name))
        ]
        archives = [below for below in found if archive_suffix(below.name)]
        named = [below for below in archives if split_of(archive_stem(below.name))]
        if any(below.is_dir() or is_photo(below.name) for below in found):
            return FolderSource(path, ignore)
        if named:
            stems = Counter(archive_stem(below.name).lower() for below in named)
            stem, count = stems.most_common(1)[0]
            if count > 1:
                raise DataError(
                    f"{escaped(path)}: has several archives named {stem!r}; keep one of them"
                )
            opened = [open_archive(below, ignore, zip_encoding) for below in named]
            return _beside(found, named, ArchivesSource(path, named, opened))
        if len(archives) == 1:
            return _beside(found, archives, open_archive(archives[0], ignore, zip_encoding))
        return FolderSource(path, ignore)
    if not path.exists():
        raise DataError(f"{escaped(path)}: no such folder or archive")
    if archive_suffix(path.name) is None:
        open_file(path).close()  # raises for what may not be read
        raise DataError(
            f"{escaped(path)}: neither a folder nor an archive ({', '.join(SUFFIXES[:6])}) nor a "
            "table (.csv, .tsv, .jsonl, .parquet); unpack or save it as one, or give its folder"
        )
    return open_archive(path, ignore, zip_encoding)


def _beside(found: Sequence[Path], archives: Sequence[Path], source: Source) -> Source:
    """Return a source of archives, with a note on the archives and tables beside them."""
    others = [
        escaped(path.name)
        for path in found
        if path not in archives and (archive_suffix(path.name) or is_table(path.name))
    ]
    if others:
        opened = listed([escaped(path.name) for path in archives], SHOWN)
        source.notes.append(
            f"not opened: {listed(others, SHOWN)}, beside {opened}; unpack the archives into one "
            "folder if they belong together"
        )
    return source


def find_photos(
    names: Iterable[str | os.PathLike[str]], ignore: str | Iterable[str] = ()
) -> list[Path]:
    """Return the photos named, and those in the folders named, at any depth, in order.

    Args:
        names: photos, folders, lists of photos (``@list.txt``) and tables that name photos.
        ignore: patterns of names in the folders that are passed over.

    Raises:
        DataError: names that are not there, folders without photos, or a folder of a model or of
            a run, whose figures are no photos.
    """
    return [photo for found in find_each(names, ignore) for photo in found]


def find_each(
    names: Iterable[str | os.PathLike[str]], ignore: str | Iterable[str] = ()
) -> list[list[Path]]:
    """Return the photos of each name as :func:`find_photos` finds them.

    Raises:
        DataError: for the reasons of :func:`find_photos`; all names that are not there and all
            folders without photos stand in one message.
    """
    found: list[list[Path]] = []
    missing: list[str] = []
    empty: list[str] = []
    patterns = Ignore(ignore)
    for name in names:
        path = Path(name)
        listed_there = listed_photos(name)
        places = [path] if listed_there is None else listed_there
        inside: list[Path] = []
        for place in places:
            photos = _photos_in(place, patterns) if place.is_dir() else [place]
            if listed_there is None and not photos:
                empty.append(escaped(path))
            inside += photos or [place]  # in a list, an empty folder has an answer of its own
        if listed_there is None and not path.exists():
            missing.append(escaped(path))
        found.append(inside)
    mistakes = [f"{listed(missing, SHOWN)}: no such photo or folder"] if missing else []
    which = "this folder" if len(empty) == 1 else "these folders"
    mistakes += [f"{listed(empty, SHOWN)}: no photos in {which}"] if empty else []
    if mistakes:
        raise DataError("; ".join(mistakes))
    return found


def _photos_in(folder: Path, ignore: Ignore) -> list[Path]:
    """Return the photos in a folder, at any depth, and say what is passed over.

    Raises:
        DataError: the folder of a model or of a run, or that around everything on a disk.
    """
    whole = folder.resolve()
    if whole == whole.parent:
        raise DataError(
            f"{escaped(folder)}: is the folder around everything on this disk; name the folder of "
            "the photos"
        )
    require_no_model(folder)
    source = FolderSource(folder, ignore)
    for note in (*source.notes, *source.passed.notes()):
        say(note)
    return [source.path(name) for name in source.names() if is_photo(name)]


def require_no_model(folder: Path) -> None:
    """Raise DataError for a model folder or a run folder where photos are expected."""
    for model, what in ((folder / "best", "a run"), (folder, "a model folder")):
        if (model / MODEL).is_file() and (model / WEIGHTS).is_file():
            raise DataError(
                f"{escaped(folder)}: {what}, not photos; did you mean it as the model: "
                f"{argument('model', str(model))}?"
            )
