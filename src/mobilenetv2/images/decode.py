"""Decoding of a file's bytes to an upright RGB image, for training, evaluation and prediction.

* JPEG, PNG, WebP, BMP, TIFF, AVIF, PPM (PGM, PBM, PNM), TGA, JPEG 2000, and the first frame of a
  GIF (or of any animation) are read; HEIC with the extra ``heic``. Others are named as what they
  are.
* The EXIF orientation is applied, so that a phone's photo is upright. Colour profiles are ignored.
* Grey is repeated into three channels. Palettes, CMYK, YCbCr and LAB are converted to RGB.
* Transparent pixels are shown on white, as in a page or a viewer.
* Grey of more than 8 bits and floating-point grey become 8 bits by the rule of
  :mod:`mobilenetv2.images.levels`, with a note if it had to infer the depth.
* A JPEG whose last bytes are missing is read, with a note (:mod:`mobilenetv2.images.cut_jpeg`).
* Bytes, pixels, the smallest side and the memory that it takes (:mod:`mobilenetv2.images.memory`)
  are checked before memory is allocated.
* Where a smaller picture is enough, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size: at the
  smallest that is at least as large as the caller needs. libjpeg computes fewer pixels of each
  block then, which is several times as fast. A JPEG whose last bytes are missing is decoded whole.
"""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from PIL import Image, UnidentifiedImageError

from mobilenetv2.errors import ImageError, MissingExtra, require
from mobilenetv2.files import read_file
from mobilenetv2.images import foreign, headers, levels, memory
from mobilenetv2.images.bands import LARGE, flip, is_transposing, rgb, turned
from mobilenetv2.images.cut_jpeg import Incomplete, complete, without_padding
from mobilenetv2.images.memory import SHARED
from mobilenetv2.images.notes import Note, darkness
from mobilenetv2.text import first_line

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "PPM", "JPEG2000")
"""Pillow's decoders that are tried.

MPO, the JPEG with a second image that phones write, is read by JPEG's; its own name would be a
KeyError. TGA has no mark of its own, so that it is tried only for a file of that name.
"""
READ = "JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, HEIC, PPM, TGA, JPEG 2000"
"""Names of the formats for messages."""
_TGA_SUFFIXES = frozenset((".tga", ".icb", ".vda", ".vst"))
_TGA_END = b"TRUEVISION-XFILE.\0"

SUFFIXES = foreign.UNREAD_SUFFIXES | frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .webp .bmp .dib .gif .tif .tiff .avif .heic .heif .hif "
    ".ppm .pgm .pbm .pnm .tga .jp2 .j2k .jpx .jpf .jpc .j2c".split()
)
"""Suffixes of the files in a folder that count as photos.

Among them are formats that cannot be read; such a file is an error rather than skipped in silence.
"""

ORIENTATION = 0x0112
"""Tag of the EXIF orientation; Pillow's own table of tags takes milliseconds to import."""
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
    """Maximum number of pixels, whatever they take."""
    memory: int = memory.MOST
    """Maximum number of bytes that reading and resizing the photo takes.

    In pixels: 122 million for JPEG, PNG, BMP, TGA and uncompressed TIFF in colour, enough for
    108-megapixel phones; 64 million if its EXIF orientation makes rows of its columns; 62 million
    with transparency, CMYK or compressed TIFF; 60 million for HEIC as phones write it; 52 million
    for a progressive JPEG; 32 million for WebP (25 with transparency), 28 for AVIF (19), and 22 for
    JPEG 2000.
    """
    side: int = 4
    """Minimum of height and width in pixels."""


LIMITS = Limits()
Least: TypeAlias = Callable[[tuple[int, int]], tuple[int, int]]
"""Function from an upright picture's (width, height) to the least (width, height) that its decoded
picture must have."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Facts about a picture as it is in its file."""

    mode: str
    """Pillow's colour mode: 'RGB', 'L' (grey), 'P' (palette), 'CMYK' ..."""
    transparent: bool
    """True if a pixel is not opaque."""
    turned: bool
    """True if it is stored rotated or mirrored, by its EXIF orientation."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Upright RGB image, facts about the picture in its file, and notes on how it was read."""

    image: Image.Image
    stored: Stored
    notes: tuple[Note, ...] = ()


def read_photo(path: Path, limits: Limits = LIMITS) -> Image.Image:
    """Read a photo and return it as an upright RGB image.

    Raises:
        ImageError: the file cannot be opened or decoded.
    """
    return read_photo_noted(path, limits).image


def read_photo_noted(path: Path, limits: Limits = LIMITS, least: Least | None = None) -> Decoded:
    """Read a photo as :func:`read_photo` does, with notes on how its file was read.

    Args:
        path: the photo's file.
        limits: limits of what is read.
        least: size that is enough, as for :func:`decode`.

    Raises:
        ImageError: as :func:`read_photo`.
    """
    try:
        size = path.stat().st_size
        if size > limits.bytes:
            raise ImageError(f"{path}: {size:,} bytes are more than the limit of {limits.bytes:,}")
        with SHARED.work():
            SHARED.claim_file(size)
            return decode_noted(read_file(path, limits.bytes), str(path), limits, least)
    except (OSError, ValueError) as error:  # a ValueError for a NUL, which no path has
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        raise ImageError(f"{path}: cannot be opened ({reason})") from None


def decode(
    data: bytes, name: str, limits: Limits = LIMITS, least: Least | None = None
) -> Image.Image:
    """Return the upright RGB image in a file's bytes.

    Args:
        data: the whole file.
        name: name of the image for an error message.
        limits: limits of what is read.
        least: size that is enough, so that a JPEG may be decoded smaller. Default: its own size.

    Returns:
        A Pillow image of mode RGB.

    Raises:
        ImageError: not an image, a format that is not read, damaged, or outside ``limits``. The
            message begins with ``name``.
    """
    return decode_noted(data, name, limits, least).image


def decode_noted(
    data: bytes, name: str, limits: Limits = LIMITS, least: Least | None = None
) -> Decoded:
    """Return the image as :func:`decode` does, with notes on how its file was read.

    Raises:
        ImageError: as :func:`decode`.
    """
    if not data:
        raise ImageError(f"{name}: the file is empty")
    if len(data) > limits.bytes:
        raise ImageError(f"{name}: {len(data):,} bytes are more than the limit of {limits.bytes:,}")
    with _reported(name, limits, data), SHARED.work():
        padded = without_padding(data)
        picture = _loaded(data, name, limits, None if padded else least, cut=bool(padded))
        if picture is None:
            whole, missing = complete(padded or data, padded=bool(padded))
            note = (Note("cut", missing),) if missing else ()  # a whole one gets none
            turn = _turn(whole)
            stored = Stored(whole.mode, False, turn is not None)
            picture = _Loaded(rgb(whole)[0], turn, stored, note)
            del whole
        found = _upright(picture)
        SHARED.claim(memory.kept(found.image, data))  # gives back what the decoder took
        return found


@dataclass(slots=True)
class _Loaded:
    """RGB image as it is stored, how it has to be turned, and notes."""

    image: Image.Image
    turn: Image.Transpose | None
    stored: Stored
    notes: tuple[Note, ...] = ()


def _loaded(
    data: bytes, name: str, limits: Limits, least: Least | None, cut: bool = False
) -> _Loaded | None:
    """Return the picture in a file; None for a JPEG that ends early, for which there is memory.

    Args:
        data: the whole file.
        name: name of the image for an error message.
        limits: what it may take.
        least: size that is enough; None for its own.
        cut: True if it ends early, should it be a JPEG.
    """
    with open_picture(data, name) as image:
        _check_size(image.size, name, limits)
        if memory.passes(image, data) > memory.PASSES:
            raise ImageError(f"{name}: too many passes over its pixels; save it again")
        # A PNG's metadata may come after its pixels, and asking for it would decode them.
        early = image.format != "PNG" or "exif" in image.info
        turned = early and is_transposing(_turn(image))
        whole = image.size
        if least is not None and image.format == "JPEG":
            _reduce(image, least, turned)
        _claim(memory.needed(image, data, turned, whole), image, name, limits, turned, whole)
        if late := not early and headers.has_late_metadata(data):
            SHARED.claim(memory.needed(image, data, turned=True))
        declared = levels.declared_bits(image, data)  # loading forgets some of it
        try:
            if image.format != "JPEG" or not cut:
                image.load()
                turn = _turn(image)
                if late and is_transposing(turn):  # its memory is there, unless it takes too much
                    _claim(memory.needed(image, data, turned=True), image, name, limits, True)
                return _in_rgb(image, name, declared, turn)
        except OSError:
            if image.format != "JPEG":
                raise
        if image.size == whole:
            _claim(memory.needed_if_cut(image, data, turned), image, name, limits, turned)
            return None
    return _loaded(data, name, limits, None)  # it ends early, and how early its whole size tells


def _reduce(image: Image.Image, least: Least, turned: bool) -> None:
    """Have a JPEG decoded at the smallest of 1, 1/2, 1/4 and 1/8 that is large enough.

    Args:
        image: as Pillow opened it; its size becomes that of the decoded picture.
        least: size that is enough, for the upright picture.
        turned: True if rows become columns when it is turned upright.
    """
    width, height = least(image.size[::-1] if turned else image.size)
    image.draft(None, (height, width) if turned else (width, height))


def _claim(
    needed: int, image: Image.Image, name: str, limits: Limits, turned: bool,
    whole: tuple[int, int] | None = None,
) -> None:  # fmt: skip
    """Wait for the memory that a photo takes; raise ImageError if it is more than it may take."""
    width, height = whole or image.size
    if needed > limits.memory:
        way = "make it smaller, or save it as a plain JPEG or PNG"
        if image.format in ("JPEG", "PNG") and turned:
            # Its columns become rows: both pictures are in memory for a while.
            way = "make it smaller, or save it upright: its EXIF orientation says that it is turned"
        raise ImageError(
            f"{name}: {width:,} x {height:,} pixels of this kind take "
            f"{needed / 1e6:,.0f} MB to read, more than the limit of {limits.memory / 1e6:,.0f} "
            f"MB; {way}"
        )
    SHARED.claim(needed)


def stored_size(data: bytes, name: str) -> tuple[int, int]:
    """Return the (width, height) of the image in a file's bytes, without decoding a pixel.

    Raises:
        ImageError: as :func:`decode`, for what its header tells.
    """
    with _reported(name, LIMITS, data), open_picture(data, name) as image:
        return image.size


def open_picture(data: bytes, name: str) -> Image.Image:
    """Open the image in a file's bytes with the decoder of its format; no pixel is decoded.

    Returns:
        An image as Pillow opens it, to be used as a context.

    Raises:
        ImageError: a camera's RAW file, HEIC without the package that reads it, or a header that
            would take minutes.
        OSError, SyntaxError: neither Pillow nor pi_heif can read it.
    """
    headers.check(data, name)
    tga = foreign.suffix(name) in _TGA_SUFFIXES or data.endswith(_TGA_END)
    try:
        image = Image.open(io.BytesIO(data), formats=(*FORMATS, "TGA") if tga else FORMATS)
    except UnidentifiedImageError:
        if not foreign.is_heic(data):
            raise
        return _open_heic(data, name)
    if foreign.is_raw(image, data, name):
        raise ImageError(f"{name}: {foreign.RAW}")
    return image


def _open_heic(data: bytes, name: str) -> Image.Image:
    try:
        opened: Image.Image = require("pi_heif").HeifImageFile(io.BytesIO(data))
    except MissingExtra as error:
        raise ImageError(f"{name}: a HEIC photo; {error}, or convert it to JPEG") from None
    return opened


def convert(image: Image.Image, name: str, limits: Limits = LIMITS) -> Decoded:
    """Return a Pillow image as :func:`decode_noted` returns the one in its file.

    Raises:
        ImageError: as :func:`decode`.
    """
    with _reported(name, limits), SHARED.work():
        _check_size(image.size, name, limits)
        turn = _turn(image)
        _claim(memory.needed(image, turned=turn is not None), image, name, limits, False)
        image.load()
        found = _in_rgb(image, name, None, turn)
        return _upright(found, own=found.image is not image)


def _in_rgb(
    image: Image.Image, name: str, declared: int | None, turn: Image.Transpose | None
) -> _Loaded:
    """Return a loaded image in RGB, with its notes.

    Args:
        image: a loaded image.
        name: name of the image for an error message.
        declared: bits of its levels by its file.
        turn: operation that makes it upright.
    """
    mode, clear, depth = image.mode, False, None
    if levels.has_levels(image):
        clear = levels.is_transparent(image)
        bits = 16 if mode.startswith("I;16") or image.format == "PPM" else 32
        image, depth = levels.eight_bits(image, name, declared, bits)
    made, transparent = rgb(image)
    stored = Stored(mode, transparent or clear, turn is not None)
    return _Loaded(made, turn, stored, (depth,) if depth else ())


def _upright(found: _Loaded, own: bool = True) -> Decoded:
    """Return a picture upright, with a note if it is nearly black; ``found`` loses its image.

    Args:
        found: what was loaded.
        own: False if its image is the caller's, who may use it again.
    """
    image = found.image
    if found.turn is not None:
        del found.image  # a large one is freed while its channels are turned
        if image.width * image.height <= LARGE:
            image = image.transpose(found.turn)
        elif not own or is_transposing(found.turn):
            channels = list(image.split())
            del image
            image = turned(channels, found.turn)
        else:
            flip(image, found.turn)
    dark = darkness(image)
    return Decoded(image, found.stored, (*found.notes, dark) if dark else found.notes)


@contextmanager
def _reported(name: str, limits: Limits, data: bytes = b"") -> Iterator[None]:
    """Raise whatever Pillow raises in the block as an ImageError: a context manager."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images and odd metadata; our own limits decide.
            warnings.simplefilter("ignore")
            yield
    except UnidentifiedImageError:
        raise ImageError(f"{name}: {foreign.why_unread(data, name, READ)}") from None
    except ImageError:
        raise
    except Incomplete as error:
        raise ImageError(f"{name}: damaged or truncated picture ({error})") from None
    except Image.DecompressionBombError:
        # Pillow's own limit comes first, even if the caller's limit is larger.
        bound = min(limits.pixels, 2 * (Image.MAX_IMAGE_PIXELS or limits.pixels))
        raise ImageError(f"{name}: more pixels than the limit of {bound:,}") from None
    except Exception as error:  # Pillow's decoders raise many kinds for damaged data
        reason = str(error) or type(error).__name__
        raise ImageError(f"{name}: damaged or truncated picture ({reason})") from None


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return the operation that makes an image upright; None too if its metadata is damaged."""
    # Pillow's exif_transpose rewrites all metadata, and fails on any invalid tag. Its reader of
    # tags raises many kinds for damaged ones.
    try:
        return _TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:
        return None


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
