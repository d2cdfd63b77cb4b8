"""JSON and TOML that this process did not write, bounded before anything is built from it.

A file's size is bounded before it is read, and the number of its values before it is parsed. Depth,
lengths of keys and numbers, repeated keys and numbers that are none are errors of the class that
the caller gives, and so is a document that is too deep for the interpreter or too large for the
memory.
"""

import errno
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.files import read_file
from mobilenetv2.text import first_line

LARGEST_JSON = 16 * 1024**2
"""Largest JSON document in bytes; a config with 100,000 class names has about 3 million."""
LARGEST_RECORD = 1024**2
"""Largest record of a download or an export, in bytes; one has a few hundred."""
LARGEST_TOML = 256 * 1024
"""Largest TOML document in bytes; a recipe has about two thousand."""
MOST_VALUES = 1_000_000
"""Largest number of commas and opening brackets, which bounds the number of values."""
MOST_POINTS = 1_000
"""Largest number of points in TOML: the time for a dotted key grows with their square."""
DEEPEST = 100
"""Largest number of tables and lists within one another; a Keras model has about 20."""
LONGEST_KEY = 1024
"""Largest number of characters of a key, such as the name of a tensor."""
LONGEST_NUMBER = 1_000
"""Largest number of digits of a whole number; in TOML, of its hexadecimal digits."""

Error = type[MobileNetV2Error]


def read_json(
    path: Path,
    error: Error,
    most: int = LARGEST_JSON,
    constants: bool = False,
    hook: Callable[[dict[str, Any]], Any] | None = None,
) -> Any:
    """Return the value of a JSON file; :func:`parse_json` has the arguments and errors.

    Raises:
        error: the file is larger than ``most`` bytes, or no such document.
        OSError: it is no regular file, or cannot be read.
    """
    return parse_json(_read(path, error, most), str(path), error, most, constants, hook)


def read_table(
    path: Path, error: Error, most: int = LARGEST_JSON, constants: bool = False
) -> dict[str, Any]:
    """Return the JSON object of a file; arguments and errors are those of :func:`read_json`."""
    return _table(read_json(path, error, most, constants), str(path), error)


def parse_table(text: str | bytes, where: str, error: Error) -> dict[str, Any]:
    """Return the JSON object in a text; errors are those of :func:`parse_json`."""
    return _table(parse_json(text, where, error), where, error)


def _table(found: Any, where: str, error: Error) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise error(f"{where}: not a JSON object")
    return found


def parse_json(
    text: str | bytes,
    where: str,
    error: Error,
    most: int = LARGEST_JSON,
    constants: bool = False,
    hook: Callable[[dict[str, Any]], Any] | None = None,
) -> Any:
    """Return the value of a JSON text.

    Args:
        text: the document; bytes are UTF-8, with or without a byte order mark.
        where: its name, with which messages begin; empty if the caller adds one.
        error: class of the error to raise.
        most: largest size, in bytes or characters.
        constants: True if NaN and infinity are allowed, which Python's own writer makes.
        hook: function from each object to the value that stands for it.

    Raises:
        error: it is not JSON, has a key twice, or exceeds a bound of this module.
    """

    def unique(pairs: list[tuple[str, Any]]) -> Any:
        table = dict(pairs)
        if len(table) != len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise ValueError(f"the key {twice[:60]!r} occurs twice")
        for key in table:
            _require_short(key)
        return hook(table) if hook else table

    def constant(name: str) -> float:
        if not constants:
            raise ValueError(f"{name} is no number in JSON")
        return float(name)

    def number(digits: str) -> float:
        value = float(digits)
        if math.isinf(value) and not constants:
            raise ValueError(f"the number {digits[:20]} is too large")
        return value

    def parse(text: str) -> Any:
        return json.loads(
            text, object_pairs_hook=unique, parse_constant=constant, parse_float=number,
            parse_int=_whole,
        )  # fmt: skip

    return _parsed(text, where, error, most, "JSON", parse)


def read_toml(path: Path, error: Error) -> dict[str, Any]:
    """Return the table of a TOML file; errors are those of :func:`read_json`."""
    return parse_toml(_read(path, error, LARGEST_TOML), str(path), error)


def parse_toml(text: str | bytes, where: str, error: Error) -> dict[str, Any]:
    """Return the table of a TOML text; arguments and errors are those of :func:`parse_json`."""

    def parse(text: str) -> dict[str, Any]:
        import tomllib  # few processes read TOML

        if text.count(".") > MOST_POINTS:
            raise ValueError(f"more than {MOST_POINTS:,} points")
        return tomllib.loads(text)

    found: dict[str, Any] = _parsed(text, where, error, LARGEST_TOML, "a valid TOML file", parse)
    return found


def _read(path: Path, error: Error, most: int) -> bytes:
    try:
        return read_file(path, most)
    except OSError as problem:
        if problem.errno != errno.EFBIG:
            raise
        raise error(f"{path}: larger than {most:,} bytes") from None


def _parsed(
    text: str | bytes, where: str, error: Error, most: int, kind: str,
    parse: Callable[[str], Any],
) -> Any:  # fmt: skip
    try:
        if len(text) > most:
            raise ValueError(f"larger than {most:,} bytes")
        words = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        opened = words.count("[") + words.count("{")
        if opened + words.count(",") > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values")
        found = parse(words)
        _check(found, shallow=opened <= DEEPEST and kind == "JSON")
        return found
    except MobileNetV2Error:
        raise
    except RecursionError:
        reason = f"nested more than {DEEPEST} deep"
    except MemoryError:
        reason = "too large for the memory"
    except ValueError as problem:
        reason = first_line(problem)[:200]
    raise error(f"{where + ': ' if where else ''}not {kind} ({reason})")


def _check(found: Any, shallow: bool) -> None:
    """Raise ValueError for what is nested too deeply, and for TOML's keys and numbers.

    Args:
        found: the value of the document.
        shallow: True if it cannot be too deep, and its keys and numbers were checked before.
    """
    if shallow:
        return
    layer = [one for one in (found,) if isinstance(one, dict | list)]
    for _ in range(DEEPEST):
        if not layer:
            return
        inside: list[Any] = []
        for one in layer:
            if isinstance(one, dict):
                for key in one:
                    _require_short(key)
                inside += one.values()
            else:
                inside += one
        for one in inside:
            if type(one) is int and one.bit_length() > 4 * LONGEST_NUMBER:
                raise ValueError(f"a whole number of {one.bit_length():,} bits")
        layer = [one for one in inside if isinstance(one, dict | list)]
    if layer:
        raise RecursionError


def _require_short(key: str) -> None:
    if len(key) > LONGEST_KEY:
        raise ValueError(f"a key of {len(key):,} characters; at most {LONGEST_KEY:,}")


def _whole(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(f"a whole number of {len(digits):,} digits")
    return int(digits)
