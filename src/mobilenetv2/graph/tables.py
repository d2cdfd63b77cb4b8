"""Strict reader of flatbuffers, for files that a native library then reads without any check.

A schema is a dictionary of tables, each a line of fields in the order of their slots, written as
in the formats' own schemas: ``name:type`` or ``name:type=default``, and ``-`` for a slot that must
be empty. A type is a number ('int'), a 'string', a table's name, a list of those ('[int]'), or
'union NAME', which takes two slots. Everything that a reader can reach is checked: that it lies
inside the data, aligned, and that no field is present which the schema does not have.
"""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from mobilenetv2.errors import ArtifactError

Schema = Mapping[str, str]
"""Fields of each table, by the table's name."""
Unions = Mapping[str, Mapping[int, str]]
"""Tables of each union by their numbers; 'NAME=TABLE' gives a name to one of several."""
NUMBERS = {
    name: struct.Struct(f"<{letter}")
    for name, letter in {
        "bool": "B", "byte": "b", "ubyte": "B", "short": "h", "int": "i", "uint": "I",
        "long": "q", "ulong": "Q", "float": "f", "double": "d",
    }.items()
}  # fmt: skip
"""Numbers of a schema; a bool is one byte, of which readers in C++ take every value but 0."""
WORD = 4
"""Size of an offset, of a length and of a union's table in bytes."""
MOST_PARTS = 200_000
"""Largest number of tables and strings that are read: a list may name one table many times."""
DEEPEST = 16
"""Largest depth of tables in tables."""


class TablesError(ArtifactError):
    """Data that is no flatbuffer of the schema, or holds more than the schema has."""


class Tables:
    """Reader of one flatbuffer.

    Args:
        data: bytes of the flatbuffer; more bytes may follow it.
        schema: tables of the schema.
        unions: unions of the schema.
    """

    def __init__(self, data: bytes, schema: Schema, unions: Unions) -> None:
        self.data, self.schema, self.unions = data, schema, unions
        self._left, self._characters = MOST_PARTS, 2 * len(data)

    def root(self, name: str) -> dict[str, Any]:
        """Return the table with which the flatbuffer begins.

        Every field of the schema is in it: numbers, strings as text, tables as dictionaries, lists
        of numbers as arrays that share the data's memory, other lists as lists; None for a string,
        table or list that is absent. A union is a pair of its table's name and the table.

        Raises:
            TablesError: the data is no flatbuffer of the schema.
        """
        return self._table(name, self._offset(0), DEEPEST)

    def _number(self, kind: str, at: int) -> Any:
        form = NUMBERS[kind]
        self._require(at, form.size, form.size)
        return form.unpack_from(self.data, at)[0]

    def _require(self, at: int, size: int, alignment: int) -> None:
        if at < 0 or at + size > len(self.data) or at % alignment:
            raise TablesError("a field outside the file")

    def _offset(self, at: int) -> int:
        found: int = at + self._number("uint", at)
        return found

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise TablesError("too many tables")

    def _table(self, name: str, at: int, depth: int) -> dict[str, Any]:
        self._count()
        if depth == 0:
            raise TablesError("tables in too many tables")
        slots = at - self._number("int", at)
        self._require(slots, 4, 2)
        length, size = struct.unpack_from("<HH", self.data, slots)
        self._require(slots, length, 2)
        self._require(at, size, WORD)
        if length < 4 or length % 2 or size < 4:
            raise TablesError("a table without its size")
        where = list(struct.unpack_from(f"<{length // 2 - 2}H", self.data, slots + 4))
        found: dict[str, Any] = {}

        def place(width: int) -> int:
            """Return where the next field is, or 0 for an absent one."""
            offset = where.pop(0) if where else 0
            if offset and not 4 <= offset <= size - width:
                raise TablesError("a field outside its table")
            return at + offset if offset else 0

        for field in self.schema[name].split():
            title, _, kind = field.partition(":")
            kind, _, default = kind.partition("=")
            if title == "-":
                if place(0):
                    raise TablesError(f"an unknown part of {name}")
            elif kind in NUMBERS:
                here = place(NUMBERS[kind].size)
                absent = float(default or 0) if kind in ("float", "double") else int(default or 0)
                found[title] = self._number(kind, here) if here else absent
            elif kind in self.unions:
                chosen, here = place(1), place(WORD)
                number = self._number("ubyte", chosen) if chosen else 0
                if bool(number) != bool(here) or (number and number not in self.unions[kind]):
                    raise TablesError(f"an unknown kind of {kind} ({number})")
                found[title] = None
                if here:
                    one = self.unions[kind][number]
                    called, _, table = one.partition("=")
                    read = self._table(table or called, self._offset(here), depth - 1)
                    found[title] = called, read
            else:
                here = place(WORD)
                found[title] = self._part(kind, self._offset(here), depth) if here else None
        if any(where):
            raise TablesError(f"an unknown part of {name}")
        return found

    def _part(self, kind: str, at: int, depth: int) -> Any:
        """Return a string, a list or a table."""
        if kind == "string":
            self._count()
            length = self._number("uint", at)
            self._require(at + WORD, length + 1, 1)
            self._characters -= length
            if self._characters < 0:
                raise TablesError("too many characters")
            text, end = self.data[at + WORD : at + WORD + length], self.data[at + WORD + length]
            if end:  # what reads it goes on to the zero
                raise TablesError("a text without an end")
            try:
                return text.decode("utf-8")
            except UnicodeDecodeError:
                raise TablesError("a text that is none") from None
        if not kind.startswith("["):
            return self._table(kind, at, depth - 1)
        length, item = self._number("uint", at), kind[1:-1]
        if item in NUMBERS:
            dtype = np.dtype(NUMBERS[item].format)
            self._require(at + WORD, length * dtype.itemsize, dtype.itemsize)
            return np.frombuffer(self.data, dtype, length, at + WORD)
        self._require(at + WORD, length * WORD, WORD)
        places = [at + WORD + index * WORD for index in range(min(length, self._left + 1))]
        return [self._part(item, self._offset(here), depth) for here in places]


def plain(value: Any, longest: int = 64) -> Any:
    """Return a read value for comparison: arrays as tuples.

    Raises:
        ArtifactError: an array has more than ``longest`` numbers, which none that is compared has.
    """
    if isinstance(value, np.ndarray):
        if len(value) > longest:
            raise ArtifactError(f"a list of {len(value):,} numbers")
        return tuple(value.tolist())
    if isinstance(value, dict):
        return {name: plain(one, longest) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return tuple(plain(one, longest) for one in value)
    return value
