"""Tables as people hold them: CSV, TSV, JSON Lines and Parquet, parsed to columns and rows of text.

A table is data from elsewhere: its size is bounded before memory is taken, and nothing in it is
evaluated. What its columns mean is in :mod:`mobilenetv2.data.table_columns`.
"""

import codecs
import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeAlias

from mobilenetv2.errors import DataError, require
from mobilenetv2.text import first_line, listed

MOST_BYTES = 256 * 1024**2
"""Largest size of a table, for Parquet unpacked."""
MOST_ROWS = 5_000_000
MOST_COLUMNS = 10_000
SUFFIXES = frozenset((".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"))
"""Suffixes of tables, in lower case."""
SAMPLE = 50
"""Number of lines by which a delimiter is found."""
_DELIMITERS = ",;\t|"

Cell: TypeAlias = str | tuple[str, ...]
"""Text without spaces around it; several texts where JSON or Parquet has a list."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a table, with the names of their columns."""

    place: str
    """Name of the table for messages."""
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    """Cells of each row, one for each column."""
    notes: tuple[str, ...] = ()
    """Notes on how it was read, one sentence each."""


def is_table(name: str) -> bool:
    """Return whether a name has the suffix of a table."""
    return not name.endswith("/") and PurePath(name).suffix.lower() in SUFFIXES


def parse(data: bytes, place: str) -> Table:
    """Parse a table by the suffix of its name.

    Args:
        data: the whole file.
        place: name of the table, with its suffix, for messages.

    Raises:
        DataError: it is damaged, too large, or no such table.
        MissingExtra: the package that reads Parquet is not installed.
    """
    if len(data) > MOST_BYTES:
        raise DataError(f"{place}: {len(data):,} bytes are more than the limit of {MOST_BYTES:,}")
    suffix = PurePath(place).suffix.lower()
    if suffix == ".parquet" or data[:4] == b"PAR1":
        return _parquet(data, place)
    text, notes = _text(data, place)
    if suffix in (".jsonl", ".ndjson"):
        table = _json_lines(text, place)
    else:
        table = _delimited(text, place, "\t" if suffix == ".tsv" else "")
    if not table.rows:
        raise DataError(f"{place}: has no rows")
    return Table(place, table.columns, table.rows, notes)


def _text(data: bytes, place: str) -> tuple[str, tuple[str, ...]]:
    """Return a table's text, and a note if its encoding is not UTF-8."""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if data.startswith(mark):  # as Excel saves "Unicode text"
            return data.decode(encoding, "replace"), ()
    if b"\0" in data:
        raise DataError(f"{place}: holds bytes that no text has, so it is no table or is damaged")
    try:
        return data.decode("utf-8-sig"), ()
    except UnicodeDecodeError as error:
        # Spreadsheets on Windows save so. Five bytes have no letter there.
        note = (
            f"{place}: is not UTF-8 (byte {error.start:,}) and was read as Windows-1252; save it "
            "as UTF-8 if names look wrong"
        )
        return data.decode("cp1252", "replace"), (note,)


def _delimited(text: str, place: str, delimiter: str) -> Table:
    text = re.sub(r"\Asep=(.)\r?\n", "", text)  # a line for Excel
    delimiter = delimiter or _delimiter(text)
    rows = _rows(text, place, delimiter)
    header = next(rows, None)
    if header is None:
        raise DataError(f"{place}: the table is empty")
    columns = _columns(header[1], place)
    found: list[tuple[Cell, ...]] = []
    for line, cells in rows:
        if len(cells) > len(columns) and not any(cells[len(columns) :]):
            cells = cells[: len(columns)]  # a spreadsheet's empty cells
        if len(cells) != len(columns):
            raise DataError(
                f"{place}: line {line:,} has {len(cells)} cells and the first line {len(columns)}; "
                'a cell that holds the delimiter needs quotes "..."'
            )
        found.append(tuple(cells))
        _bound_rows(found, place)
    return Table(place, columns, found)


def _delimiter(text: str) -> str:
    """Return the delimiter that divides the first lines into the same number of most cells."""
    head = "\n".join(text.splitlines()[:SAMPLE])
    best, most = ",", 1
    for delimiter in _DELIMITERS:
        try:
            counts = {len(cells) for _, cells in _rows(head, "", delimiter)}
        except DataError:
            continue
        if len(counts) == 1 and (count := counts.pop()) > most:
            best, most = delimiter, count
    # Rows of different lengths are an error to come; the first line says whose.
    first = head.partition("\n")[0]
    return best if most > 1 else max(_DELIMITERS, key=first.count)


def _rows(text: str, place: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of each row that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise DataError(f"{place}: line {reader.line_num + 1:,}: {first_line(error)}") from None


def _columns(names: Sequence[str], place: str) -> tuple[str, ...]:
    while names and not names[-1]:
        names = names[:-1]
    if len(names) > MOST_COLUMNS:
        raise DataError(f"{place}: more columns than the limit of {MOST_COLUMNS:,}")
    twice = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
    if twice:
        raise DataError(f"{place}: several columns are called {listed(twice, 3)}; rename them")
    return tuple(names)


def _bound_rows(rows: Sequence[object], place: str) -> None:
    if len(rows) > MOST_ROWS:
        raise DataError(f"{place}: more rows than the limit of {MOST_ROWS:,}")


def _json_lines(text: str, place: str) -> Table:
    records: list[dict[str, Any]] = []
    for line, words in enumerate(text.split("\n"), 1):
        if not words.strip():
            continue
        try:
            record = json.loads(words)
        except (ValueError, RecursionError) as error:
            reason = first_line(error) or "nested too deeply"
            raise DataError(f"{place}: line {line:,} is no JSON ({reason})") from None
        if not isinstance(record, dict):
            raise DataError(f'{place}: line {line:,} is no object such as {{"file_name": ...}}')
        records.append(record)
        _bound_rows(records, place)
    columns = _columns(list(dict.fromkeys(name for record in records for name in record)), place)
    rows = [tuple(_cell(record.get(name)) for name in columns) for record in records]
    return Table(place, columns, rows)


def _cell(value: object) -> Cell:
    """Return a value of JSON or Parquet as text, or as several texts."""
    if isinstance(value, list | tuple):
        return tuple(str(_cell(one)) for one in value)
    if value is None or value != value:  # NaN, pandas' missing value
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _parquet(data: bytes, place: str) -> Table:
    parquet, arrow = require("pyarrow.parquet"), require("pyarrow")
    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        about, schema = file.metadata, file.schema_arrow
        if about.num_rows > MOST_ROWS or len(schema.names) > MOST_COLUMNS:
            raise DataError(
                f"{place}: {about.num_rows:,} rows of {len(schema.names):,} columns are more than "
                f"the limits of {MOST_ROWS:,} and {MOST_COLUMNS:,}"
            )
        plain = [field.name for field in schema if _is_plain(field.type, arrow)]
        if photos := [
            name for name in schema.names if _holds_files(schema.field(name).type, arrow)
        ]:
            raise DataError(
                f"{place}: its column {photos[0]!r} holds the photos themselves, which are not "
                "read; save each to a file and name the files in the table"
            )
        unpacked = sum(_unpacked(about, plain))
        if unpacked > MOST_BYTES:
            raise DataError(
                f"{place}: unpacked, it has more bytes than the limit of {MOST_BYTES:,}"
            )
        values = file.read(columns=plain).to_pydict()
    except (arrow.ArrowException, OSError, ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{place}: damaged Parquet file ({first_line(error)})") from None
    columns = _columns(plain, place)
    rows = [tuple(map(_cell, row)) for row in zip(*(values[n] for n in columns), strict=True)]
    if not rows:
        raise DataError(f"{place}: has no rows")
    return Table(place, columns, rows)


def _unpacked(about: Any, names: Iterable[str]) -> Iterator[int]:
    """Yield the unpacked size of each part of the columns, in bytes."""
    wanted = set(names)
    for group in range(about.num_row_groups):
        for index in range(about.num_columns):
            column = about.row_group(group).column(index)
            if column.path_in_schema.partition(".")[0] in wanted:
                yield column.total_uncompressed_size


def _is_plain(kind: Any, arrow: Any) -> bool:
    """Return whether a column holds texts, numbers, or lists of them."""
    types = arrow.types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_dictionary(kind):
        return _is_plain(kind.value_type, arrow)
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
    )


def _holds_files(kind: Any, arrow: Any) -> bool:
    types = arrow.types
    if types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))
