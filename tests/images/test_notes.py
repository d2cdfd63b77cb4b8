"""Notes on photos: nearly black ones, and sentences for many."""

import struct
import zlib

import numpy as np
from PIL import Image

from mobilenetv2.images.decode import decode_noted
from mobilenetv2.images.notes import Note, darkness, summaries


def test_only_a_photo_without_any_light_is_nearly_black() -> None:
    pixels = np.full((300, 200, 3), 31, np.uint8)
    note = darkness(Image.fromarray(pixels))
    assert note == Note("dark", "no level above 31 of 255")
    pixels[211, 17, 1] = 32  # one pixel is enough
    assert darkness(Image.fromarray(pixels)) is None


def test_a_sentence_for_each_kind_counts_and_names_the_first() -> None:
    depth, dark = Note("depth", "12 of 16 bits"), Note("dark", "no level above 3 of 255")
    first, second = summaries([("a.png", depth), ("b.png", dark), ("c.png", depth)])
    assert "2 photos hold" in first and "first: a.png, 12 of 16 bits" in first
    assert second == "1 photo is nearly black (b.png, no level above 3 of 255)"
    assert summaries([]) == []


def test_colour_of_thirteen_bits_in_sixteen_is_noted_as_dark() -> None:
    # Pillow writes no such file: four rows of four pixels, each behind the filter 0.
    levels = np.array([[8191, 8191, 0, 4000, 8191, 1]], ">u2").repeat(4, 0)
    row = b"".join(b"\0" + bytes(one.tobytes() * 2) for one in levels)
    head = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", head), (b"IDAT", zlib.compress(row)), (b"IEND", b"")):
        check = zlib.crc32(kind + body)
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)
    assert [note.kind for note in decode_noted(data, "it").notes] == ["dark"]
