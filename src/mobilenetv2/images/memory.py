"""Memory that photos take while they are read: what one needs, and what all threads share.

:data:`MOST` bounds the file, its decoder's buffers, the picture in every form that it passes
through, and its resizing. A photo that needs more is refused before it is decoded. Photos that are
read at once share the same bound: a thread waits until the others have left enough.
"""

import ctypes
import os
import re
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, TiffImagePlugin

from mobilenetv2.images.bands import BAND
from mobilenetv2.images.cut_jpeg import segments

MOST = 512 * 1024**2
"""Bytes that all photos that are being read may take together."""
LARGE_FILE = 16 * 1024**2
"""Bytes of a file from which on it is read alone."""
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
_SCAN, _SCAN_MARK = 0xDA, b"\xff\xda"
_PART = re.compile(rb"\0\0\0\x14ispe\0{4}(.{8})", re.DOTALL)
"""Box with the (width, height) of one part of a HEIC or AVIF, such as a tile."""
_BITS, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT = 258, 277, 322, 323
"""TIFF's tags."""


class Shared:
    """Bytes that threads share. A thread has one claim at a time, so that none waits for itself.

    A thread that claims again gives back what it has before it waits: whoever waits holds nothing,
    and nobody waits for ever. A claim ends with the outermost block of :meth:`work` around it.

    Args:
        most: number of bytes.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.reset()

    def reset(self) -> None:
        """Forget all claims, as a new process has to: its threads are not the old one's."""
        self._free = self.most
        self._changed = threading.Condition()
        self._own = threading.local()

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
                self._give_back()

    def claim(self, needed: int) -> None:
        """Wait until ``needed`` bytes are free, and take them instead of what the thread has."""
        needed = min(needed, self.most)
        if getattr(self._own, "bytes", 0) >= needed:
            return
        self._give_back()
        with self._changed:
            self._changed.wait_for(lambda: self._free >= needed)
            self._free -= needed
        self._own.bytes = needed

    def _give_back(self) -> None:
        held = getattr(self._own, "bytes", 0)
        if held:
            self._own.bytes = 0
            if held > LARGE_CLAIM:
                _return_freed()
            with self._changed:
                self._free += held
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


def needed(image: Image.Image, data: bytes = b"", turned: bool = False) -> int:
    """Return the most bytes that a photo takes until it is small.

    Args:
        image: as Pillow opened it; nothing is decoded.
        data: the whole file.
        turned: True if it has to be turned upright.
    """
    stored = _STORED.get(image.mode, 4)
    kept = _DECODERS.get(image.format or "", 0)
    kept += 4 if kept and image.mode == "RGBA" and image.format != "WEBP" else 0
    if image.format == "HEIF" and getattr(image, "is_animated", False):
        kept = len(image.getbands())  # pi_heif keeps the bytes of a picture that is one of several
    band = 0
    steps = [stored + kept, stored + _decoding(image, data)]
    if image.mode != "RGB" or image.has_transparency_data:  # grey levels become bytes in between
        steps.append(stored + kept + _RGB + (image.mode[0] in "IF"))
        band = _BAND
    if turned:
        steps.append(_RGB + kept + _TURNING)
    resizing = min(_RESIZING * max(image.size), _MOST_RESIZING)
    # libtiff and the decoders of WebP, AVIF and JPEG 2000 copy the file.
    files = len(data) * (1 if image.format in ("JPEG", "PNG", "BMP", "GIF", "PPM", "TGA") else 2)
    return max(steps) * _pixels(image, data) + _tile(image) + resizing + files + band


def needed_if_cut(image: Image.Image, data: bytes) -> int:
    """Return what :func:`needed` does for a JPEG that ends early, which is decoded twice."""
    pixels = image.width * image.height
    return needed(image, data, turned=True) + 4 * pixels + len(data)


def passes(image: Image.Image, data: bytes) -> int:
    """Return how many pixels a JPEG's decoder works through; 0 for other formats."""
    if image.format != "JPEG":
        return 0
    return image.width * image.height * data.count(_SCAN_MARK)


def _decoding(image: Image.Image, data: bytes) -> int:
    """Return the bytes a pixel that a decoder takes beside the picture until it is decoded."""
    bands = len(image.getbands())
    tiles = getattr(image, "tile", None)
    codec = tiles[0][0] if tiles else ""
    if image.format == "JPEG":  # all coefficients, unless one pass holds everything
        first = next((body for code, body in segments(data) if code == _SCAN), b"\0")
        whole = first[:1] == bytes([bands]) and "progressive" not in image.info
        return 0 if whole else 2 * bands
    if image.format == "HEIF":
        chroma = image.info.get("chroma", 420)  # grey has none
        each = _HEIC[420 if chroma == 420 else 444, image.info.get("bit_depth", 16) > 8]
        each = each * 3 // 2 if "A" in image.mode.upper() else each
        # The decoder is done when its bytes are copied into the picture.
        return max(each - _STORED.get(image.mode, 4), bands + 1)
    if image.format == "JPEG2000":
        return _J2K * bands + 1
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # a strip may be the whole picture
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
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0
    sides = [image.tag_v2.get(tag, 0) for tag in (_TILE_WIDTH, _TILE_HEIGHT)]
    if not all(isinstance(side, int) for side in sides):
        return 0
    return int(sides[0] * sides[1]) * max(4, _sample_bytes(image))


def _sample_bytes(image: TiffImagePlugin.TiffImageFile) -> int:
    bits = image.tag_v2.get(_BITS, (1,))
    each = max((bit for bit in (bits if isinstance(bits, tuple) else (bits,))), default=1)
    samples = image.tag_v2.get(_SAMPLES, 1)
    return -(-int(each) * int(samples) // 8)
