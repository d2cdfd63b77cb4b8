"""Text of answers in files: CSV and JSON Lines, and Parquet, which is made of JSON Lines."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

from mobilenetv2.documents import parse_table
from mobilenetv2.errors import MobileNetV2Error, argument, require
from mobilenetv2.text import csv_rows, json_text

Kind: TypeAlias = Literal["csv", "jsonl", "parquet"]
SUFFIXES: Mapping[str, Kind] = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
"""Suffix of a file -> how it is written."""
COLUMNS = ("image", "rank", "index", "label", "probability", "error")
"""Columns of answers. A row is one class of one photo; a photo without an answer has one row."""
AT_ONCE = 10_000
"""Rows of a group in a Parquet file."""
Row: TypeAlias = Mapping[str, Any]
"""Answer as ``to_dict`` returns it: a line of ``mobilenetv2 predict --json``."""


def kind_of(path: Path) -> Kind:
    """Return how a file is written, by its suffix.

    Raises:
        MobileNetV2Error: the suffix is none of :data:`SUFFIXES`, or a folder is there.
    """
    found = SUFFIXES.get(path.suffix.lower())
    if found is None and path.is_dir():
        raise MobileNetV2Error(
            f"{argument('output', str(path))}: a folder; name a file in it, such as answers.csv"
        )
    if found is None:
        raise MobileNetV2Error(
            f"{argument('output', str(path))}: the name ends in none of {', '.join(SUFFIXES)}"
        )
    return found


@dataclass(frozen=True, slots=True)
class Rows:
    """Text of a file of answers."""

    kind: Kind
    features: int | None = None
    """Number of features in a row; None for rows of classes."""

    def start(self) -> bytes:
        """Return what comes before the first row."""
        return _encoded(csv_rows([self.columns])) if self.kind == "csv" else b""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of a table."""
        if self.features is None:
            return COLUMNS
        return "image", "error", *(f"feature_{index}" for index in range(self.features))

    def text(self, row: Row) -> bytes:
        """Return the lines of one photo."""
        if self.kind != "csv":
            return _encoded(json_text(row, ensure_ascii=False) + "\n")
        return _encoded(csv_rows(self.cells(row)))

    def cells(self, row: Row) -> Iterator[list[object]]:
        """Yield the cells of each line of one photo, in the order of the columns."""
        error = row.get("error", "")
        if self.features is not None:
            yield [row["image"], error, *row.get("features", [])]
        elif error or not row["predictions"]:
            yield [row["image"], "", "", "", "", error]
        else:
            for rank, guess in enumerate(row["predictions"], 1):
                yield [
                    row["image"], rank, guess["index"], guess["label"], guess["probability"], ""
                ]  # fmt: skip


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def write_parquet(lines: BinaryIO, path: Path, rows: Rows) -> None:
    """Write a Parquet file of the JSON Lines of answers, a group of rows at a time.

    Columns of classes are those of the CSV file; features are one column of lists.

    Args:
        lines: file with one JSON object a line.
        path: file to write.
        rows: meaning of the lines.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    arrow, parquet = require("pyarrow"), require("pyarrow.parquet")
    if rows.features is None:
        types = arrow.string(), arrow.int32(), arrow.int32(), arrow.string(), arrow.float64()
        schema = arrow.schema([*zip(COLUMNS, (*types, arrow.string()), strict=True)])
    else:
        schema = arrow.schema(
            [("image", arrow.string()), ("error", arrow.string()),
             ("features", arrow.list_(arrow.float32()))]
        )  # fmt: skip
    with parquet.ParquetWriter(path, schema) as writer:
        group: list[dict[str, object]] = []
        for line in lines:
            group += _records(parse_table(line, str(path), MobileNetV2Error), rows)
            if len(group) >= AT_ONCE:
                writer.write_table(arrow.Table.from_pylist(group, schema))
                group = []
        writer.write_table(arrow.Table.from_pylist(group, schema))


def _records(row: Row, rows: Rows) -> Iterator[dict[str, object]]:
    """Yield the rows of one photo in a Parquet file; a cell without a value is null."""
    if rows.features is not None:
        yield {key: row.get(key) for key in ("image", "error", "features")}
        return
    for cells in rows.cells(row):
        yield {
            name: None if cell == "" and name != "label" else cell
            for name, cell in zip(COLUMNS, cells, strict=True)
        }
