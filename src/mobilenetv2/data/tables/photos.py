"""Photos whose classes and splits stand in a table, not in the names of folders.

A table given by itself may name photos by any path, absolute or relative to its own folder. A table
inside a folder or an archive, which may come from anybody, names only photos in there. Names
without a suffix or a folder are looked up (:mod:`mobilenetv2.data.tables.lookup`). A photo that is
not there counts as one that cannot be read.

A folder is read by its table if it has no class folders, or if the table is called ``metadata`` or
``_classes``, as Hugging Face's and Roboflow's are. Tables for each split are in folders of splits,
or have the split in their name: ``train.csv``, ``val.csv``, ``test_labels.csv``.
"""

import os
import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath, PurePosixPath

from mobilenetv2.data.layout import ALL, Layout, split_of
from mobilenetv2.data.names import is_photo, is_table
from mobilenetv2.data.passed_over import IGNORED, Ignore, PassedOver
from mobilenetv2.data.sources import Source, size_of
from mobilenetv2.data.tables.columns import Columns, Row, find_columns, find_paths, read_rows
from mobilenetv2.data.tables.lookup import Find, beside, common_folder, split_in, within
from mobilenetv2.data.tables.table import MOST_BYTES, Table, parse
from mobilenetv2.errors import DataError, ImageError, MissingExtra, argument
from mobilenetv2.files import open_file
from mobilenetv2.images.decode import LIMITS
from mobilenetv2.images.memory import read_photo_file
from mobilenetv2.text import counted, escaped, quoted

MOST_TABLES = 50
"""Largest number of tables of a folder that are looked at."""
SAMPLE = 1000
"""Number of rows by which a table is known to name the photos of its folder."""
NAMED = 0.5
"""Smallest part of these rows that name photos of its folder, if it is a table of them."""
STANDARD = frozenset(("metadata", "_classes"))
"""Names of tables, without suffix, that say what is in the folders around them."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Photos with their classes and splits, as tables say."""

    source: Source
    layout: Layout
    tables: tuple[str, ...] = ()
    """Names of the tables in the source."""


class ListedSource(Source):
    """Photos that a table names.

    Args:
        place: folder that the names are relative to.
        files: each photo's path, or its source and its name there; None if it is not there.
        passed: rows and files that are passed over.
        notes: sentences about the source, for people.
    """

    def __init__(
        self,
        place: str,
        files: Mapping[str, Path | tuple[Source, str] | None],
        passed: PassedOver | None = None,
        notes: Iterable[str] = (),
    ) -> None:
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
                return read_photo_file(
                    opened, LIMITS.bytes
                )  # decoding reports a file over the limit
        except OSError as error:
            raise ImageError(f"{self.place}/{name}: cannot be opened ({error.strerror})") from None

    def size(self, name: str) -> int | None:
        """Return the bytes of a file; None if it is not there."""
        file = self._files[name]
        if file is None:
            return None
        return file[0].size(file[1]) if isinstance(file, tuple) else size_of(file)


def open_table(path: Path, ignore: Ignore | None = None) -> Labelled:
    """Return the photos of a table that the user gave by itself.

    Args:
        path: the table.
        ignore: patterns of photos that are passed over, matched with paths in the table's folder
            and with the names of photos elsewhere.

    Raises:
        DataError: it is damaged, no table of labels, or names no photo that is there.
        OSError: it cannot be opened.
        MissingExtra: the package that reads Parquet is not installed.
    """
    table = _parsed(path)
    columns = find_columns(table)
    folder = path.absolute().parent

    def spelled(name: str) -> str:
        return os.path.normpath(folder / name.replace("\\", "/"))

    made = _Collected(ignore, str(folder))
    made.add(table, columns, "", beside(path.absolute()), spelled)
    root = common_folder(folder, [Path(name) for name in made.found])

    def named(name: str) -> str:
        return escaped(Path(os.path.relpath(name, root)).as_posix())

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
    source = ListedSource(escaped(root), files, made.passed)
    return made.finish(source, escaped(path), named)


def photos_of(path: Path) -> list[Path]:
    """Return the photos that a table names, labelled or not; one that is not there stays named.

    Raises:
        DataError: it is damaged, or has no column of photos.
        OSError: it cannot be opened.
        MissingExtra: the package that reads Parquet is not installed.
    """
    table, folder = _parsed(path), path.parent
    columns, find = Columns(find_paths(table), None, (), None, False), beside(path)
    names = dict.fromkeys(row.path for row in read_rows(table, columns))
    return [Path(find(name) or folder / name) for name in names]


def _parsed(path: Path) -> Table:
    with open_file(path) as file:
        return parse(file.read(MOST_BYTES + 1), escaped(path))


@dataclass(frozen=True, slots=True)
class Tables:
    """Tables in a folder or an archive that name its photos."""

    labelled: dict[str, tuple[Table, Columns]]
    """Tables with labels, by name."""
    lacking: tuple[str, ...]
    """Reasons why others that name the photos are none of labels."""
    ignore: Ignore | None = None
    """Patterns of names that are passed over, for rows whose photo is not there."""

    @property
    def standard(self) -> bool:
        """True if they are called as tables that say what is in the folders around them."""
        return any(map(_is_standard, self.labelled))

    def agree(self, classes: Collection[str]) -> bool:
        """Return whether folders of these names may be the tables' classes, or these are others.

        Numbers of classes say nothing of names, nor do labels of which nearly every photo has its
        own.
        """
        folders = {name.casefold() for name in classes}
        for table, columns in self.labelled.values():
            rows = read_rows(table, columns)
            labels = {label.casefold() for row in rows for label in row.labels}
            if labels <= folders or folders <= labels or len(labels) > len(rows) / 2:
                return True
            if all(re.fullmatch(r"-?\d+", label) for label in labels):
                return True
        return not self.labelled


def find_tables(source: Source, ignore: Ignore | None = None) -> Tables:
    """Find the tables in a folder or an archive that name its photos.

    What cannot be read is none of them, and neither is a table of predictions.

    Args:
        source: the folder or archive.
        ignore: the patterns by which the source passes names over.

    Raises:
        DataError: a table of a standard name is larger than sources read.
        MissingExtra: ``metadata.parquet`` is there, and the package that reads it is not installed.
    """
    names = source.names()
    photos = {*filter(is_photo, names), *_ignored_photos(source)}
    labelled: dict[str, tuple[Table, Columns]] = {}
    lacking: list[str] = []
    for name in [n for n in names if is_table(n) and n.count("/") <= 2][:MOST_TABLES]:
        try:
            table = parse(_read(source, name), f"{source.place}/{name}")
            paths = Columns(find_paths(table), None, (), None, False)
            rows, find = read_rows(table, paths)[:SAMPLE], within(photos, name)
        except ImageError as error:  # it cannot be read, or not as a whole
            if _is_standard(name):
                raise DataError(str(error)) from None
            lacking.append(str(error))
            continue
        except DataError:
            continue
        except MissingExtra as error:
            if _is_standard(name):
                raise
            lacking.append(f"{source.place}/{name}: {error}")
            continue
        if sum(find(row.path) is not None for row in rows) < NAMED * len(rows):
            continue
        try:
            columns = find_columns(table)
        except DataError as error:
            lacking.append(str(error))
            continue
        if not columns.predicted:
            labelled[name] = table, columns
    return Tables(labelled, tuple(lacking), ignore)


def _read(source: Source, name: str) -> bytes:
    """Return the bytes of a table in a source.

    Raises:
        ImageError: it cannot be read, or has more bytes than a source reads.
    """
    data = source.read(name)
    if len(data) > LIMITS.bytes:
        raise ImageError(
            f"{source.place}/{name}: this table has more bytes than the limit of {LIMITS.bytes:,} "
            "for a file beside photos; give the table itself as the data, or make it smaller"
        )
    return data


def _ignored_photos(source: Source) -> list[str]:
    return [name for name in source.passed.names.get(IGNORED, ()) if is_photo(name)]


def read_tables(source: Source, tables: Tables) -> Labelled:
    """Return the photos of a folder or an archive by its tables.

    Raises:
        DataError: several tables name the photos, or photos have several labels.
    """
    photos, ignored = set(filter(is_photo, source.names())), _ignored_photos(source)
    made = _Collected(tables.ignore, "", source.passed)
    chosen = _chosen(tables.labelled, source.place)
    for name, split in chosen.items():
        finds = within(photos.union(ignored), name), within(photos, name)
        # A row of an ignored photo means that one, and none of the same name in another folder.
        find = partial(_first_found, finds)
        made.add(*tables.labelled[name], split, find, partial(_joined, posixpath.dirname(name)))
    files: dict[str, Path | tuple[Source, str] | None] = {
        name: (source, name) if name in made.found else None for name in made.labels
    }
    if unnamed := sorted(photos - made.found - made.mentioned):
        made.left_out += unnamed
        made.notes.append(
            f"{source.place}: {counted(len(unnamed), 'photo')} in no row of "
            f"{quoted([*chosen])} left out (first: {unnamed[0]})"
        )
    made.notes.append(f"{source.place}: classes are those of {quoted([*chosen])}")
    listed = ListedSource(source.place, files, made.passed, source.notes)
    return made.finish(listed, source.place, str, tuple(chosen))


def _first_found(finds: Iterable[Find], path: str) -> str | None:
    return next(filter(None, (find(path) for find in finds)), None)


def _joined(folder: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(folder, path.replace("\\", "/")))


def _chosen(names: Collection[str], place: str) -> dict[str, str]:
    """Return the tables to read, each with its split, or '' for one that is alone."""
    standard = list(filter(_is_standard, names))
    splits = {name: split_in(name) for name in standard or names}
    if any(splits.values()):
        return {name: split for name, split in splits.items() if split}
    if len(splits) > 1 and not standard:
        raise DataError(
            f"{place}: has several tables of labels ({quoted([*splits])}); give the one that counts"
        )
    return splits


def _is_standard(name: str) -> bool:
    return PurePosixPath(name).stem.lower() in STANDARD


class _Collected:
    """Photos of one table or several, until all are known.

    Args:
        ignore: patterns of names that are passed over.
        folder: folder in which paths are matched as a whole; '' for that of the source.
        passed: what the source passes over.
    """

    def __init__(
        self, ignore: Ignore | None, folder: str, passed: PassedOver | None = None
    ) -> None:
        self.labels: dict[str, dict[str, dict[str, None]]] = defaultdict(dict)
        """Classes by split by name of the photo, each in the order of the table."""
        self.found: set[str] = set()
        self.mentioned: set[str] = set()
        """Photos that are there, in rows that are left out."""
        self.left_out: list[str] = []
        self.notes: list[str] = []
        self.passed = PassedOver()
        self.passed.join(passed or PassedOver())
        self._known = set(self.passed.names.get(IGNORED, ()))
        self._ignore, self._folder = ignore or Ignore(), folder
        self._repeated = 0

    def add(
        self, table: Table, columns: Columns, split: str, find: Find, spelled: Callable[[str], str]
    ) -> None:
        """Add the photos of a table, all of one split if it is given.

        Args:
            table: the table.
            columns: its columns.
            split: the split of all its rows, or ''.
            find: look-up of its photos.
            spelled: function from a path in it to the name that a photo there would have.
        """
        self.notes += [*table.notes, *columns.notes]
        named = [(row, find(row.path), spelled(row.path)) for row in read_rows(table, columns)]
        rows = [one for one in named if not self._is_ignored(one[1], one[2])]
        if not rows:
            raise DataError(f"{table.place}: {argument('ignore')} passes over all its photos")
        self._leave_out(table.place, [one for one in rows if not one[0].labels], "without a label")
        kept = [one for one in rows if one[0].labels]
        if not kept:
            raise DataError(f"{table.place}: no row has a label")
        values = Counter(row.split for row, _, _ in rows if row.split)
        unknown = [value for value in values if not split_of(value)]
        if unknown and not split:
            raise DataError(
                f"{table.place}: its column of splits has {quoted(unknown)}; call them train, "
                "validation and test"
            )
        if values and not split:
            bare = [one for one in kept if not one[0].split]
            self._leave_out(table.place, bare, "without a split")
            kept = [one for one in kept if one[0].split]
        if not kept:
            raise DataError(f"{table.place}: no row has both a label and a split")
        for row, found, name in kept:
            self._add(row, split or split_of(row.split) or ALL, found, name)

    def _is_ignored(self, found: str | None, spelled: str) -> bool:
        """Return whether a pattern matches the photo of a row, and count it if it does."""
        name = found or spelled
        if name not in self._known:
            if not (self._ignore.patterns and any(map(self._matches, {name, spelled}))):
                return False
            self._known.add(name)
            self.passed.add(IGNORED, escaped(name))
        return True

    def _matches(self, name: str) -> bool:
        path = PurePath(name)
        inside = path.is_relative_to(self._folder)
        parts = (path.relative_to(self._folder) if inside else PurePath(path.name)).parts
        return any(
            self._ignore.matches("/".join(parts[: depth + 1])) for depth in range(len(parts))
        )

    def _add(self, row: Row, split: str, found: str | None, name: str) -> None:
        if found is not None:
            self.found.add(found)
        before = self.labels[found or name].setdefault(split, {})
        self._repeated += bool(before)
        before |= dict.fromkeys(row.labels)

    def _leave_out(self, place: str, rows: Sequence[tuple[Row, str | None, str]], why: str) -> None:
        if rows:
            paths = [row.path for row, _, _ in rows]
            self.left_out += paths
            self.mentioned.update(found for _, found, _ in rows if found)
            self.notes.append(
                f"{place}: {counted(len(paths), 'photo')} {why} left out (first: {paths[0]})"
            )

    def finish(
        self, source: Source, place: str, named: Callable[[str], str], tables: tuple[str, ...] = ()
    ) -> Labelled:
        """Return the photos.

        Args:
            source: where they are read.
            place: the table or its folder, for messages.
            named: function from a name here to the name in the source.
            tables: names of the tables in the source.

        Raises:
            DataError: no photo is there, or photos have several classes.
        """
        if not self.found:
            first = named(next(iter(self.labels)))
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
        return Labelled(source, Layout(splits, {place: self.left_out}, self.notes), tables)
