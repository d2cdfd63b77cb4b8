"""Values of strangers' config files: of the type that belongs there, and none passed over.

A config is read through :class:`Keys`, which remembers what was read. What remains is either known
to change nothing that a network computes, or is named in a note.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mobilenetv2.errors import DialectError
from mobilenetv2.spec.network import Size
from mobilenetv2.text import quoted

LONGEST = 80
"""Maximum characters of a value in a message."""
LARGEST = 10**9
"""Largest whole number in a config: none that is used comes near."""


class Keys(Mapping[str, Any]):
    """A config file's table that remembers which of its keys were read."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Wrap the values of a file."""
        self._values = values
        self._read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self._read.add(key)
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def unread(self, meaningless: frozenset[str]) -> list[str]:
        """Return the keys with a value that were not read and may mean something.

        Args:
            meaningless: keys that change nothing that a network computes.
        """
        return [
            key
            for key, value in self._values.items()
            if value is not None and key not in self._read and key not in meaningless
        ]


def passed_over(file: str, config: Keys, meaningless: frozenset[str]) -> str:
    """Return a sentence that names the keys that nothing is known of; '' if there are none."""
    left = config.unread(meaningless)
    return f"Not used, since nothing is known of it in {file}: {quoted(left)}." if left else ""


def field(config: Mapping[str, Any], name: str, kind: type | tuple[type, ...], default: Any) -> Any:
    """Return ``config[name]``, or the default if it is absent or null.

    Raises:
        DialectError: the value has another type than ``kind``, or is a number without bounds.
    """
    value = config.get(name)
    if value is None:
        return default
    number = kind is float and isinstance(value, int) and not isinstance(value, bool)
    if not (isinstance(value, kind) or number):
        raise DialectError(
            f"config.json: {name} = {_shown(value)} is not of the type that belongs there"
        )
    if type(value) in (int, float) and not _bounded(value):
        raise DialectError(f"config.json: {name} = {_shown(value)} is not a number that is used")
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _bounded(value: float) -> bool:
    """Return False for NaN and infinity, and for whole numbers, which JSON may have of any size."""
    if isinstance(value, int):
        return abs(value) <= LARGEST
    return math.isfinite(value)


def sides(value: Any, name: str) -> Size:
    """Return (height, width) for a side or a pair in a config file.

    Raises:
        DialectError: the value is neither.
    """
    pair = [value, value] if isinstance(value, int) else value
    if isinstance(pair, Mapping):
        pair = [pair.get("height"), pair.get("width")]
    whole = isinstance(pair, list) and [type(side) for side in pair] == [int, int]
    if whole and all(map(_bounded, pair)):
        return (pair[0], pair[1])
    raise DialectError(
        f"{name} = {_shown(value)} is neither a side nor a height and a width in pixels"
    )


def numbers(value: Any, name: str) -> tuple[float, ...]:
    """Return one number for each channel.

    Raises:
        DialectError: the value is not a number or a list of numbers.
    """
    values = [value] if isinstance(value, int | float) else value
    if isinstance(values, Sequence) and all(
        type(one) in (int, float) and _bounded(one) for one in values
    ):
        return tuple(float(one) for one in values)
    raise DialectError(f"{name} = {_shown(value)} is not a list of numbers")
