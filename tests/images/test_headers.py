"""Headers that would take a decoder minutes are refused; those of real photos are not."""

import io
import struct

import pytest
from PIL import Image

from mobilenetv2.errors import ImageError
from mobilenetv2.images import headers
from mobilenetv2.images.decode import decode


def saved(kind: str, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (40, 30)).save(file, kind)
    return file.getvalue()


JPEG, GIF = saved("JPEG"), saved("GIF", "P")
FRAME = GIF.index(b",", 13 + 3 * (2 << (GIF[10] & 7)))


def segment(code: int, body: bytes) -> bytes:
    return bytes((0xFF, code)) + struct.pack(">H", len(body) + 2) + body


def jpeg(*segments: bytes) -> bytes:
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def gif(extensions: bytes) -> bytes:
    return GIF[:FRAME] + extensions + GIF[FRAME:]


TOO_LONG = {
    "exif.jpg": (jpeg(*[segment(0xE1, b"Exif\0\0" + bytes(65_000))] * 300), "16,777,216 bytes"),
    "comments.jpg": (jpeg(segment(0xFE, b"aa") * 5000), "4,096 segments"),
    "fill.jpg": (jpeg(b"\xff" * 5000), "4,096 segments"),
    "comments.gif": (gif(b"!\xfe\x02aa\0" * 5000), "4,096 blocks"),
    "comment.gif": (gif(b"!\xfe" + b"\x01a" * 5000 + b"\0"), "4,096 blocks"),
    "numbers.ppm": (b"P3\n1300 1300\n255\n" + b"1 " * (3 * 1300 * 1300), "binary"),
    "comment.pgm": (b"P5\n#" + b"a" * 100_000 + b"\n30 30\n255\n" + bytes(900), "65,536 bytes"),
    "between.pgm": (b"P5\n30 30\n" + b"#a\n" * 40_000 + b"255\n" + bytes(900), "65,536 bytes"),
    "spaces.pbm": (b"P4\n" + b" " * 100_000 + b"30 30\n" + bytes(120), "65,536 bytes"),
}


@pytest.mark.parametrize("name", TOO_LONG)
def test_a_header_without_end_is_refused_with_a_way_out(name: str) -> None:
    data, what = TOO_LONG[name]
    with pytest.raises(ImageError) as caught:
        decode(data, name)
    for part in (name, what, "save it"):
        assert part in str(caught.value)


def test_headers_of_photos_are_read() -> None:
    for data in (
        jpeg(*[segment(0xE2, b"MPF\0" + bytes(60_000))] * 100),  # 6 MB of a depth map
        gif(b"!\xfe\x02aa\0" * 100),
        b"P2 # a comment\n30 30\n255\n" + b"1 " * 900,
        b"P6\n# by a scanner\n30 30 255\n" + b"#" * 2700,
        b"P5\n300 300\n255\n" + b" " * 90_000,
        b"P4\n1000 1000\n" + b" " * 125_000,
    ):
        assert decode(data, "photo").width >= 30


@pytest.mark.parametrize("data", [JPEG, GIF, b"P5\n30 30\n255\n" + bytes(900)], ids=["j", "g", "p"])
def test_no_cut_or_changed_header_is_more_than_an_error(data: bytes) -> None:
    for at in range(200):
        headers.check(data[:at], "cut")
        headers.check(data[:at] + b"\xff" + data[at + 1 :], "changed")
