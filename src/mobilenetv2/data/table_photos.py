"""Photos whose classes and splits stand in a table, not in the names of folders.

A table given by itself may name photos by any path, absolute or relative to its own folder. A table
inside a folder or an archive, which may come from anybody, names only photos in there. Names
without a suffix and names without their folder are looked up; of several photos of a name, one in
the folder of the table's split counts (``train.csv`` means ``train/1.jpg``, not ``test/1.jpg``). A
photo that is not there counts as one that cannot be read.

A folder is read by its table if it has no class folders, or if the table is called ``metadata`` or
``_classes``, as Hugging Face's and Roboflow's are. Tables for each split are in folders of splits,
or have the split in their name: ``train.csv``, ``val.csv``, ``test_labels.csv``.
"""

import os
import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mobilenetv2.data.layout import ALL, Layout, split_of
from mobilenetv2.data.passed_over import is_photo
from mobilenetv2.data.sources import Source
from mobilenetv2.data.table_columns import Columns, Row, find_columns, find_paths, read_rows
from mobilenetv2.data.tables import MOST_BYTES, Table, is_table, parse
from mobilenetv2.errors import DataError, ImageError
from mobilenetv2.files import open_file
from mobilenetv2.images.decode import LIMITS, SUFFIXES
from mobilenetv2.text import counted, escaped, quoted

MOST_FOLDERS = 200
"""Largest number of folders beside a table in which photos are looked up."""
MOST_TABLES = 50
"""Largest number of tables of a folder that are looked at."""
NAMED_SUFFIXES = 0.5
"""Smallest part of a table's rows that name photos of its folder, if it is a table of them."""
STANDARD = frozenset(("metadata", "_classes"))
"""Names of tables, without suffix, that say what is in the folders around them."""
_FIRST = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
_TRIED = (*_FIRST, *sorted(SUFFIXES - set(_FIRST)))

Find = Callable[[str], str | None]
"""Function from a path in a table to the name of a photo that is there; None if none is."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Photos with their classes and splits, as tables say."""

    source: Source
    layout: Layout
    standard: bool
    """True if the tables are called as those that say what is in the folders around them."""


class ListedSource(Source):
    """Photos that a table names.

    Args:
        place: folder that the names are relative to.
        files: each photo's path, or its source and its name there; None if it is not there.
        around: the source that the table is in, if it is in one.
    """

    def __init__(
        self,
        place: str,
        files: Mapping[str, Path | tuple[Source, str] | None],
        around: Source | None = None,
    ) -> None:
        passed, notes = (around.passed, around.notes) if around else (None, ())
        super().__init__(place, files, passed, notes)
        self._files = files

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        file = self._files[name]
        if file is None:
            raise ImageError(f"{self.place}/{name}: no such photo, though the table names it")
        if isinstance(file, tuple):
            source, inner = file
            return source.read(inner)
        try:
            with open_file(file) as opened:
                return opened.read(LIMITS.bytes + 1)  # decoding reports a file over the limit
        except OSError as error:
            raise ImageError(f"{self.place}/{name}: cannot be opened ({error.strerror})") from None


def open_table(path: Path) -> Labelled:
    """Return the photos of a table that the user gave by itself.

    Raises:
        DataError: it is damaged, no table of labels, or names no photo that is there.
        OSError: it cannot be opened.
        MissingExtra: the package that reads Parquet is not installed.
    """
    table = _parsed(path)
    columns = find_columns(table)
    made = _Collected()
    made.add(table, columns, "", _beside(path.absolute()))
    found = [Path(name) for name in made.found]
    root = _root(path.absolute().parent, found)

    def named(name: str) -> str:
        inside = Path(os.path.relpath(name, root)) if Path(name).is_absolute() else Path(name)
        return inside.as_posix()

    files: dict[str, Path | tuple[Source, str] | None] = {
        named(name): Path(name) if name in made.found else None for name in made.labels
    }
    siblings = [
        other.name
        for other in sorted(path.parent.iterdir())
        if split_of(path.stem) and other != path and is_table(other.name) and split_of(other.stem)
    ]
    if siblings:
        made.notes.append(
            f"{escaped(path)}: is read alone; to read {quoted(siblings)} too, give the folder"
        )
    return made.finish(ListedSource(escaped(root), files), escaped(path), named)


def photos_of(path: Path) -> list[Path]:
    """Return the photos that a table names, labelled or not; one that is not there stays named.

    Raises:
        DataError: it is damaged, or has no column of photos.
        OSError: it cannot be opened.
        MissingExtra: the package that reads Parquet is not installed.
    """
    table, folder = _parsed(path), path.parent
    columns, find = Columns(find_paths(table), None, (), None, False), _beside(path)
    names = dict.fromkeys(row.path for row in read_rows(table, columns))
    return [Path(find(name) or folder / name) for name in names]


def _parsed(path: Path) -> Table:
    with open_file(path) as file:
        return parse(file.read(MOST_BYTES + 1), escaped(path))


def find_labelled(source: Source) -> Labelled | None:
    """Return the photos of a folder or an archive by its tables; None if it has none of labels.

    Raises:
        DataError: several tables name the photos, or the table is wrong.
    """
    names = source.names()
    photos = set(filter(is_photo, names))
    found: dict[str, tuple[Table, Columns]] = {}
    reasons: list[str] = []
    for name in [n for n in names if is_table(n) and n.count("/") <= 2][:MOST_TABLES]:
        try:
            table = parse(source.read(name), f"{source.place}/{name}")
            columns = find_columns(table)
            rows = read_rows(table, columns)
        except DataError as error:
            reasons.append(str(error))
            continue
        find = _within(photos, name)
        there = sum(find(row.path) is not None for row in rows[:1000])
        if not columns.predicted and there >= NAMED_SUFFIXES * min(len(rows), 1000):
            found[name] = table, columns
    chosen = _chosen(found, source.place)
    if not chosen:
        return None
    made = _Collected()
    for name, split in chosen.items():
        made.add(*found[name], split, _within(photos, name))
    files: dict[str, Path | tuple[Source, str] | None] = {
        name: (source, name) if name in made.found else None for name in made.labels
    }
    if unnamed := sorted(photos - made.found):
        made.left_out += unnamed
        made.notes.append(
            f"{source.place}: {counted(len(unnamed), 'photo')} in no row of "
            f"{quoted([*chosen])} left out (first: {unnamed[0]})"
        )
    made.notes.append(f"{source.place}: classes are those of {quoted([*chosen])}")
    standard = all(PurePosixPath(name).stem.lower() in STANDARD for name in chosen)
    return made.finish(ListedSource(source.place, files, source), source.place, str, standard)


def _chosen(names: Collection[str], place: str) -> dict[str, str]:
    """Return the tables to read, each with its split, or '' for one that is alone."""
    standard = [n for n in names if PurePosixPath(n).stem.lower() in STANDARD]
    splits = {name: _split_in(name) for name in standard or names}
    if any(splits.values()):
        return {name: split for name, split in splits.items() if split}
    if len(splits) > 1:
        raise DataError(
            f"{place}: has several tables of labels ({quoted([*splits])}); give the one that counts"
        )
    return splits


def _split_in(name: str) -> str:
    """Return the split that a table's folders or name say, or ''.

    The name may have words beside the split's: 'val_labels.csv', 'trainAnnotations.csv'.
    """
    path = PurePosixPath(name)
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", path.stem)
    return next(filter(None, map(split_of, (*path.parts[:-1], path.stem, *words))), "")


class _Collected:
    """Photos of one table or several, until all are known."""

    def __init__(self) -> None:
        self.labels: dict[str, dict[str, dict[str, None]]] = defaultdict(dict)
        """Classes by split by name of the photo, each in the order of the table."""
        self.found: set[str] = set()
        self.left_out: list[str] = []
        self.notes: list[str] = []
        self._repeated = 0

    def add(self, table: Table, columns: Columns, split: str, find: Find) -> None:
        """Add the photos of a table, all of one split if it is given."""
        self.notes += table.notes
        rows = read_rows(table, columns)
        bare = [row.path for row in rows if not row.labels]
        if len(bare) == len(rows):
            raise DataError(f"{table.place}: no row has a label")
        self._leave_out(table.place, bare, "without a label")
        unknown = Counter(row.split for row in rows if row.split and not split_of(row.split))
        if unknown and not split:
            raise DataError(
                f"{table.place}: its column of splits has {quoted([*unknown])}; call them train, "
                "validation and test"
            )
        splitless = [row.path for row in rows if not split and columns.split and not row.split]
        if columns.split and len(splitless) < len(rows):
            self._leave_out(table.place, splitless, "without a split")
        else:
            splitless = []
        omitted = set(splitless)
        for row in rows:
            if row.labels and row.path not in omitted:
                self._add(row, split or split_of(row.split) or ALL, find)

    def _add(self, row: Row, split: str, find: Find) -> None:
        found = find(row.path)
        name = row.path.replace("\\", "/") if found is None else found
        if found is not None:
            self.found.add(found)
        before = self.labels[name].setdefault(split, {})
        self._repeated += bool(before)
        before |= dict.fromkeys(row.labels)

    def _leave_out(self, place: str, paths: list[str], why: str) -> None:
        if paths:
            self.left_out += paths
            self.notes.append(
                f"{place}: {counted(len(paths), 'photo')} {why} left out (first: {paths[0]})"
            )

    def finish(
        self, source: Source, place: str, named: Callable[[str], str], standard: bool = False
    ) -> Labelled:
        """Return the photos.

        Args:
            source: where they are read.
            place: the table or its folder, for messages.
            named: function from a name here to the name in the source.
            standard: True for tables that say what is in the folders around them.

        Raises:
            DataError: no photo is there, or photos have several classes.
        """
        if not self.found:
            first = next(iter(self.labels))
            raise DataError(
                f"{place}: none of its {counted(len(self.labels), 'photo')} is there (first: "
                f"{first}); paths are relative to the table's folder"
            )
        several = [
            (name, [*labels])
            for name, by_split in self.labels.items()
            for labels in by_split.values()
            if len(labels) > 1
        ]
        if several:
            name, labels = several[0]
            have = "has" if len(several) == 1 else "have"
            raise DataError(
                f"{place}: {counted(len(several), 'photo')} {have} several labels (first: {name}: "
                f"{quoted(labels)}), which is not supported here; keep one label for each photo"
            )
        if self._repeated:
            self.notes.append(
                f"{place}: {counted(self._repeated, 'row')} repeated a photo and its label, which "
                "counts once"
            )
        splits: dict[str, dict[str, list[str]]] = {}
        for name, by_split in self.labels.items():
            for split, classes in by_split.items():
                (label,) = classes
                splits.setdefault(split, {}).setdefault(label, []).append(named(name))
        return Labelled(source, Layout(splits, {place: self.left_out}, self.notes), standard)


def _within(photos: Collection[str], table: str) -> Find:
    """Return the look-up of photos in the source that holds the table, by the table's name."""
    by_name = _by_last_part(photos)

    def find(path: str) -> str | None:
        name = posixpath.normpath(path.replace("\\", "/"))
        for base in dict.fromkeys((posixpath.dirname(table), "")):
            inside = posixpath.normpath(posixpath.join(base, name))
            if (exact := _with_suffix(inside, photos.__contains__)) is not None:
                return exact
        if name.startswith(("/", "..")):
            return None
        return _only(by_name.get(posixpath.basename(name), []), _split_in(table))

    return find


def _beside(table: Path) -> Find:
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
        alike = by_name.get(posixpath.basename(path.replace("\\", "/")), [])
        return _only(alike, _split_in(table.name))

    return find


def _only(alike: list[str], split: str) -> str | None:
    """Return the one photo of a name, or the one in a folder of the split; None if none is."""
    if len(alike) > 1 and split:
        alike = [photo for photo in alike if split_of(Path(photo).parent.name) == split]
    return alike[0] if len(alike) == 1 else None


def _with_suffix(name: str, exists: Callable[[str], bool]) -> str | None:
    if exists(name):
        return name
    if PurePosixPath(name).suffix.lower() in SUFFIXES:
        return None
    return next((name + suffix for suffix in _TRIED if exists(name + suffix)), None)


def _by_last_part(photos: Iterable[str]) -> dict[str, list[str]]:
    """Return photos by their names without folders, with and without the suffix."""
    found: dict[str, list[str]] = defaultdict(list)
    for photo in photos:
        name = Path(photo).name
        for key in (name, name.rpartition(".")[0]):
            found[key].append(photo)
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


def _root(folder: Path, photos: list[Path]) -> Path:
    """Return the folder that the photos' names are relative to: the table's, if all are in it."""
    if all(photo.is_relative_to(folder) for photo in photos):
        return folder
    try:
        return Path(os.path.commonpath([photo.parent for photo in photos]))
    except ValueError:  # on several drives
        return folder
