"""Tables as people hold them: CSV, TSV, JSON Lines and Parquet, parsed to columns and rows of text.

A table is data from elsewhere: its size is bounded before memory is taken, and nothing in it is
evaluated. What its columns mean is in :mod:`mobilenetv2.data.tables.columns`.
"""

import codecs
import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeAlias

from mobilenetv2.documents import parse_json
from mobilenetv2.errors import ArtifactError, DataError, require
from mobilenetv2.text import first_line, listed
from mobilenetv2.worker import Worker

MOST_BYTES = 256 * 1024**2
"""Largest size of a table, for Parquet unpacked."""
MOST_ROWS = 5_000_000
MOST_COLUMNS = 10_000
MOST_CELLS = 20_000_000
"""Largest number of rows times columns; a cell takes 8 bytes, even where its row says nothing."""
MOST_LETTERS = 131_072
"""Largest length of a cell, that of Python's csv."""
TABLE_MEMORY = 16 * MOST_BYTES
"""Bytes of memory for the largest table as rows of text, and as JSON."""
BATCH = 4096
"""Number of rows of Parquet that are unpacked together."""
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
    notes: tuple[str, ...] = ()
    if suffix == ".parquet" or data[:4] == b"PAR1":
        table = _parquet(data, place)
    else:
        text, notes = _text(data, place)
        if suffix in (".jsonl", ".ndjson"):
            table = _json_lines(text, place)
        else:
            table = _delimited(text, place, "\t" if suffix == ".tsv" else "")
    if not table.rows:
        raise DataError(f"{place}: has no rows")
    for row in (table.columns, *table.rows):
        _require_text(row, place)
    return Table(place, table.columns, table.rows, notes)


def _require_text(row: Iterable[Cell], place: str) -> None:
    """Raise for a cell that no file can hold as text, or that is too long."""
    for cell in row:
        text = cell if isinstance(cell, str) else "".join(cell)
        if "\0" in text or not _is_unicode(text):
            raise DataError(
                f"{place}: the cell {text[:40]!r} holds a character that no text has; remove it"
            )
        if len(text) > MOST_LETTERS:
            raise DataError(
                f"{place}: the cell {text[:40]!r}... is longer than the limit of "
                f"{MOST_LETTERS:,} characters"
            )


def _is_unicode(text: str) -> bool:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # half of a pair, as JSON can write it
            return False
    return True


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
        _bound(len(found), len(columns), place)
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


def _bound(rows: int, columns: int, place: str) -> None:
    if rows > MOST_ROWS:
        raise DataError(f"{place}: more rows than the limit of {MOST_ROWS:,}")
    if rows * columns > MOST_CELLS:
        raise DataError(
            f"{place}: {rows:,} rows of {columns:,} columns or more have more cells than the limit "
            f"of {MOST_CELLS:,}; keep the columns of the photos and their labels"
        )


def _json_lines(text: str, place: str) -> Table:
    records: list[dict[str, Cell]] = []
    names: dict[str, None] = {}
    for line, words in enumerate(text.split("\n"), 1):
        if not words.strip():
            continue
        record = parse_json(words, f"{place}: line {line:,}", DataError, constants=True)
        if not isinstance(record, dict):
            raise DataError(f'{place}: line {line:,} is no object such as {{"file_name": ...}}')
        records.append({name: _cell(value) for name, value in record.items()})
        names |= dict.fromkeys(record)
        _bound(len(records), len(names), place)
    columns = _columns(list(names), place)
    rows = [tuple(record.get(name, "") for name in columns) for record in records]
    return Table(place, columns, rows)


def _cell(value: object) -> Cell:
    """Return a value of JSON or Parquet as text, or as several texts."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list | tuple):
        return tuple(map(_word, value))
    return _word(value)


def _word(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):  # pandas' missing value
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _parquet(data: bytes, place: str) -> Table:
    """Return a Parquet table, which pyarrow unpacks in a process of its own.

    pyarrow 26 ends its process on some damaged files, by an exception in C++ that nothing catches.
    """
    require("pyarrow")
    try:
        worker = Worker(
            f"{__name__}:load_parquet", data, {"place": place}, place, "pyarrow", TABLE_MEMORY
        )
        try:
            columns, *rows = json.loads(worker.ask(b""))
        finally:
            worker.close()
    except ArtifactError as error:
        why = str(error).removeprefix(f"{place}: ").partition(";")[0]
        raise DataError(f"{place}: damaged Parquet file ({why}); write it again") from None
    once: dict[Cell, Cell] = {}  # a text that many rows share is held once
    cells = (tuple(tuple(c) if isinstance(c, list) else c for c in row) for row in rows)
    return Table(
        place, tuple(columns), [tuple(once.setdefault(one, one) for one in row) for row in cells]
    )


def load_parquet(
    data: bytes, limit: Callable[[], None], place: str
) -> tuple[dict[str, object], Callable[[bytes], bytes]]:
    """Unpack a Parquet table in a process of :mod:`mobilenetv2.worker`.

    Returns:
        (nothing, a function that returns the columns and the rows as JSON).
    """
    require("pyarrow.parquet")
    limit()
    table = unpacked_parquet(data, place)
    return {}, lambda _: json.dumps([table.columns, *table.rows]).encode()


def unpacked_parquet(data: bytes, place: str) -> Table:
    """Return a Parquet table that pyarrow unpacks in this process.

    Raises:
        DataError: it is damaged or too large, or its photos are inside.
    """
    parquet, arrow = require("pyarrow.parquet"), require("pyarrow")
    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        about, schema = file.metadata, file.schema_arrow
        plain = [field.name for field in schema if _is_plain(field.type, arrow)]
        columns = _columns(plain, place)
        _bound(about.num_rows, len(columns), place)
        if photos := [
            name for name in schema.names if _holds_files(schema.field(name).type, arrow)
        ]:
            raise DataError(
                f"{place}: its column {photos[0]!r} holds the photos themselves, which are not "
                "read; save each to a file and name the files in the table"
            )
        rows = _parquet_rows(parquet, data, plain, about, place)
    except (arrow.ArrowException, OSError, ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{place}: damaged Parquet file ({first_line(error)})") from None
    return Table(place, columns, rows)


def _parquet_rows(
    parquet: Any, data: bytes, names: Sequence[str], about: Any, place: str
) -> list[tuple[Cell, ...]]:
    """Return the rows of some columns, unpacked in small parts, each distinct text once.

    A text that many rows share is stored once and unpacks to any size, so that such columns are
    read as they are stored, and their texts are counted before they are made.
    """
    wanted, parts = set(names), list[Any]()
    for group in range(about.num_row_groups):
        chunks = map(about.row_group(group).column, range(about.num_columns))
        parts += [one for one in chunks if one.path_in_schema.partition(".")[0] in wanted]
    if sum(part.num_values for part in parts) > MOST_CELLS:  # lists have several for a row
        raise DataError(f"{place}: has more values than the limit of {MOST_CELLS:,}")
    stored = [part.path_in_schema for part in parts if part.physical_type == "BYTE_ARRAY"]
    file = parquet.ParquetFile(io.BytesIO(data), read_dictionary=sorted(set(stored)))
    _bound_unpacked(sum(part.total_uncompressed_size for part in parts), place)
    rows: list[tuple[Cell, ...]] = []
    once: dict[Cell, Cell] = {}
    unpacked = 0
    for batch in file.iter_batches(BATCH, columns=list(names)):
        unpacked += sum(map(_size, batch.columns))
        _bound_unpacked(unpacked, place)
        cells = [map(_cell, column.to_pylist()) for column in batch.columns]
        rows += [
            tuple(once.setdefault(one, one) for one in row) for row in zip(*cells, strict=True)
        ]
    return rows


def _bound_unpacked(size: int, place: str) -> None:
    if size > MOST_BYTES:
        raise DataError(
            f"{place}: unpacked, it has {size:,} bytes or more, and the limit is {MOST_BYTES:,}"
        )


def _size(column: Any) -> int:
    """Return the bytes of a column's values when they are unpacked."""
    types, compute = require("pyarrow").types, require("pyarrow.compute")
    while types.is_list(column.type) or types.is_large_list(column.type):
        column = column.flatten()
    if not types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = compute.binary_length(column.dictionary.cast("string"))
    return int(compute.sum(lengths.take(column.indices)).as_py() or 0)


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
