"""Headers of photos that would take a decoder minutes: refused before anything reads them.

Pillow joins a JPEG's EXIF segments one by one, walks over every comment of a JPEG, a GIF and a PNM
in Python, and reads numbers written as text the same way. A few MB of each are no photo.
"""

import re

from mobilenetv2.errors import ImageError

METADATA = 16 * 1024**2
"""Most bytes of a JPEG before its pixels; EXIF, profiles and maps of depth take a few MB."""
SEGMENTS = 4096
"""Most segments of a JPEG before its pixels, and blocks of a GIF before its first frame."""
NUMBERS = 4 * 1024**2
"""Most bytes of a PNM that is written as text."""
HEADER = 64 * 1024
"""Most bytes of a PNM before its pixels, comments among them."""
_SCAN = 0xDA
_PNG = b"\x89PNG\r\n\x1a\n"


def check(data: bytes, name: str) -> None:
    """Raise ImageError for a file whose header takes too long to read.

    Args:
        data: the whole file.
        name: name of the image for the error message.

    Raises:
        ImageError: too much comes before its pixels.
    """
    if data[:2] == b"\xff\xd8":
        _check_jpeg(data, name)
    elif data[:4] == b"GIF8":
        _check_gif(data, name)
    elif re.match(rb"P(?:[1-6fyF]|0C)", data[:3]):
        _check_pnm(data, name)


def has_late_metadata(data: bytes) -> bool:
    """Return True for a PNG with metadata behind its pixels, which may say that it is turned."""
    at, pixels = len(_PNG), False
    while data.startswith(_PNG) and at + 8 <= len(data):
        kind = data[at + 4 : at + 8]
        pixels = pixels or kind == b"IDAT"
        if pixels and kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
            return True
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return False


def _refuse(name: str, what: str) -> ImageError:
    return ImageError(f"{name}: {what}; save it again without its metadata")


def _check_jpeg(data: bytes, name: str) -> None:
    at = 2
    for _ in range(SEGMENTS):
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > len(data) or data[at + 1] == _SCAN:
            return
        if at > METADATA:
            raise _refuse(name, f"more than {METADATA:,} bytes come before its pixels")
        code = data[at + 1]
        if code == 0xFF:
            at += 1
        elif code in (0, 1) or 0xD0 <= code <= 0xD9:  # no segment: a byte, or a mark
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise _refuse(name, f"more than {SEGMENTS:,} segments come before its pixels")


def _check_gif(data: bytes, name: str) -> None:
    at = 13 + (3 * (2 << (data[10] & 7)) if len(data) > 10 and data[10] & 0x80 else 0)
    blocks = 0
    while data[at : at + 1] == b"!":
        at += 2
        while at < len(data) and data[at]:
            at += 1 + data[at]
            blocks += 1
            if blocks > SEGMENTS:
                raise _refuse(name, f"more than {SEGMENTS:,} blocks come before its first frame")
        at += 1
        blocks += 1
        if blocks > SEGMENTS:
            raise _refuse(name, f"more than {SEGMENTS:,} blocks come before its first frame")


def _check_pnm(data: bytes, name: str) -> None:
    text = data[1:2] in b"123"
    if text and len(data) > NUMBERS:
        raise ImageError(
            f"{name}: {len(data):,} bytes of numbers written as text are more than the limit of "
            f"{NUMBERS:,}; save it in the binary form of PNM, or as PNG"
        )
    head = re.sub(rb"#[^\r\n]*", b"", data[:HEADER]).split(maxsplit=4)
    if len(data) > HEADER and len(head) < (3 if data[1:2] in b"14" else 4):
        raise _refuse(name, f"more than {HEADER:,} bytes come before its pixels")
