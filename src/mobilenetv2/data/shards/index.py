"""The index of a set of shards: classes, and where each photo lies in which file.

It is one JSON document with a line for each shard, so that a large one is read line by line, and
each line becomes arrays at once. An index comes from elsewhere, as the shards do: it names only
files beside itself, and every number in it is checked before anything is read by it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.layout import ALL, TEST, TRAIN, VALIDATION
from mobilenetv2.data.names import is_photo
from mobilenetv2.documents import LARGEST_JSON, parse_json
from mobilenetv2.errors import DataError
from mobilenetv2.images.decode import LIMITS
from mobilenetv2.text import json_text, quoted

INDEX = "index.json"
"""Name of the index, beside the shards."""
FORMAT, VERSION = "mobilenetv2-shards", 1
SPLITS = (TRAIN, VALIDATION, TEST, ALL)
MOST_IN_SHARD = 100_000
"""Largest number of photos of a shard, which bounds a line of the index."""
MOST_PHOTOS = 100_000_000
"""Largest number of photos of an index."""
MOST_CLASSES = 100_000
LARGEST_SHARD = 2**40
LONGEST_NAME = 4096
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}\.tar")
"""Names of shards: plain ones, so that none leads out of the folder of the index."""
_COLUMNS = ("names", "offsets", "sizes", "labels", "crcs")
_FIRST_LINE = '"shards": ['


class Lines(Protocol):
    """A binary file that is read line by line."""

    def readline(self, size: int = -1, /) -> bytes:
        """Return the next line, at most ``size`` bytes of it."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A .tar file, and the photos in it in the order in which they lie there."""

    file: str
    split: str
    bytes: int
    sha256: str
    names: tuple[str, ...]
    """Names of the photos in the data that the shards were made of."""
    offsets: NDArray
    """Place of each photo's first byte in the file, int64 (photos,)."""
    sizes: NDArray
    """Bytes of each photo, int64 (photos,)."""
    labels: NDArray
    """Index of each photo's class, int32 (photos,)."""
    crcs: NDArray
    """CRC-32 of each photo's bytes, uint32 (photos,)."""

    def __len__(self) -> int:
        return len(self.names)

    def to_line(self) -> str:
        """Return the shard's line of the index."""
        return json_text(
            {
                "file": self.file, "split": self.split, "bytes": self.bytes, "sha256": self.sha256,
                "names": list(self.names),
                **{name: getattr(self, name).tolist() for name in _COLUMNS[1:]},
            },
            separators=(",", ":"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Index:
    """Classes and shards of a set of photos."""

    classes: tuple[str, ...]
    shards: tuple[Shard, ...]
    seed: int = 0
    """Seed of the order in which the photos lie in the shards."""

    def __len__(self) -> int:
        return sum(map(len, self.shards))

    def counts(self) -> dict[str, int]:
        """Return the number of photos of each split."""
        found: dict[str, int] = {}
        for shard in self.shards:
            found[shard.split] = found.get(shard.split, 0) + len(shard)
        return {name: found[name] for name in SPLITS if name in found}

    def to_lines(self) -> Iterator[str]:
        """Yield the lines of the document, each with its line feed."""
        yield first_line(self.classes, self.seed)
        for place, shard in enumerate(self.shards):
            yield shard.to_line() + (",\n" if place < len(self.shards) - 1 else "\n")
        yield "]}\n"


def first_line(classes: Sequence[str], seed: int) -> str:
    """Return the first line of an index, which the shards' lines follow."""
    facts = json_text(
        {"format": FORMAT, "version": VERSION, "seed": seed, "classes": list(classes)}
    )
    return f"{facts[:-1]}, {_FIRST_LINE}\n"


def is_index(start: bytes) -> bool:
    """Return whether the first bytes of a file are those of an index of shards."""
    return bool(re.match(rb'\s*\{\s*"format"\s*:\s*"' + FORMAT.encode() + b'"', start))


def read_index(file: Lines, where: str) -> Index:
    """Read an index line by line; one that was laid out otherwise is read as a whole.

    Args:
        file: the document.
        where: its name, for messages.

    Raises:
        DataError: it is damaged, or names what no index may name.
    """
    first = _line(file, where)
    if not first.rstrip().endswith(_FIRST_LINE.encode()):
        return _whole(first, file, where)
    head = _table(parse_json(first + b"]}", where, DataError), where)
    classes, seed = _head(head, where)
    return _index(classes, seed, _shards(file, where), where)


def read_shards(file: Lines, where: str, classes: int) -> list[Shard]:
    """Read the lines of shards that a killed run has left; the last one may be cut off.

    Raises:
        DataError: a whole line is damaged.
    """
    found = []
    while (line := _line(file, where)).endswith(b"\n"):
        found.append(_shard(parse_json(line, where, DataError), where, classes))
    return found


def _line(file: Lines, where: str) -> bytes:
    line = file.readline(LARGEST_JSON + 1)
    if len(line) > LARGEST_JSON:
        raise DataError(f"{where}: a line has more than {LARGEST_JSON:,} bytes; it is no index")
    return line


def _whole(first: bytes, file: Lines, where: str) -> Index:
    parts, size = [first], len(first)
    while line := _line(file, where):
        parts.append(line)
        size += len(line)
        if size > LARGEST_JSON:
            raise DataError(
                f"{where}: has more than {LARGEST_JSON:,} bytes and not one line for each shard; "
                "make it anew with 'mobilenetv2 data shard'"
            )
    table = _table(parse_json(b"".join(parts), where, DataError), where)
    classes, seed = _head(table, where)
    shards = table.get("shards")
    if not isinstance(shards, list):
        raise DataError(f"{where}: has no list of shards")
    return _index(classes, seed, shards, where)


def _shards(file: Lines, where: str) -> Iterator[Any]:
    """Yield the values of the lines of shards, to the end of the document."""
    while True:
        line = _line(file, where).strip()
        if line == b"]}":
            return
        if not line:
            raise DataError(f"{where}: ends too early; fetch it again, or make the shards anew")
        yield parse_json(line.removesuffix(b","), where, DataError)


def _head(table: dict[str, Any], where: str) -> tuple[tuple[str, ...], int]:
    """Return the classes and the seed."""
    if table.get("format") != FORMAT:
        raise DataError(f"{where}: no index of shards (its format is {table.get('format')!r})")
    if table.get("version") != VERSION:
        raise DataError(
            f"{where}: version {table.get('version')!r} of the format, and {VERSION} is read here"
        )
    classes, seed = table.get("classes"), table.get("seed", 0)
    if not isinstance(classes, list) or not 0 < len(classes) <= MOST_CLASSES:
        raise DataError(f"{where}: has no list of classes")
    if not all(isinstance(name, str) and _is_name(name) for name in classes):
        raise DataError(f"{where}: a class is no name")
    if len(set(classes)) < len(classes):
        raise DataError(f"{where}: has a class twice")
    if not _is_number(seed, 2**63):
        raise DataError(f"{where}: seed {seed!r} is no number")
    return tuple(classes), seed


def _index(classes: tuple[str, ...], seed: int, values: Iterable[Any], where: str) -> Index:
    shards: list[Shard] = []
    photos = 0
    for value in values:
        shards.append(_shard(value, where, len(classes)))
        photos += len(shards[-1])
        if photos > MOST_PHOTOS:
            raise DataError(f"{where}: has more photos than the limit of {MOST_PHOTOS:,}")
    if not photos:
        raise DataError(f"{where}: has no photos")
    files = [shard.file for shard in shards]
    if twice := _first_twice(files):
        raise DataError(f"{where}: names the shard {twice!r} twice")
    if twice := _first_twice(chain.from_iterable(shard.names for shard in shards)):
        raise DataError(f"{where}: names the photo {twice[:200]!r} twice")
    return Index(classes, tuple(shards), seed)


def _first_twice(names: Iterable[str]) -> str:
    seen = set[str]()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""


def _shard(value: Any, where: str, classes: int) -> Shard:
    """Return a shard of its value in JSON.

    Raises:
        DataError: a key is missing, or a value is impossible.
    """
    table = _table(value, where)
    file, split, sha256 = table.get("file"), table.get("split"), table.get("sha256")
    if not isinstance(file, str) or not _FILE.fullmatch(file):
        raise DataError(
            f"{where}: {str(file)[:200]!r} is no name of a shard beside the index, such as "
            "train-000000.tar"
        )
    where = f"{where}: {file}"
    if split not in SPLITS:
        raise DataError(f"{where}: its split {str(split)[:60]!r} is none of {quoted(SPLITS)}")
    size = table.get("bytes")
    if not _is_number(size, LARGEST_SHARD):
        raise DataError(f"{where}: bytes is no size of a file")
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise DataError(f"{where}: has no SHA-256")
    columns: list[Any] = [table.get(name) for name in _COLUMNS]
    if not all(isinstance(column, list) for column in columns):
        raise DataError(f"{where}: lacks one of {', '.join(_COLUMNS)}")
    names, *numbers = columns
    if len({len(column) for column in columns}) != 1 or not 0 < len(names) <= MOST_IN_SHARD:
        raise DataError(
            f"{where}: {', '.join(_COLUMNS)} have different lengths, or none of 1 to "
            f"{MOST_IN_SHARD:,}"
        )
    for name in names:
        if not isinstance(name, str) or not _is_path(name):
            raise DataError(f"{where}: {str(name)[:200]!r} is no name of a photo")
    bounds = (LARGEST_SHARD, LIMITS.bytes + 1, classes, 2**32)
    for column, most, title in zip(numbers, bounds, _COLUMNS[1:], strict=True):
        if not all(_is_number(number, most) for number in column):
            raise DataError(f"{where}: {title} holds a value that is none below {most:,}")
    offsets, sizes = (np.array(column, np.int64) for column in numbers[:2])
    if (offsets + sizes > size).any():
        raise DataError(f"{where}: a photo would lie behind the end of the file")
    return Shard(
        file, split, size, sha256, tuple(names), offsets, sizes,
        np.array(numbers[2], np.int32), np.array(numbers[3], np.uint32),
    )  # fmt: skip


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{where}: not a JSON object")
    return value


def _is_number(value: object, below: int) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < below


def _is_name(text: str) -> bool:
    """Return whether a text can be a name: not empty, of bounded length, and no odd bytes."""
    return 0 < len(text) <= LONGEST_NAME and "\0" not in text and _is_unicode(text)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a pair
        return False
    return True


def _is_path(name: str) -> bool:
    """Return whether a text is the name of a photo below a folder, and leads nowhere else."""
    parts = name.split("/")
    return _is_name(name) and is_photo(name) and not {"", ".", ".."} & {*parts}
