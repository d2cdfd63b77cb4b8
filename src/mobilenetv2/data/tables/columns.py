"""Meaning of a table's columns: which holds a photo's path, its label or labels, its split.

Names are compared without case, and with '_' for everything but letters and digits. Where several
names fit, the first in the order below is taken: a class's name comes before its number.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mobilenetv2.data.layout import split_of
from mobilenetv2.data.tables.table import Cell, Table
from mobilenetv2.errors import DataError
from mobilenetv2.images.decode import SUFFIXES
from mobilenetv2.text import counted, quoted

PATHS = (
    "filename file_name filepath file_path path image_path img_path imagepath image_file "
    "image_filename img_file image_name img_name imagename photo image images img picture file "
    "filepaths file_paths filenames files image_index image_id img_id imageid photo_id id_code id "
    "name"
).split()
"""Names of a column of photos."""
LABELS = (
    "label_name class_name classname category_name label labels class classes category categories "
    "target species breed tag tags class_label finding_labels diagnosis dx y label_id class_id "
    "classid category_id target_id"
).split()
"""Names of a column of classes."""
SPLITS = "split subset partition set data_set dataset usage phase".split()
"""Names of a column of splits."""
AMBIGUOUS = frozenset("set dataset data_set usage phase partition".split())
"""Those that may be anything else, such as a photo's origin, unless a cell is called as a split."""
PREDICTED = frozenset("probability prob score confidence prediction predicted rank".split())
"""Names of columns in a table of predictions, whose labels are no truth."""
SEVERAL = frozenset("labels classes categories tags finding_labels".split())
"""Names of columns in which commas and semicolons stand between several labels."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row that names a photo."""

    path: str
    labels: tuple[str, ...]
    """Classes of the photo; none if the table says none."""
    split: str
    """Split as the table spells it; '' if it has no such column, or says nothing."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Places of the columns that count."""

    path: int
    label: int | None
    """Column of classes; None if each class has a column of its own."""
    classes: tuple[int, ...]
    """Columns of 0 and 1, one for each class."""
    split: int | None
    predicted: bool
    """True if the table holds predictions."""
    notes: tuple[str, ...] = ()
    """Notes on columns that do not count, one sentence each."""


def plain(name: str) -> str:
    """Return a column's name as it is compared."""
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")


def find_paths(table: Table) -> int:
    """Return the place of the column of photos.

    Raises:
        DataError: there is none; the message says which columns there are.
    """
    path = _first([plain(name) for name in table.columns], PATHS)
    if path is None:
        has = f"its columns are {quoted(table.columns)}"
        if any(_is_photo(cell) for cell in table.columns):
            has = "its first line is already a photo"
        raise DataError(
            f"{table.place}: no column is called as one of photos ({has}); "
            "add a first line with the columns' names, such as filename,label"
        )
    return path


def find_columns(table: Table) -> Columns:
    """Find the columns of a table that count.

    Raises:
        DataError: it has no column of photos or of labels; the message says which it has.
    """
    names = [plain(name) for name in table.columns]
    path = find_paths(table)
    others = {index for index, name in enumerate(names) if _is_no_split(table, index, name)}
    split = _first([name if i not in others else "" for i, name in enumerate(names)], SPLITS)
    has = f"its columns are {quoted(table.columns)}"
    label = _first([name if index != path else "" for index, name in enumerate(names)], LABELS)
    classes: tuple[int, ...] = ()
    if label is None:
        rest = [i for i in range(len(names)) if i not in (path, split) and names[i]]
        classes = tuple(i for i in rest if _is_zero_or_one(table, i))
        if len(classes) < 2 or len(classes) < len(rest) - 1:
            raise DataError(
                f"{table.place}: no column is called as one of labels ({has}), and the others do "
                "not hold 0 and 1, one column for each class; call the column of classes 'label'"
            )
    notes = tuple(
        f"{table.place}: its column {table.columns[index]!r} names no splits and is not used"
        for index in sorted(others - {label, *classes})
    )
    return Columns(path, label, classes, split, bool(PREDICTED & set(names)), notes)


def read_rows(table: Table, columns: Columns) -> list[Row]:
    """Return the rows of a table; those without a path are left out.

    Raises:
        DataError: a path is a list or an address in the web.
    """
    rows = []
    for cells in table.rows:
        path = cells[columns.path]
        if not isinstance(path, str):
            raise DataError(f"{table.place}: a row names several photos; give each a row")
        if "://" in path[:10]:
            raise DataError(
                f"{table.place}: names addresses ({path!r}), and nothing is downloaded; download "
                "the photos and name their files"
            )
        if path:
            split = cells[columns.split] if columns.split is not None else ""
            rows.append(Row(path, _labels(table, cells, columns), str(split)))
    if not rows:
        raise DataError(
            f"{table.place}: the column {table.columns[columns.path]!r} is empty in "
            f"{counted(len(table.rows), 'row')}"
        )
    return _without_points(rows)


def _labels(table: Table, cells: Sequence[Cell], columns: Columns) -> tuple[str, ...]:
    if columns.label is None:
        return tuple(table.columns[i] for i in columns.classes if _is_one(cells[i]))
    cell = cells[columns.label]
    several = plain(table.columns[columns.label]) in SEVERAL
    parts = re.split(r"[|,;]" if several else r"\|", cell) if isinstance(cell, str) else cell
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _without_points(rows: list[Row]) -> list[Row]:
    """Return rows in which classes are called 1 instead of 1.0, if all are such numbers."""
    labels = {label for row in rows for label in row.labels}
    if not labels or not all(re.fullmatch(r"-?\d+\.0", label) for label in labels):
        return rows
    return [Row(row.path, tuple(one[:-2] for one in row.labels), row.split) for row in rows]


def _first(names: Sequence[str], known: Sequence[str]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)


def _is_no_split(table: Table, column: int, name: str) -> bool:
    """Return whether a column has an ambiguous name and no cell is called as a split.

    A column in which some cells are stays one of splits, so that the others are an error.
    """
    values = {str(row[column]) for row in table.rows} - {""} if name in AMBIGUOUS else set()
    return bool(values) and not any(map(split_of, values))


def _is_photo(cell: str) -> bool:
    return ("." + cell.rpartition(".")[2].lower()) in SUFFIXES


def _is_zero_or_one(table: Table, column: int) -> bool:
    return all(
        _is_one(row[column]) or row[column] in ("0", "0.0", "False", "false") for row in table.rows
    )


def _is_one(cell: Cell) -> bool:
    return cell in ("1", "1.0", "True", "true")
