"""Decoding of a file's bytes to an upright RGB image, for training, evaluation and prediction.

* JPEG, PNG, WebP, BMP, TIFF, AVIF, and the first frame of a GIF (or of any animation) are read.
* The EXIF orientation is applied, so that a phone's photo is upright. Colour profiles are ignored.
* Grey is repeated into three channels. Palettes, CMYK, YCbCr and LAB are converted to RGB.
* Transparent pixels are shown on white, as in a page or a viewer.
* 16-bit grey keeps its upper 8 bits, rounded. Floating-point images are refused.
* Bytes, pixels and the smallest side are checked before memory is allocated.
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
"""Pillow's decoders that are tried.

MPO, the JPEG with a second image that phones write, is read by JPEG's; its own name would be a
KeyError.
"""

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .bmp .gif .tif .tiff .avif "
    ".heic .heif .jxl .jp2 .dng .cr2 .nef .arw .raw .psd".split()
)
"""Suffixes of the files in a folder that count as photos.

The formats of the second line cannot be read; such a file is an error rather than skipped in
silence.
"""

_UNREADABLE = {
    b"ftypheic": "HEIC", b"ftypheix": "HEIC", b"ftypmif1": "HEIF", b"ftyphevc": "HEIC",
    b"ftypmsf1": "HEIF", b"JXL ": "JPEG XL", b"ftypjp2": "JPEG 2000", b"ftypcrx": "Canon RAW",
}  # fmt: skip

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""Operation that makes an image upright, by EXIF orientation."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that are checked before an image is decoded."""

    bytes: int = 100 * 1024**2
    pixels: int = 150_000_000
    """Maximum number of pixels, enough for 108-megapixel phones.

    A decoded image takes 3 bytes a pixel, and for a moment up to four times that if it has 16 bits
    or transparency.
    """
    side: int = 4
    """Minimum of height and width in pixels."""


LIMITS = Limits()


def read_photo(path: Path, limits: Limits = LIMITS) -> Image.Image:
    """Read a photo and return it as an upright RGB image.

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
        name: name of the image for an error message.

    Returns:
        A Pillow image of mode RGB.

    Raises:
        ImageError: not an image, a format that is not read, damaged, or outside ``limits``. The
            message begins with ``name``.
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
            # Pillow warns of large images and odd metadata; our own limits decide.
            warnings.simplefilter("ignore")
            yield
    except UnidentifiedImageError:
        raise ImageError(f"{name}: {_reason_unreadable(data)}") from None
    except ImageError:
        raise
    except Image.DecompressionBombError:
        # Pillow's own limit comes first, even if the caller's limit is larger.
        bound = min(limits.pixels, 2 * (Image.MAX_IMAGE_PIXELS or limits.pixels))
        raise ImageError(f"{name}: more pixels than the limit of {bound:,}") from None
    except Exception as error:  # Pillow's decoders raise many kinds for damaged data
        reason = str(error) or type(error).__name__
        raise ImageError(f"{name}: damaged or truncated picture ({reason})") from None


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; an image with damaged metadata is returned unchanged."""
    # Pillow's exif_transpose rewrites all metadata, and fails on any invalid tag.
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
        # A PNG may have one transparent level, which Pillow's conversions ignore at 16 bits.
        levels[levels == image.info.get("transparency", -1)] = 65535
        # In place, so that a large image is not copied three times.
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


def _reason_unreadable(data: bytes) -> str:
    for mark, kind in _UNREADABLE.items():
        if mark in data[:16]:
            return f"{kind} is not read; convert it to JPEG or PNG first"
    if data[:4] == b"%PDF":
        return "this is a PDF, not a picture"
    return "not a picture, or a format that is not read (JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF are)"
