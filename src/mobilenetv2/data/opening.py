"""Opening of what a user names: a folder, an archive, a folder of archives, photos."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from mobilenetv2.data.lists import STDIN, is_list, listed_photos
from mobilenetv2.data.names import (
    ARCHIVES,
    archive_stem,
    archive_suffix,
    is_address,
    is_junk,
    is_photo,
    is_table,
)
from mobilenetv2.data.passed_over import Ignore
from mobilenetv2.data.shards.source import LocalFiles, open_shards, shards_at
from mobilenetv2.data.sources import FolderSource, Source, Walk
from mobilenetv2.errors import DataError, argument
from mobilenetv2.files import is_folder, open_file
from mobilenetv2.progress import say
from mobilenetv2.text import SHOWN, escaped, listed

MODEL, WEIGHTS = "config.json", "model.safetensors"
"""Files of every model folder (``model.store``, a room that this one does not know)."""


def open_source(
    path: Path, ignore: Ignore | None = None, zip_encoding: str | None = None
) -> Source:
    """Open a folder, an archive, shards, or a folder that holds archives only.

    Of the last kind are a folder with an archive for each split (train.zip, test.zip), one with
    a single archive, and one with the official archives of ImageNet.

    Args:
        path: the place.
        ignore: patterns of names that are passed over.
        zip_encoding: encoding of names in archives that are not marked as UTF-8.

    Raises:
        DataError: none of them, not there, a model's or a run's folder, or an archive is damaged.
        MissingExtra: the package to unpack an archive is not installed.
        OSError: a pipe or a device, or it may not be read.
    """
    from mobilenetv2.data.archives import ArchivesSource, open_archive
    from mobilenetv2.data.imagenet import ImageNetSource, has_imagenet
    from mobilenetv2.data.layout import split_of
    from mobilenetv2.data.shards.foreign import is_tars

    ignore = ignore or Ignore()
    if folder := shards_at(path):
        return open_shards(LocalFiles(folder), ignore)
    if path.is_dir():
        require_no_model(path)
        if has_imagenet(path):
            return ImageNetSource(path, ignore)
        found = [
            below
            for below in sorted(path.iterdir())
            if not is_junk(below.name) and not ignore.matches(escaped(below.name))
        ]
        archives = [below for below in found if archive_suffix(below.name)]
        named = [below for below in archives if split_of(archive_stem(below.name))]
        if any(below.is_dir() or is_photo(below.name) for below in found):
            return FolderSource(path, ignore)
        together = is_tars(archives)
        if named and not together:
            stems = Counter(archive_stem(below.name).lower() for below in named)
            stem, count = stems.most_common(1)[0]
            if count > 1:
                raise DataError(
                    f"{escaped(path)}: has several archives named {stem!r}; keep one of them"
                )
            opened = [open_archive(below, ignore, zip_encoding) for below in named]
            return _beside(found, named, ArchivesSource(path, named, opened))
        if together:
            opened = [open_archive(below, ignore, zip_encoding) for below in archives]
            return _beside(found, archives, ArchivesSource(path, archives, opened))
        if len(archives) == 1:
            return _beside(found, archives, open_archive(archives[0], ignore, zip_encoding))
        return FolderSource(path, ignore)
    if not path.exists():
        raise DataError(f"{escaped(path)}: no such folder or archive")
    if archive_suffix(path.name) is None:
        open_file(path).close()  # raises for what may not be read
        raise DataError(
            f"{escaped(path)}: neither a folder nor an archive ({', '.join(ARCHIVES[:6])}) nor a "
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
    given, patterns = [*names], Ignore(ignore)
    require_photos(given, patterns)
    return [photo for name in given for photo in photos_of(name, patterns)]


def require_photos(names: Iterable[str | os.PathLike[str]], ignore: Ignore) -> None:
    """Raise DataError for names that are not there, and for folders without photos.

    All of them stand in one message. A folder is read as far as its first photo.

    Args:
        names: photos, folders, lists, tables and archives.
        ignore: patterns of names in folders that are passed over.
    """
    missing: list[str] = []
    empty: list[str] = []
    for name in names:
        path = Path(name)
        if is_packed(name):
            continue
        if is_list(name):
            if os.fspath(name) != STDIN:  # raises for a list that is not there or names nothing
                with closing(listed_photos(name)) as found_there:
                    next(found_there, None)
            continue
        if path.is_dir():
            _require_folder(path, ignore)
            quick = Walk(path, ignore, ordered=False)
            if not any(is_photo(found) for found in quick):
                empty.append(escaped(path))
        elif not path.exists():
            missing.append(escaped(path))
    mistakes = [f"{listed(missing, SHOWN)}: no such photo or folder"] if missing else []
    which = "this folder" if len(empty) == 1 else "these folders"
    mistakes += [f"{listed(empty, SHOWN)}: no photos in {which}"] if empty else []
    if mistakes:
        raise DataError("; ".join(mistakes))


def is_packed(name: str | os.PathLike[str]) -> bool:
    """Return whether a place is an address, shards, or Parquet files that hold photos themselves.

    Raises:
        DataError: a Parquet file is damaged.
        MissingExtra: the package that reads Parquet is not installed.
    """
    if is_address(name):
        return True
    if is_photo(os.fspath(name)):  # most names, which need no look at the disk
        return False
    from mobilenetv2.data.tables.inside import holds_photos, parquet_files

    try:
        files = parquet_files(Path(name))
        return bool(files and holds_photos(files[0])) or shards_at(Path(name)) is not None
    except (OSError, ValueError):  # a name that no file has, which its reader says
        return False


def photos_of(
    name: str | os.PathLike[str], ignore: Ignore, ordered: bool = True, quiet: bool = False
) -> Iterator[Path]:
    """Yield the photos of one name, one by one: those in a folder or a list, or the photo itself.

    A path in a list that leads nowhere, a folder without photos in there, and a folder that cannot
    be listed are yielded, too: their reader says what is wrong with them.

    Args:
        name: a photo, a folder, a list of photos or a table.
        ignore: patterns of names in folders that are passed over.
        ordered: False for the order in which a disk lists a folder.
        quiet: True to say nothing of what is passed over.

    Raises:
        DataError: a list cannot be read, or a folder is one of a model or of a run.
    """
    places = listed_photos(name) if is_list(name) else [Path(name)]
    for place in places:
        if not is_folder(place):
            yield place
            continue
        inside = _inside(place, ignore, ordered, quiet)
        yield next(inside, place)
        yield from inside


def _inside(folder: Path, ignore: Ignore, ordered: bool, quiet: bool) -> Iterator[Path]:
    """Yield the photos in a folder, at any depth, and say at the end what is passed over."""
    _require_folder(folder, ignore)
    walk = Walk(folder, ignore, ordered, lenient=True)
    for name in walk:
        if is_photo(name) or name in walk.unlisted:
            yield folder / name
    for note in [] if quiet else (*walk.notes(), *walk.passed.notes()):
        say(note)


def _require_folder(folder: Path, ignore: Ignore) -> None:
    """Raise DataError for a folder that holds no photos for a prediction.

    It is that of a model or of a run, that around all on a disk, or that into which photos go.
    """
    whole = folder.resolve()
    if whole == ignore.without:
        raise DataError(
            f"{escaped(folder)}: the photos lie in the folder into which they would go; choose "
            "another one"
        )
    if whole == whole.parent:
        raise DataError(
            f"{escaped(folder)}: is the folder around everything on this disk; name the folder of "
            "the photos"
        )
    require_no_model(folder)


def require_no_model(folder: Path) -> None:
    """Raise DataError for a model folder or a run folder where photos are expected."""
    for model, what in ((folder / "best", "a run"), (folder, "a model folder")):
        if (model / MODEL).is_file() and (model / WEIGHTS).is_file():
            raise DataError(
                f"{escaped(folder)}: {what}, not photos; did you mean it as the model: "
                f"{argument('model', str(model))}?"
            )
