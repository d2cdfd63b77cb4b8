"""Grey levels of more than 8 bits, and floating-point ones, as a person would see them.

A 16-bit file may hold the 12 bits of an X-ray detector or the 8 bits of a microscope; shown by its
65,536 levels, such a picture is black. One rule says which level is white, for each file alone:

* the depth that a file declares (TIFF's bits per sample, the largest value in a PGM's header, the
  precision of JPEG 2000), if it is less than 16 bits;
* else the smallest of 8, 10, 12, 14 and 16 bits that holds the largest level;
* for floating-point numbers: 0 to 1, if all are, else 0 to 255, else the same depths.

Negative levels and levels above 65,535 have no such meaning, and are refused.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.errors import ImageError
from mobilenetv2.images.bands import bands
from mobilenetv2.images.notes import Note

DEPTHS = (8, 10, 12, 14, 16)
"""Bits of detectors, one of which an undeclared picture is taken for."""
OVERSHOOT = 0.01
"""Part of the range by which floating-point numbers may leave it: resizing sharpens edges."""
_BITS, _LARGEST = 258, 281
"""TIFF's tags BitsPerSample and MaxSampleValue."""
_SIZE_MARKER = b"\xff\x4f\xff\x51"
"""Start of a JPEG 2000 codestream; the precision of the first component is in byte 42."""


def has_levels(image: Image.Image) -> bool:
    """Return whether an image has grey levels of more than 8 bits, or floating-point ones."""
    return image.mode.startswith("I") or image.mode == "F"


def is_transparent(image: Image.Image) -> bool:
    """Return True if a pixel has the level that a PNG of 16 bits declares transparent."""
    if not (image.mode.startswith("I") and image.has_transparency_data):
        return False
    level = image.info["transparency"]
    return any((np.asarray(image.crop(box)) == level).any() for box in bands(image.size))


def eight_bits(
    image: Image.Image, name: str, declared: int | None = None, stored: int = 16
) -> tuple[Image.Image, Note | None]:
    """Return a grey image with 8 bits, and a note if its white was inferred.

    Args:
        image: mode 'I', 'I;16' (any byte order) or 'F'.
        name: name of the image for an error message.
        declared: bits that the file declares; None if it says nothing.
        stored: bits in which the file holds a level, for the note.

    Raises:
        ImageError: levels that no scale explains.
    """
    if image.mode == "F":
        return _from_floats(image, name)
    clear = image.info.get("transparency")
    # A PNG may have one transparent level, which Pillow's conversions ignore at 16 bits.
    lows, highs = zip(*(_bounds(part, clear) for part in _parts(image)), strict=True)
    low, high = min(lows), max(highs)
    if low < 0 or high > 65535:
        raise ImageError(f"{name}: grey levels outside 0 to 65535; save it with 8 or 16 bits")
    if declared is not None and high >= 2**declared:
        declared = None  # its word is wrong
    bits = _bits(high) if declared is None else declared

    def scaled(levels: NDArray) -> NDArray:
        transparent = levels == clear if clear is not None else False
        return np.where(transparent, np.uint8(255), _scaled(levels.astype(np.int32), bits))

    inferred = declared is None and bits < 16
    note = Note("depth", f"{bits} of {stored} bits") if inferred else None
    return _changed(image, scaled), note


def _parts(image: Image.Image) -> Iterator[NDArray]:
    return (np.asarray(image.crop(box)) for box in bands(image.size))


def _changed(image: Image.Image, change: Callable[[NDArray], NDArray]) -> Image.Image:
    """Return an 8-bit image, made of another one's levels band by band."""
    result = Image.new("L", image.size)
    for box in bands(image.size):
        result.paste(Image.fromarray(change(np.asarray(image.crop(box)))), box)
    return result


def _bounds(levels: NDArray, clear: object) -> tuple[int, int]:
    """Return the lowest level, and the highest that is not transparent, or 0."""
    opaque = levels != clear if clear is not None else True
    return int(levels.min()), int(levels.max(initial=0, where=np.asarray(opaque)))


def declared_bits(image: Image.Image, data: bytes) -> int | None:
    """Return the bits of a level that is white by the file's own word; None if it has none.

    Args:
        image: as Pillow opened it, before it is loaded.
        data: the whole file.
    """
    if image.format == "PPM" and image.mode.startswith("I"):
        # Pillow scales every largest value to 65,535; only that of all 16 bits says nothing.
        for tile in getattr(image, "tile", ()):
            return 16 if isinstance(tile.args, tuple) and tile.args[-1] != 65535 else None
    if image.format == "JPEG2000":
        at = data.find(_SIZE_MARKER)
        precision = (data[at + 42] & 0x7F) + 1 if 0 <= at < len(data) - 42 else 16
        return 16 if precision < 16 else None  # Pillow scales a lower precision to 16 bits
    if image.format == "TIFF" and image.mode.startswith("I"):
        tags = getattr(image, "tag_v2", {})
        bits, largest = _number(tags, _BITS), _number(tags, _LARGEST)
        if not 8 <= bits < 16 and largest == 2 ** largest.bit_length() - 1:
            # Any other largest value is that of the photo's own levels.
            bits = largest.bit_length()
        return bits if 8 <= bits < 16 else None
    return None


def _number(tags: Mapping[int, Any], tag: int) -> int:
    value = tags.get(tag, 0)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else 0


def _bits(high: int) -> int:
    return next(bits for bits in DEPTHS if high < 2**bits)


def _scaled(levels: NDArray, bits: int) -> NDArray:
    """Return levels of 0 to 2 ** bits - 1 as bytes, rounded; int32 levels are overwritten."""
    white = 2**bits - 1
    # In place, so that a large image is not copied three times.
    levels *= 255
    levels += white // 2
    levels //= white
    return np.asarray(np.minimum(levels, 255), np.uint8)


def _from_floats(image: Image.Image, name: str) -> tuple[Image.Image, Note]:
    low = float(np.min([part.min() for part in _parts(image)]))  # NaN if any is
    high = float(np.max([part.max() for part in _parts(image)]))
    for white in (1.0, 255.0, *(2.0**bits - 1 for bits in DEPTHS)):
        if high <= (1 + OVERSHOOT) * white:
            if low < -OVERSHOOT * white:
                break

            def scaled(values: NDArray, white: float = white) -> NDArray:
                return np.asarray(np.rint(np.clip(values, 0, white) * (255 / white)), np.uint8)

            return _changed(image, scaled), Note("depth", f"numbers from 0 to {white:g}")
    raise ImageError(
        f"{name}: floating-point picture with levels from {low:g} to {high:g}, which no scale "
        "explains; save it with 8 or 16 bits"
    )
