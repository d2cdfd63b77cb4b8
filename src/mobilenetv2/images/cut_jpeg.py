"""JPEG files that end early, as after an interrupted copy: read, if hardly anything is missing.

Every viewer shows such a file. libjpeg fills what is missing with grey, if the file is ended for
it. How much that is follows from two decodings that differ only in what comes after the end: where
they agree, the pixels are the file's own.
"""

import io
import math
import re
from collections.abc import Iterator

from PIL import Image, ImageChops

from mobilenetv2.images.bands import bands

MOST_MISSING = 0.05
"""Largest part of the picture's blocks that may be missing at the end."""
ONE_OF = 8
"""Number of blocks from which on one may be missing, whatever its part."""
PADDING = 16
"""Least number of zeros at the end that stand for missing data."""
_END = b"\xff\xd9"
_NOISE = bytes(range(1, 251)) * 16
"""Bytes without a marker: any decoder makes something else of them than of nothing."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN = 0xDA
_MARK = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]", re.DOTALL)
"""Mark of a segment, or of the end: compressed pixels have no such bytes."""


class Incomplete(Exception):
    """Too much of a file is missing; the text says how much."""


def without_padding(data: bytes) -> bytes:
    """Return a JPEG file without zeros that stand for its end; empty if there are none.

    A copy that was interrupted may have its full length, with zeros for what did not come.
    """
    kept = data.rstrip(b"\0")
    if len(data) - len(kept) < PADDING or kept.endswith(_END):
        return b""
    return kept + b"\0"  # it may be the file's own: a byte 255 is written as 255, 0


def complete(data: bytes, padded: bool = False) -> tuple[Image.Image, str]:
    """Return the loaded picture of a JPEG file that ends early, and in words what is missing.

    The words are empty if nothing is missing: bytes after the end mark do no harm.

    The limit is :data:`MOST_MISSING` of the blocks of the picture, or one block of a small picture.
    A progressive file holds the whole picture several times, ever finer: it must have begun its
    last pass.

    Args:
        data: the file.
        padded: True if it is what :func:`without_padding` returns.

    Raises:
        Incomplete: more is missing.
        OSError: it cannot be decoded.
    """
    data = data.rstrip(b"\xff")
    image, other = _decoded(data + _END), _decoded(data + _NOISE + _END)
    found = list(segments(data))
    missing, blocks = _missing(image, other, found)
    nothing = "" if _END in data[data.rfind(b"\xff\xda") :] else "only the end mark is missing"
    if padded and nothing:  # a zero may complete a block that was cut
        nothing = "the end mark, and at most a part of the last block, are missing"
    finest = _precision(found)
    if any(finest.values()) or len(finest) < 64 * _components(found):
        raise Incomplete("whole passes are missing")
    if _is_progressive(found):
        return image, "the last pass over its details is not complete" if missing else nothing
    share = missing / blocks
    if share > MOST_MISSING and (missing > 1 or blocks < ONE_OF):
        shown = math.ceil(1000 * share) / 1000  # 5.04% is more than 5%
        raise Incomplete(f"{shown:.1%} of the picture is missing, more than {MOST_MISSING:.0%}")
    return image, f"{share:.1%} of it is missing" if missing else nothing


def _decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=("JPEG",))
    image.load()
    return image


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the code and the contents of each segment, without the compressed pixels.

    The first end mark is the picture's; what phones append, such as a film, is none of it.
    """
    at = 2
    while (found := _MARK.search(data, at)) and found[0] != _END:
        at = found.end()
        size = int.from_bytes(data[at : at + 2], "big")
        yield found[0][1], data[at + 2 : at + size]
        at += size


def _frame(segments: list[tuple[int, bytes]]) -> tuple[int, bytes]:
    return next(((code, body) for code, body in segments if code in _FRAMES), (0xC0, b""))


def _is_progressive(segments: list[tuple[int, bytes]]) -> bool:
    return _frame(segments)[0] in (0xC2, 0xC6, 0xCA, 0xCE)


def _components(segments: list[tuple[int, bytes]]) -> int:
    body = _frame(segments)[1]
    return body[5] if len(body) > 5 else 1


def _block(segments: list[tuple[int, bytes]]) -> tuple[int, int]:
    """Return (width, height) in pixels of what is coded together."""
    body, count = _frame(segments)[1], _components(segments)
    if count == 1:
        return 8, 8
    sampling = body[7 : 6 + 3 * count : 3]
    return 8 * max((one >> 4 for one in sampling), default=1), 8 * max(
        (one & 15 for one in sampling), default=1
    )


def _missing(
    one: Image.Image, other: Image.Image, segments: list[tuple[int, bytes]]
) -> tuple[int, int]:
    """Return how many blocks come after the first different pixel, and how many there are."""
    width, height = _block(segments)
    across, down = -(-one.width // width), -(-one.height // height)
    top = next((top for box in bands(one.size) if (top := _first(one, other, box)[1]) >= 0), -1)
    if top < 0:
        return 0, across * down
    # Colours are enlarged smoothly, so that a pixel or two before the first block may differ, too.
    row = min((top + 2) // height, down - 1)
    band = (0, row * height + 2, one.width, min((row + 1) * height - 2, one.height))
    left = max(0, _first(one, other, band)[0])
    return across * down - (row * across + (left + 2) // width), across * down


def _first(one: Image.Image, other: Image.Image, box: tuple[int, int, int, int]) -> tuple[int, int]:
    """Return the (left, top) of what differs within a box; -1 for both if nothing does."""
    found = ImageChops.difference(one.crop(box), other.crop(box)).getbbox(alpha_only=False)
    return (-1, -1) if found is None else (box[0] + found[0], box[1] + found[1])


def _precision(segments: list[tuple[int, bytes]]) -> dict[tuple[int, int], int]:
    """Return how many low bits each coefficient (component, frequency) still lacks."""
    lacks: dict[tuple[int, int], int] = {}
    for code, body in segments:
        if code != _SCAN or not body or len(body) < 4 + 2 * body[0]:
            continue
        first, last, bits = body[1 + 2 * body[0] : 4 + 2 * body[0]]
        for component in body[1 : 1 + 2 * body[0] : 2]:
            for frequency in range(first, min(last, 63) + 1):
                lacks[component, frequency] = bits & 15
    return lacks
