"""How many fields a protobuf message has, counted before anything is built from it.

A parser makes an object of some hundred bytes out of a field that takes two, so a file within the
size limit could still ask for all memory. This walk looks at tags and lengths alone.
"""

from collections.abc import Mapping
from typing import Any

from mobilenetv2.errors import WeightsError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10

Schema = Mapping[int, Any]
"""Field number -> the schema of the message in it; fields that hold no message are left out."""


def require_few_fields(data: bytes, schema: Schema, most: int) -> None:
    """Raise if the message, with those inside it, has more than ``most`` fields.

    Args:
        schema: where messages lie inside messages; as deep as the walk goes.

    Raises:
        WeightsError: too many fields, or the bytes are not a protobuf message.
    """
    if _left(memoryview(data), 0, len(data), schema, most) < 0:
        raise WeightsError(f"more than {most:,} fields; not a network of this kind")


def _left(view: memoryview, place: int, end: int, schema: Schema, left: int) -> int:
    """How many of the fields are left after a message; below 0 it is not read on."""
    while place < end and left >= 0:
        left -= 1
        tag, place = _varint(view, place, end)
        kind, number = tag & 7, tag >> 3
        length = {FIXED64: 8, FIXED32: 4}.get(kind, 0)
        if kind == BYTES:
            length, place = _varint(view, place, end)
        elif kind == VARINT:
            _, place = _varint(view, place, end)
        elif kind not in (FIXED64, FIXED32):
            raise WeightsError(f"damaged: a field of kind {kind} at byte {place:,}")
        if length > end - place:
            raise WeightsError(f"damaged: truncated in field {number} at byte {place:,}")
        if kind == BYTES and number in schema:
            left = _left(view, place, place + length, schema[number], left)
        place += length
    return left


def _varint(view: memoryview, place: int, end: int) -> tuple[int, int]:
    """A number in groups of seven bits, and the place behind it."""
    value = 0
    for shift in range(LONGEST_VARINT):
        if place >= end:
            raise WeightsError(f"damaged: truncated at byte {place:,}")
        byte = view[place]
        place += 1
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, place
    raise WeightsError(f"damaged: a number without an end at byte {place:,}")
