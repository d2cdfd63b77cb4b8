"""Bounds of a record's numbers, written beside their type: ``Annotated[float, "[0, 1)"]``."""

import dataclasses
import functools
import math
import typing
from typing import Any

from mobilenetv2.errors import MobileNetV2Error


def check_bounds(record: Any, error: type[MobileNetV2Error]) -> None:
    """Raise unless every number of a record lies within the bounds beside its type.

    Bounds are an interval, '[' and ']' with the end, '(' and ')' without it, or several choices:
    ``"0 or [1, 100]"``. None lies within all bounds; of a tuple, every item has to.

    Raises:
        error: naming the field, its value and the bounds.
    """
    for name, bounds in _bounds_of(record.__class__).items():
        value = getattr(record, name)
        numbers = value if isinstance(value, tuple) else () if value is None else (value,)
        if not all(_within(number, bounds) for number in numbers):
            finite = all(map(math.isfinite, numbers))
            must = bounds_in_words(bounds) if finite else "a finite number"
            raise error(f"{name} {value!r} must be {must}")


def bounds_in_words(bounds: str) -> str:
    """Return '[0, 1)' as 'at least 0 and below 1'."""
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
