"""Conversion of frozen records to and from mappings (JSON, TOML), with checks of keys and types.

Bounds of a record's numbers are written beside their type: ``Annotated[float, "[0, 1)"]``.
"""

import dataclasses
import functools
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from mobilenetv2.errors import MobileNetV2Error, SpecError
from mobilenetv2.text import encodable, nearest

Record = TypeVar("Record")
UNSTORED = types.MappingProxyType({"stored": False})
"""Metadata of a field that records have in memory only."""
STORED_IF_SET = types.MappingProxyType({"default_stored": False})
"""Metadata of a field that a mapping leaves out while it has its default.

A field that is new in a record then changes no file that was stored without it.
"""


def _stored(record: Any) -> list[dataclasses.Field[Any]]:
    """Return the fields of a record, or of its class, that a file may have."""
    return [field for field in dataclasses.fields(record) if field.metadata.get("stored", True)]


def to_mapping(record: Any) -> dict[str, Any]:
    """Return a frozen record as plain values (dicts, lists, strings, numbers ...) for JSON."""
    values = ((field, getattr(record, field.name)) for field in _stored(record))
    return {
        field.name: _plain(value)
        for field, value in values
        if field.metadata.get("default_stored", True) or value != field.default
    }


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_mapping(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def from_mapping(
    cls: type[Record],
    mapping: object,
    where: str,
    error: type[MobileNetV2Error] = SpecError,
) -> Record:
    """Build the record ``cls`` from a mapping; absent keys keep their defaults.

    Args:
        where: name of the source for messages, e.g. "spec in shoes/config.json".
        error: class of the error to raise.

    Raises:
        error: unknown key (the nearest known one is suggested), missing key, or a value of the
            wrong type; the record's own checks run as well.
    """
    if not isinstance(mapping, Mapping):
        raise error(f"{where}: expected a table of {cls.__name__}, found {shown(mapping)}")
    fields = {field.name: field for field in _stored(cls)}
    hints = _types_of(typing.cast(Any, cls))
    for key in mapping:
        if key not in fields:
            raise error(f"{where}: unknown key {key!r}; {suggestion(str(key), fields)}")
    for name, field in fields.items():
        optional = (
            field.default is not dataclasses.MISSING
            or field.default_factory is not dataclasses.MISSING
        )
        if name not in mapping and not optional:
            raise error(f"{where}: the key {name!r} is missing")
    values = {
        key: _checked(hints[key], value, f"{where}, {key}", error) for key, value in mapping.items()
    }
    try:
        return cls(**values)
    except MobileNetV2Error as problem:
        raise error(f"{where}: {problem}") from None


MOST_TEXTS = 100_000
"""Largest number of texts in a list, such as names of classes."""
MOST_RECORDS = 1_000
"""Largest number of records in a list, such as stages, and of keys in a table, such as metrics."""
LARGEST_SHOWN = 4096
"""Largest whole number in a message, in bits; Python writes none of more than 4,300 digits."""
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80


def shown(value: object) -> str:
    """Return a value from a file for a message: its ``repr``, shortened where it is long."""
    if isinstance(value, int) and value.bit_length() > LARGEST_SHOWN:
        return f"a whole number of {value.bit_length():,} bits"
    return _short.repr(value)


LONGEST_TEXT = 60
"""Characters of a text that a short ``repr`` shows."""


def short_repr(record: Any, *always: str, **shown: str) -> str:
    """Return a record as 'Name(field=value, ...)' with only the fields that are not the default.

    Args:
        always: fields that are shown even so.
        shown: fields that are shown in another way: name -> text, '' leaves it out.
    """
    parts = []
    for field in _stored(record):
        value, default = getattr(record, field.name), field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if value == default and field.name not in always:
            continue
        text = shown.get(field.name, repr(value))
        if field.name not in shown and isinstance(value, str) and len(value) > LONGEST_TEXT:
            text = f"{value[:LONGEST_TEXT]!r}..."
        parts += [f"{field.name}={text}"] if text else []
    return f"{type(record).__name__}({', '.join(parts)})"


def check_types(record: Any) -> None:
    """Raise unless all fields of a record have their declared types.

    Raises:
        SpecError: a field has another type; the message names the first one.
    """
    for name, hint in _types_of(record.__class__).items():
        _checked(hint, getattr(record, name), name, SpecError)


@functools.cache
def _types_of(kind: Any) -> dict[str, Any]:
    """Return the declared type of each field of a record's class."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def suggestion(word: str, known: typing.Iterable[str], near: typing.Iterable[str] = ()) -> str:
    """Return 'did you mean ...?' for a near miss, otherwise the list of what is known.

    Args:
        near: more names that may be meant, but are too many to list.
    """
    names = sorted(known)
    found = nearest(word, [*names, *near])
    return f"did you mean {found[0]!r}?" if found else f"known are: {', '.join(names)}"


def _checked(hint: Any, value: Any, where: str, error: type[MobileNetV2Error]) -> Any:
    if type(value) is hint and hint is not str:
        return value  # numbers mostly, and records, which have checked themselves
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _checked_union(arguments, value, where, error)
    if origin is typing.Literal:
        if value not in arguments:
            choices = ", ".join(map(repr, arguments))
            raise error(f"{where}: expected one of {choices}, found {shown(value)}")
        return value
    if origin is tuple:
        return _checked_tuple(arguments, value, where, error)
    if origin in (dict, Mapping) or hint is dict:
        if not isinstance(value, Mapping):
            raise error(f"{where}: expected a table, found {shown(value)}")
        _require_few(value, "keys", where, error)
        return {
            str(key): _checked(arguments[1], item, f"{where}, {key}", error)
            for key, item in value.items()
        }
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        if isinstance(value, typing.cast(type, hint)):
            return value
        return from_mapping(typing.cast(type, hint), value, where, error)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise error(f"{where}: expected a number, found one too large for a float") from None
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise error(f"{where}: expected {_word(hint)}, found {shown(value)}")
    return encodable(value) if isinstance(value, str) else value


def _checked_union(
    arguments: tuple[Any, ...], value: Any, where: str, error: type[MobileNetV2Error]
) -> Any:
    if value is None and type(None) in arguments:
        return None
    choices = [argument for argument in arguments if argument is not type(None)]
    for argument in choices[:-1]:
        try:
            return _checked(argument, value, where, error)
        except error:
            continue  # the last choice reports
    return _checked(choices[-1], value, where, error)


def _checked_tuple(
    arguments: tuple[Any, ...], value: Any, where: str, error: type[MobileNetV2Error]
) -> tuple[Any, ...]:
    if arguments == (int, int) and isinstance(value, int):
        value = (value, value)  # height and width: one number means a square
    if not isinstance(value, list | tuple):
        raise error(f"{where}: expected a list, found {shown(value)}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        texts = str in (arguments[0], *typing.get_args(arguments[0]))
        _require_few(value, "entries", where, error, MOST_TEXTS if texts else MOST_RECORDS)
        if arguments[0] is str and all(type(item) is str for item in value):
            return tuple(value)  # names of classes, of which there may be many
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise error(f"{where}: expected {len(arguments)} values, found {len(value)}")
    return tuple(
        _checked(argument, item, f"{where}[{index}]", error)
        for index, (argument, item) in enumerate(zip(arguments, value, strict=True))
    )


def _require_few(
    value: typing.Sized, noun: str, where: str, error: type[MobileNetV2Error],
    most: int = MOST_RECORDS,
) -> None:  # fmt: skip
    if len(value) > most:
        raise error(f"{where}: {len(value):,} {noun}; at most {most:,} are allowed")


def _word(hint: type) -> str:
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return words.get(hint, hint.__name__)


def check_bounds(record: Any, error: type[MobileNetV2Error]) -> None:
    """Raise unless all numbers of a record lie within the bounds beside their types.

    Bounds are an interval such as ``"[0, 1)"``: a square bracket includes the end, a round one
    excludes it. Several choices are joined by 'or': ``"0 or [1, 100]"``. None lies within all
    bounds. In a tuple every item is checked.

    Raises:
        error: a number lies outside; the message names the field, its value and the bounds.
    """
    for name, bounds in _bounds_of(record.__class__).items():
        value = getattr(record, name)
        numbers = value if isinstance(value, tuple) else () if value is None else (value,)
        if not all(_within(number, bounds) for number in numbers):
            finite = all(isinstance(number, int) or math.isfinite(number) for number in numbers)
            must = bounds_in_words(bounds) if finite else "a finite number"
            raise error(f"{name} {shown(value)} must be {must}")


def bounds_in_words(bounds: str) -> str:
    """Return bounds as words: '[0, 1)' becomes 'at least 0 and below 1'."""
    return " or ".join(map(_choice_in_words, bounds.split(" or ")))


@functools.cache
def _bounds_of(cls: Any) -> dict[str, str]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return {
        field.name: hints[field.name].__metadata__[0]
        for field in dataclasses.fields(cls)
        if typing.get_origin(hints[field.name]) is typing.Annotated
    }


def _within(value: float, bounds: str) -> bool:
    for choice in bounds.split(" or "):
        if choice[0] not in "[(":
            if value == float(choice):
                return True
            continue
        least, most = map(float, choice[1:-1].split(","))
        above = value >= least if choice[0] == "[" else value > least
        below = value <= most if choice[-1] == "]" else value < most
        if above and below:
            return True
    return False


def _choice_in_words(choice: str) -> str:
    if choice[0] not in "[(":
        return choice
    least, most = choice[1:-1].split(", ")
    if choice[0] + choice[-1] == "[]":
        return f"from {least} to {most}"
    above = f"at least {least}" if choice[0] == "[" else f"above {least}"
    if most == "inf":
        return above
    return f"{above}, at most {most}" if choice[-1] == "]" else f"{above} and below {most}"
