"""A file's bytes to an upright RGB image, once, for training, evaluation, serving and export.

What a picture may be and what becomes of it:

* JPEG, PNG, WebP, BMP, TIFF, AVIF, and the first frame of a GIF (or of any animation).
* EXIF orientation is applied, so a phone's photo stands upright. Colour profiles are ignored.
* Grey is repeated into three channels; palettes are looked up; CMYK, YCbCr, LAB become RGB.
* Transparent pixels show white behind them, as a page or a viewer would show them.
* 16-bit grey keeps its upper 8 bits, rounded; floating-point pictures are refused.
* Everything is bounded before memory is taken: bytes, pixels, and a smallest side.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from mobilenetv2.errors import ImageError
from mobilenetv2.files import read_file

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
"""Pillow's decoders that are tried. MPO, the JPEG with a second picture that phones write, comes
with JPEG; Pillow has no decoder of that name, and asking for it ends in a KeyError."""

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .bmp .gif .tif .tiff .avif "
    ".heic .heif .jxl .jp2 .dng .cr2 .nef .arw .raw .psd".split()
)
"""What counts as a photo in a folder. The second line cannot be read and is named in an error,
rather than passed over in silence."""

_UNREADABLE = {
    b"ftypheic": "HEIC", b"ftypheix": "HEIC", b"ftypmif1": "HEIF", b"ftyphevc": "HEIC",
    b"ftypmsf1": "HEIF", b"JXL ": "JPEG XL", b"ftypjp2": "JPEG 2000", b"ftypcrx": "Canon RAW",
}  # fmt: skip

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""EXIF orientation -> what makes it upright."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that are checked before a picture is decoded."""

    bytes: int = 100 * 1024**2
    pixels: int = 150_000_000
    """Enough for today's 108-megapixel phones; a decoded picture takes 3 bytes a pixel,
    and up to four times that for a moment where it has 16 bits or transparency."""
    side: int = 4
    """Smaller than this on a side, there is nothing to classify."""


LIMITS = Limits()


def read_photo(path: Path, limits: Limits = LIMITS) -> Image.Image:
    """Decode a photo's file; see :func:`decode`.

    Raises:
        ImageError: the file cannot be opened or decoded.
    """
    try:
        size = path.stat().st_size
        if size > limits.bytes:
            raise ImageError(f"{path}: {size:,} bytes are more than the limit of {limits.bytes:,}")
        data = read_file(path)
    except OSError as error:
        raise ImageError(f"{path}: cannot be opened ({error.strerror})") from None
    return decode(data, str(path), limits)


def decode(data: bytes, name: str, limits: Limits = LIMITS) -> Image.Image:
    """Return the upright RGB image in a file's bytes.

    Args:
        data: the whole file.
        name: how the picture is called in an error.

    Returns:
        A Pillow image of mode RGB.

    Raises:
        ImageError: not a picture, a format that is not read, damaged, or outside ``limits``.
            The message begins with ``name``.
    """
    if not data:
        raise ImageError(f"{name}: the file is empty")
    if len(data) > limits.bytes:
        raise ImageError(f"{name}: {len(data):,} bytes are more than the limit of {limits.bytes:,}")
    with _reported(name, limits, data), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return _upright_rgb(image, name, limits)


def convert(image: Image.Image, name: str, limits: Limits = LIMITS) -> Image.Image:
    """Return a Pillow image as :func:`decode` returns the one in its file.

    Raises:
        ImageError: as :func:`decode`.
    """
    with _reported(name, limits):
        return _upright_rgb(image, name, limits)


def _upright_rgb(image: Image.Image, name: str, limits: Limits) -> Image.Image:
    _check_size(image.size, name, limits)
    image.load()
    return _rgb(_upright(image), name)


@contextmanager
def _reported(name: str, limits: Limits, data: bytes = b"") -> Iterator[None]:
    """Raise whatever Pillow raises in the block as an ImageError: a context manager."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures and odd metadata; our own limits decide.
            warnings.simplefilter("ignore")
            yield
    except UnidentifiedImageError:
        raise ImageError(f"{name}: {_what_instead(data)}") from None
    except ImageError:
        raise
    except Image.DecompressionBombError:
        # Pillow's own bound came first, and holds even where the caller's limit is larger.
        bound = min(limits.pixels, 2 * (Image.MAX_IMAGE_PIXELS or limits.pixels))
        raise ImageError(f"{name}: more pixels than the limit of {bound:,}") from None
    except Exception as error:  # Pillow's decoders raise many kinds for damaged data
        reason = str(error) or type(error).__name__
        raise ImageError(f"{name}: damaged or truncated picture ({reason})") from None


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; metadata too damaged to hold one leaves the picture as it is."""
    # Not Pillow's exif_transpose: it writes all metadata anew, and fails on any odd tag in it.
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        turn = None
    return image if turn is None else image.transpose(turn)


def _check_size(size: tuple[int, int], name: str, limits: Limits) -> None:
    width, height = size
    if width * height > limits.pixels:
        raise ImageError(
            f"{name}: {width:,} x {height:,} pixels are more than the limit of {limits.pixels:,}"
        )
    if min(width, height) < limits.side:
        raise ImageError(
            f"{name}: {width} x {height} pixels are too few; "
            f"the smallest side must be {limits.side} or more"
        )


def _rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int32)
        if levels.min() < 0 or levels.max() > 65535:
            raise ImageError(f"{name}: grey levels outside 0 to 65535; save it with 8 or 16 bits")
        # PNG's one transparent level; Pillow's own conversions do not know it at 16 bits.
        levels[levels == image.info.get("transparency", -1)] = 65535
        # In place: a large picture, or a small file that claims one, is not copied three times.
        levels += 128
        levels //= 257
        return Image.fromarray(levels.astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ImageError(f"{name}: floating-point picture; save it with 8 or 16 bits")
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, picture).convert("RGB")
    return image.convert("RGB")


def _what_instead(data: bytes) -> str:
    for mark, kind in _UNREADABLE.items():
        if mark in data[:16]:
            return f"{kind} is not read; convert it to JPEG or PNG first"
    if data[:4] == b"%PDF":
        return "this is a PDF, not a picture"
    return "not a picture, or a format that is not read (JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF are)"
