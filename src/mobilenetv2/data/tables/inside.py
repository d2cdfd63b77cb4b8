"""Parquet files that hold the photos themselves, as Hugging Face writes them.

A column of photos is ``image: {bytes, path}``, or one of bytes; a column of labels is one of
numbers with the names of the classes in the file's metadata (``ClassLabel``), or one of names.
pyarrow unpacks the file in a process of its own, in small parts. Photos cannot be read out of a
compressed column one by one, so that all go once into a temporary file without a name, which is
gone with the program; ``mobilenetv2 data shard`` copies them into shards, which need none.
"""

import json
import os
import shutil
import struct
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.layout import ALL, Layout
from mobilenetv2.data.names import is_photo
from mobilenetv2.data.passed_over import Ignore, PassedOver, passed_folder
from mobilenetv2.data.sources import Source
from mobilenetv2.data.tables.columns import LABELS, plain
from mobilenetv2.data.tables.lookup import split_in
from mobilenetv2.data.unpacking import LARGEST_RATIO, SMALL
from mobilenetv2.documents import parse_json
from mobilenetv2.errors import ArtifactError, DataError, ImageError, argument, require
from mobilenetv2.files import open_file
from mobilenetv2.images.decode import LIMITS
from mobilenetv2.images.memory import SHARED
from mobilenetv2.progress import track
from mobilenetv2.text import counted, escaped, first_line
from mobilenetv2.worker import Worker

PHOTOS = ("image", "img", "photo", "picture", "images", "bytes", "data", "jpg", "png")
"""Names of a column of photos, the first that is there counts."""
SUFFIX = ".parquet"
MOST_ROWS, MOST_FILES = 5_000_000, 100_000
BATCH_BYTES, MOST_IN_BATCH = 8 * 1024**2, 4096
"""Bytes of photos that are unpacked together, by their mean size, and their largest number."""
LARGEST_METADATA = 900_000
UNPACKING_MEMORY = 1024**3
_MAGIC = (
    (b"\xff\xd8", ".jpg"), (b"\x89PNG", ".png"), (b"RIFF", ".webp"), (b"GIF8", ".gif"),
    (b"BM", ".bmp"), (b"II*\0", ".tif"), (b"MM\0*", ".tif"),
)  # fmt: skip
"""First bytes of a picture, and the suffix of its kind."""


class InsideSource(Source):
    """Photos that were unpacked into a temporary file.

    Args:
        place: the data's name for messages.
        file: the temporary file.
        places: first byte and number of bytes of each photo, by name.
        passed: what is not among the names.
    """

    def __init__(
        self, place: str, file: IO[bytes], places: dict[str, tuple[int, int]], passed: PassedOver
    ) -> None:
        super().__init__(place, places, passed)
        self._file, self._places, self._lock = file, places, threading.Lock()
        weakref.finalize(self, file.close)

    def read(self, name: str) -> bytes:
        """Return a photo's bytes."""
        start, size = self._places[name]
        if size > LIMITS.bytes:
            raise ImageError(f"{self.place}/{name}: larger than {LIMITS.bytes:,} bytes")
        SHARED.claim_file(size)
        with self._lock:
            self._file.seek(start)
            return self._file.read(size)

    def size(self, name: str) -> int:
        """Return the bytes of a photo."""
        return self._places[name][1]

    def stored(self, names: Sequence[str]) -> NDArray:
        """Return the order in which the photos lie in the file, as int64 indices (names,)."""
        return np.argsort([self._places[name][0] for name in names], kind="stable")


def parquet_files(path: Path) -> list[Path]:
    """Return a Parquet file, or those of a folder that holds no photos and no other folders.

    A folder is read as far as its first photo, so that a million of them take no time.
    """
    if path.suffix.lower() == SUFFIX and path.is_file():
        return [path]
    if not path.is_dir():
        return []
    files, folders = list[Path](), list[Path]()
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if is_photo(entry.name) or len(files) > MOST_FILES:
                return []
            if entry.is_dir():
                if entry.name != "data" or folders:
                    return []
                folders.append(path / entry.name)
            elif entry.name.lower().endswith(SUFFIX):
                files.append(path / entry.name)
    if folders and not files:  # as a repository of Hugging Face has it
        return parquet_files(folders[0])
    return [] if folders else sorted(files)


def holds_photos(path: Path) -> bool:
    """Return whether a Parquet file holds photos themselves.

    Raises:
        DataError: it is damaged.
        MissingExtra: pyarrow is not installed.
        OSError: it cannot be opened.
    """
    worker = _worker(path)
    try:
        return bool(worker.about["photos"])
    finally:
        worker.close()


def open_inside(
    files: Sequence[Path], place: str, ignore: Ignore | None = None, labelled: bool = True
) -> tuple[Source, Layout]:
    """Unpack the photos of Parquet files, and return them by split and class.

    Args:
        files: the files; the split is in the name of each, if there are several.
        place: the data's name for messages.
        ignore: patterns of names that are passed over.
        labelled: False to take photos without a label, too.

    Raises:
        DataError: a file is damaged or has no labels, or the disk has not enough space.
        MissingExtra: pyarrow is not installed.
        OSError: a file cannot be opened.
    """
    made = _Unpacked(place, ignore or Ignore(), labelled)
    with ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile())
        for path in files:
            made.add(path, split_in(path.name) if len(files) > 1 else "", file)
        found = made.finish(file)
        stack.pop_all()  # it stays open
        return found


class _Unpacked:
    """Photos of several files, until all are known."""

    def __init__(self, place: str, ignore: Ignore, labelled: bool) -> None:
        self.place, self.ignore, self.labelled = place, ignore, labelled
        self.rows: list[tuple[str, str, str, str, int, int]] = []
        """Name by number, own name, split, label, first byte, bytes of each photo."""
        self.without = 0
        self.end = 0

    def add(self, path: Path, split: str, file: IO[bytes]) -> None:
        worker = _worker(path)
        try:
            about = worker.about
            if not about["photos"] or (about["label"] is None and self.labelled):
                what = "labels" if about["photos"] else "photos inside"
                raise DataError(
                    f"{escaped(path)}: has no column of {what} (its columns are "
                    f"{', '.join(about['columns'])[:500]})"
                )
            names = _class_names(about["metadata"], about["label"] or "", escaped(path))
            limit = max(SMALL, path.stat().st_size * LARGEST_RATIO)
            count = 0
            label = f"unpacking {path.name}"
            for own, value, data in track(_rows(worker, escaped(path)), label, about["rows"]):
                count += 1
                if not data or (value is None and self.labelled):
                    self.without += 1
                    continue
                limit -= len(data)
                if limit < 0 or len(data) > shutil.disk_usage(tempfile.gettempdir()).free:
                    why = "more than it should hold" if limit < 0 else "more than the disk holds"
                    raise DataError(f"{escaped(path)}: unpacks to {why}")
                file.write(data)
                title = "" if value is None else _class_of(value, names, escaped(path))
                numbered = f"{escaped(path.stem)}/{count - 1:09}{_suffix(own, data)}"
                self.rows.append((numbered, own, split or ALL, title, self.end, len(data)))
                self.end += len(data)
        except ArtifactError as error:
            raise DataError(f"{escaped(path)}: damaged Parquet file ({error})") from None
        finally:
            worker.close()

    def finish(self, file: IO[bytes]) -> tuple[Source, Layout]:
        own = [row[1] for row in self.rows]
        named = len({*own}) == len(own) and all(map(_is_name, own))
        layout, places, passed = Layout(), dict[str, tuple[int, int]](), PassedOver()
        for numbered, given, split, title, start, size in self.rows:
            name = escaped(given) if named else numbered
            if found := passed_folder(name.split("/"), self.ignore):
                passed.add(found[1], name)
                continue
            places[name] = start, size
            layout.splits.setdefault(split, {}).setdefault(title, []).append(name)
        if not places:
            raise DataError(
                f"{self.place}: has no photo with a label, or {argument('ignore')} passes over all"
            )
        if self.without:
            rows = counted(self.without, "row")
            layout.notes.append(f"{self.place}: {rows} without a photo or a label left out")
        return InsideSource(self.place, file, places, passed), layout


def _is_name(name: str) -> bool:
    parts = name.split("/")
    return (
        is_photo(name) and len(name) < 1000 and "\\" not in name and not {"", ".", ".."} & {*parts}
    )


def _suffix(name: str, data: bytes) -> str:
    if is_photo(f"x{name}"):
        return f".{name.rpartition('.')[2].lower()}"
    return next((suffix for magic, suffix in _MAGIC if data.startswith(magic)), ".jpg")


def _class_names(metadata: str, column: str, where: str) -> list[str]:
    """Return the names of the classes in Hugging Face's metadata; none if it has none."""
    if not metadata:
        return []
    found: Any = parse_json(metadata, f"{where}: its metadata", DataError)
    for key in ("info", "features", column, "names"):
        found = found.get(key) if isinstance(found, dict) else None
    names = found if isinstance(found, list) else []
    if not all(isinstance(name, str) and name for name in names):
        raise DataError(f"{where}: its metadata has a class without a name")
    return names


def _class_of(value: object, names: Sequence[str], where: str) -> str:
    if names:
        if type(value) is not int or not 0 <= value < len(names):
            raise DataError(
                f"{where}: the label {str(value)[:60]} is none of its {len(names)} classes"
            )
        return names[value]
    return str(value).strip() or "unnamed"


def _worker(path: Path) -> Worker:
    require("pyarrow")
    open_file(path).close()  # raises for a pipe, on which pyarrow would wait
    place = escaped(path)
    settings = {"place": place, "path": os.fspath(path.absolute())}
    try:
        return Worker(f"{__name__}:load_photos", b"", settings, place, "pyarrow", UNPACKING_MEMORY)
    except ArtifactError as error:
        why = str(error).removeprefix(f"{place}: ").partition(";")[0]
        raise DataError(f"{place}: damaged Parquet file ({why}); write it again") from None


def _rows(worker: Worker, where: str) -> Iterator[tuple[str, Any, bytes]]:
    """Yield the name, the label and the bytes of each row."""
    while answer := worker.ask(b""):
        (length,) = struct.unpack_from("<I", answer)
        start = 4 + length
        for name, label, size in json.loads(answer[4:start]):
            yield name, label, answer[start : start + size]
            start += size
        if start != len(answer):
            raise DataError(f"{where}: damaged Parquet file (its rows have other sizes)")


def load_photos(
    data: bytes, limit: Callable[[], None], place: str, path: str
) -> tuple[dict[str, Any], Callable[[bytes], bytes]]:
    """Unpack the photos of a Parquet file in a process of :mod:`mobilenetv2.worker`.

    Returns:
        (what the file holds, a function that returns the next rows, and nothing at the end).
    """
    parquet, arrow = require("pyarrow.parquet"), require("pyarrow")
    limit()
    try:
        # Path's class is not used: pyarrow opens the file by itself.
        file = parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20)
        schema, about = file.schema_arrow, file.metadata
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{place}: damaged Parquet file ({first_line(error)})") from None
    if about.num_rows > MOST_ROWS:
        raise DataError(f"{place}: more rows than the limit of {MOST_ROWS:,}")
    photos = next((one for one in _named(schema, PHOTOS) if _is_bytes(schema, one, arrow)), None)
    label = next((one for one in _named(schema, LABELS) if one != photos), None)
    metadata = (schema.metadata or {}).get(b"huggingface", b"")[:LARGEST_METADATA]
    facts = {
        "photos": photos, "label": label, "rows": about.num_rows,
        "columns": [str(name)[:100] for name in schema.names[:50]],
        "metadata": metadata.decode("utf-8", "replace"),
    }  # fmt: skip
    batches = _batches(file, about, photos, label) if photos else iter(())
    return facts, lambda _: next(batches, b"")


def _named(schema: Any, known: Sequence[str]) -> Iterator[str]:
    """Yield the columns that are called by known names, in their order."""
    names = {plain(name): name for name in reversed(schema.names)}
    return (names[name] for name in known if name in names)


def _is_bytes(schema: Any, name: str, arrow: Any) -> bool:
    kind, types = schema.field(name).type, arrow.types
    if types.is_struct(kind):
        inner = [field.type for field in kind if field.name == "bytes"]
        return bool(inner) and bool(types.is_binary(inner[0]) or types.is_large_binary(inner[0]))
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _batches(file: Any, about: Any, photos: str, label: str | None) -> Iterator[bytes]:
    """Yield rows: the length of a JSON list of (name, label, size), the list, and the bytes."""
    total = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
    mean = max(1, total // max(1, about.num_rows))
    size = int(min(MOST_IN_BATCH, max(1, BATCH_BYTES // mean)))
    for batch in file.iter_batches(size, columns=[photos, *([label] if label else [])]):
        rows = batch.column(photos).to_pylist()
        labels = batch.column(label).to_pylist() if label else [None] * len(rows)
        found = [row if isinstance(row, dict) else {"bytes": row} for row in rows]
        parts = [row.get("bytes") or b"" for row in found]
        names = [row.get("path") or "" for row in found]
        known = [one if isinstance(one, int | str) else None for one in labels]
        table = json.dumps(
            [
                (str(name)[:4096], one, len(part))
                for name, one, part in zip(names, known, parts, strict=True)
            ]
        ).encode()
        yield b"".join([struct.pack("<I", len(table)), table, *parts])
