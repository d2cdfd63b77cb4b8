"""Memory that photos take while they are read: what one needs, and what all threads share.

:data:`MOST` bounds the file, its decoder's buffers, the picture in every form that it passes
through, and its resizing. A photo that needs more is refused before it is decoded. Photos that are
read at once share the same bound: a thread waits until the others have left enough.

Resizing for a network wider than 512 pixels takes more. It is bounded by :data:`MOST`, too, and one
photo at a time takes it, beside what all photos share.
"""

import ctypes
import os
import re
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import BufferedReader
from typing import Any

from PIL import Image

from mobilenetv2.files import read_start
from mobilenetv2.images.bands import BAND
from mobilenetv2.images.cut_jpeg import segments

MOST = 512 * 1024**2
"""Bytes that all photos that are being read may take together."""
LARGE_FILE = 16 * 1024**2
"""Bytes of a file from which on a thread waits before it reads it."""
LARGE_CLAIM = 128 * 1024**2
"""Bytes of a claim from which on freed memory is returned to the system before the next."""
PASSES = 2 * 10**9
"""Most pixels that a JPEG may send through its decoder: its own, times the passes over them."""

_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
"""Bytes of a pixel in Pillow, by mode; 4 in all others."""
_DECODERS = {"WEBP": 12, "AVIF": 14}
"""Bytes a pixel that a decoder keeps as long as the picture lives.

WebP: two canvases and a copy, all of four channels. AVIF: planes of up to 16 bits, and a copy in
RGB.
"""
_HEIC = {(420, False): 6, (420, True): 9, (444, False): 10, (444, True): 16}
"""Bytes a pixel of HEIC's decoder until it is done, by chroma and by more than 8 bits.

Measured: 5.2, 8.1, 9.0 and 15.1, and at most 3/2 as much with transparency (20.2 for 15.1).
"""
_RGB = 4
_TURNING = 4
"""Bytes of the three channels of a pixel, each on its own, and of one that was freed in between."""
_J2K = 6
"""Bytes of OpenJPEG for a channel of a pixel: numbers of 32 bits, and the tile's bytes."""
_IN_PYTHON = 9
"""Bytes a pixel of Pillow's decoders that are written in Python, beside the picture."""
_RESIZING, _MOST_RESIZING = 2048, 128 * 1024**2
"""Bytes for each pixel of the longer side, and at most: a picture resized in one direction."""
_BAND = 20 * BAND
_SCAN = 0xDA
_PART = re.compile(rb"\0\0\0\x14ispe\0{4}(.{8})", re.DOTALL)
"""Box with the (width, height) of one part of a HEIC or AVIF, such as a tile."""
_BITS, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT = 258, 277, 322, 323
"""TIFF's tags."""


class Shared:
    """Bytes that threads share. A thread has one claim at a time, so that none waits for itself.

    A thread that claims again gives back what it has before it waits: whoever waits holds nothing,
    and nobody waits for ever. The one exception is a thread that has read a large file, and does
    not know yet what its picture takes: there is one at a time, so that the others go on to their
    end. A claim ends with the outermost block of :meth:`work` around it.

    Args:
        most: number of bytes.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.reset()

    def reset(self) -> None:
        """Forget all claims, as a new process has to: its threads are not the old one's."""
        self._free = self.most
        self._reading = False
        self._changed = threading.Condition()
        self._own = threading.local()
        self.beyond = threading.Lock()
        """Held by the one thread that takes more than it could claim beforehand."""

    @contextmanager
    def work(self) -> Iterator[None]:
        """Enclose the time in which a photo is in memory: a context manager."""
        outermost = not getattr(self._own, "inside", False)
        self._own.inside = True
        try:
            yield
        finally:
            if outermost:
                self._own.inside = False
                self._keep(0)

    def claim_file(self, size: int) -> None:
        """Wait until a file may be read, if it is a large one; its picture's claim is to follow.

        Outside of :meth:`work` nothing is claimed.

        Args:
            size: the file's bytes.
        """
        if size <= LARGE_FILE or not getattr(self._own, "inside", False):
            return
        size = min(size, self.most)
        self._keep(0)
        with self._changed:
            self._changed.wait_for(lambda: not self._reading and self._free >= size)
            self._reading = True
            self._free -= size
            self._own.bytes, self._own.reading = size, True

    def claim(self, needed: int) -> None:
        """Wait until ``needed`` bytes are free, and take them instead of what the thread has.

        A smaller claim than the one before gives the rest back.
        """
        needed = min(needed, self.most)
        if getattr(self._own, "bytes", 0) < needed:
            if not getattr(self._own, "reading", False):
                self._keep(0)
            with self._changed:
                more = needed - getattr(self._own, "bytes", 0)
                self._changed.wait_for(lambda: self._free >= more)
                self._free -= more
                self._own.bytes = needed
        self._keep(needed)

    def _keep(self, kept: int) -> None:
        """Give back what the thread has beyond ``kept`` bytes, and let others read large files."""
        rest = getattr(self._own, "bytes", 0) - kept
        if rest > LARGE_CLAIM:
            _return_freed()
        with self._changed:
            self._own.bytes = kept
            self._free += rest
            if getattr(self._own, "reading", False):
                self._reading = self._own.reading = False
            self._changed.notify_all()


def _return_freed() -> None:
    """Return freed memory to the system: glibc keeps some for each thread that has used it."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


SHARED = Shared()
"""Memory that all photos of this process share."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SHARED.reset)


def read_photo_file(file: BufferedReader, most: int) -> bytes:
    """Return what :func:`read_start` does of a photo's file, once there is memory for it."""
    SHARED.claim_file(min(os.fstat(file.fileno()).st_size, most))
    return read_start(file, most)


def needed(
    image: Image.Image,
    data: bytes = b"",
    turned: bool = False,
    whole: tuple[int, int] | None = None,
) -> int:
    """Return the most bytes that a photo takes until it is small.

    Args:
        image: as Pillow opened it; nothing is decoded.
        data: the whole file.
        turned: True if it has to be turned upright.
        whole: (width, height) in the file of a JPEG that is decoded smaller. Default: the image's.
    """
    stored = _STORED.get(image.mode, 4)
    kept = _DECODERS.get(image.format or "", 0)
    kept += 4 if kept and image.mode == "RGBA" and image.format != "WEBP" else 0
    if image.format == "HEIF" and getattr(image, "is_animated", False):
        kept = len(image.getbands())  # pi_heif keeps the bytes of a picture that is one of several
    band = 0
    pixels = _pixels(image, data)
    coded = whole[0] * whole[1] if whole else pixels
    decoding = -(-_decoding(image, data) * coded // pixels)
    steps = [stored + kept, stored + decoding]
    if image.mode != "RGB" or image.has_transparency_data:  # grey levels become bytes in between
        steps.append(stored + kept + _RGB + (image.mode[0] in "IF"))
        band = _BAND
    if turned:
        steps.append(_RGB + kept + _TURNING)
    # libtiff and the decoders of WebP, AVIF and JPEG 2000 copy the file.
    files = len(data) * (1 if image.format in ("JPEG", "PNG", "BMP", "GIF", "PPM", "TGA") else 2)
    return max(steps) * pixels + _tile(image) + _resizing(image) + files + band


def needed_if_cut(image: Image.Image, data: bytes, turned: bool = False) -> int:
    """Return what :func:`needed` does for a JPEG that ends early, which is decoded twice."""
    pixels = image.width * image.height
    return needed(image, data, turned) + _RGB * pixels + len(data)


def kept(image: Image.Image, data: bytes = b"") -> int:
    """Return the bytes that an RGB image takes after it was decoded until it is small.

    Args:
        image: decoded and upright.
        data: its file, which may be needed again.
    """
    return _RGB * image.width * image.height + _resizing(image) + len(data)


def needed_to_resize(image: Image.Image, size: tuple[int, int]) -> int:
    """Return the bytes that resizing an RGB image takes beside it, in one direction first.

    Args:
        image: the image.
        size: (width, height) of the resized one.
    """
    width, height = size
    return _RGB * width * (image.height + height)


def beyond(image: Image.Image, size: tuple[int, int]) -> AbstractContextManager[object]:
    """Return the context in which an image is resized: alone, if its claim did not count it all.

    Args:
        image: an RGB image, which was decoded.
        size: (width, height) of the resized one.
    """
    return SHARED.beyond if needed_to_resize(image, size) > _resizing(image) else nullcontext()


def _resizing(image: Image.Image) -> int:
    return min(_RESIZING * max(image.size), _MOST_RESIZING)


def passes(image: Image.Image, data: bytes) -> int:
    """Return how many pixels a JPEG's decoder works through; 0 for other formats."""
    if image.format != "JPEG":
        return 0
    scans = 1 if _is_one_pass(image, data) else sum(code == _SCAN for code, _ in segments(data))
    return image.width * image.height * scans


def _is_one_pass(image: Image.Image, data: bytes) -> bool:
    """Return True for a JPEG whose first pass holds everything: its decoder looks at no other."""
    first = next((body for code, body in segments(data) if code == _SCAN), b"\0")
    return first[:1] == bytes([len(image.getbands())]) and "progressive" not in image.info


def _decoding(image: Image.Image, data: bytes) -> int:
    """Return the bytes a pixel that a decoder takes beside the picture until it is decoded."""
    bands = len(image.getbands())
    tiles = getattr(image, "tile", None)
    codec = tiles[0][0] if tiles else ""
    if image.format == "JPEG":  # all coefficients, unless one pass holds everything
        return 0 if _is_one_pass(image, data) else 2 * bands
    if image.format == "HEIF":
        chroma = image.info.get("chroma", 420)  # grey has none
        each = _HEIC[420 if chroma == 420 else 444, image.info.get("bit_depth", 16) > 8]
        each = each * 3 // 2 if "A" in image.mode.upper() else each
        # The decoder is done when its bytes are copied into the picture.
        return max(each - _STORED.get(image.mode, 4), bands + 1)
    if image.format == "JPEG2000":
        return _J2K * bands + 1
    if hasattr(image, "tag_v2"):  # a TIFF, of which a strip may be the whole picture
        return 0 if codec == "raw" else max(4, _sample_bytes(image))
    return _IN_PYTHON if codec in ("ppm", "ppm_plain", "bmp_rle") else 0


def _pixels(image: Image.Image, data: bytes) -> int:
    """Return the pixels of a picture, or of its largest part in HEIC and AVIF if that has more."""
    sides = [image.size]
    if image.format in ("HEIF", "AVIF"):
        sides += [struct.unpack(">II", found[1]) for found in _PART.finditer(data)]
    return max(width * height for width, height in sides)


def _tile(image: Image.Image) -> int:
    """Return the bytes of a TIFF's tile, which may be larger than its picture."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return 0
    sides = [tags.get(tag, 0) for tag in (_TILE_WIDTH, _TILE_HEIGHT)]
    if not all(isinstance(side, int) for side in sides):
        return 0
    return int(sides[0] * sides[1]) * max(4, _sample_bytes(image))


def _sample_bytes(image: Any) -> int:
    bits = image.tag_v2.get(_BITS, (1,))
    each = max((bit for bit in (bits if isinstance(bits, tuple) else (bits,))), default=1)
    samples = image.tag_v2.get(_SAMPLES, 1)
    return -(-int(each) * int(samples) // 8)
