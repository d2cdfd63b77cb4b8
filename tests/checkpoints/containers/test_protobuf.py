"""Fields are counted as a parser would find them, and nonsense is an error."""

import pytest

from mobilenetv2.checkpoints.containers.protobuf import Schema, require_few_fields
from mobilenetv2.errors import WeightsError


def varint(value: int) -> bytes:
    groups = []
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


NESTED: Schema = {7: {1: {5: {}}}}


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (b"", 0),
        (varint(8) + varint(300), 1),
        (varint(1 << 3 | 1) + bytes(8) + varint(2 << 3 | 5) + bytes(4), 2),
        (message(9, b"\xff" * 1000), 1),  # no message lies in field 9: its bytes are not looked at
        (message(7, message(1, message(5, varint(8) + b"\x01") * 10) * 3), 1 + 3 * (1 + 10 * 2)),
    ],
)
def test_the_fields_are_counted_down_to_the_innermost_message(data: bytes, fields: int) -> None:
    require_few_fields(data, NESTED, fields)
    if fields:
        with pytest.raises(WeightsError, match=f"more than {fields - 1} fields"):
            require_few_fields(data, NESTED, fields - 1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x80", "truncated at byte 1"),
        (b"\x08", "truncated"),
        (b"\xff" * 11, "a number without an end"),
        (b"\x0a\x05abc", "truncated in field 1"),
        (b"\x09abc", "truncated in field 1"),
        (b"\x0b", "a field of kind 3"),
        (message(7, b"\x0a\x02\x0a\x09"), "truncated in field 1"),  # beyond its message's end
    ],
)
def test_what_is_no_message_is_an_error(data: bytes, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        require_few_fields(data, NESTED, 100)
