"""Labels and sizes that training checkpoints keep beside the state dict.

:mod:`~mobilenetv2.checkpoints.containers.pytorch` finds them: as lists of [key, plain value], where
a table is ``{"pairs": [[key, value], ...]}``.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from mobilenetv2.checkpoints.labels import labels_of
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.network import LARGEST_SIZE, SMALLEST_SIZE, Size
from mobilenetv2.spec.records import Labels


def labels_beside(found: Iterable[Sequence[Any]], classes: int | None) -> tuple[Labels | None, str]:
    """Return the first labels that fit, or None and a sentence that says why none does.

    Args:
        found: pairs of a key and its value.
        classes: number of outputs; None if there is no head to compare with.
    """
    problems = []
    for key, value in found:
        names = _names(value)
        if isinstance(names, str):
            problems.append(f"{key} {names}")
        elif names is not None and classes is not None and len(names) != classes:
            problems.append(f"{key} names {len(names)} classes, and there are {classes} outputs")
        elif names is not None:
            try:
                return labels_of(names), ""
            except DialectError as error:  # a name occurs twice
                problems.append(f"{key} has {error}")
    told = "; ".join(problems[:2])
    return None, f"Labels in it are not used: {told}." if told else ""


def size_beside(found: Iterable[Sequence[Any]]) -> Size | None:
    """Return the first input size, as (height, width), or None."""
    for _, value in found:
        sides = value if isinstance(value, list) else [value, value]
        if len(sides) == 3 and sides[0] in (1, 3):
            sides = sides[1:]  # timm's (channels, height, width)
        whole = all(type(side) is int and SMALLEST_SIZE <= side <= LARGEST_SIZE for side in sides)
        if len(sides) == 2 and whole:
            return (sides[0], sides[1])
    return None


def _is_index(value: Any) -> bool:
    if isinstance(value, str):
        return value.isdecimal() and len(value) < 10
    return type(value) is int and 0 <= value < 10**9


def _names(value: Any) -> tuple[str, ...] | str | None:
    """Return names in the order of the outputs, a problem in words, or None for other values."""
    if isinstance(value, dict):
        pairs = value.get("pairs", ())
        if all(isinstance(name, str) and type(index) is int for name, index in pairs):
            table = {index: name for name, index in pairs}
        elif all(isinstance(name, str) and _is_index(index) for index, name in pairs):
            table = {int(index): name for index, name in pairs}
        else:
            return None
        if len(table) != len(pairs) or set(table) != set(range(len(table))):
            return f"has gaps or doubles: its {len(pairs)} indices are not 0 to {len(pairs) - 1}"
        names = tuple(table[index] for index in range(len(table)))
    elif isinstance(value, list) and all(isinstance(name, str) for name in value):
        names = tuple(value)
    else:
        return None
    return names if all(name.strip() for name in names) else "has an empty name"
