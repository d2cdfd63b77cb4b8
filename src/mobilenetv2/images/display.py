"""Images for people to look at: encoded, enlarged, and on a sheet with captions."""

import base64
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

QUALITY = 85
SMALL = 96
"""Length of the longer side, in pixels, below which an image becomes PNG.

JPEG would blur the colours of such an image by 2 x 2 pixels, and is hardly smaller.
"""
CRISP = 3
"""Factor of enlargement from which on pixels stay sharp squares."""
MARGIN, GAP, UNDER = 28, 24, 12
"""Pixels around everything, between images, and between an image and its caption."""
TITLE, DETAIL = 19, 16
"""Font sizes of a caption's title and detail, in pixels."""
BLACK, GREY, WHITE = (23, 23, 23), (95, 99, 104), (255, 255, 255)
SPACING = 1.3
MOST_COLUMNS = 4
MOST_LINES = 2
"""Maximum number of lines of a title; a longer one is cut."""
NO_LETTER = "\U0010fffe"
"""Code point that Unicode never assigns, drawn as the font draws a missing letter."""
BAR = (180, 12)
"""Width and height of a legend's colour bar, in pixels."""


def jpeg(picture: NDArray, most: int = 224) -> bytes:
    """Encode an image as a JPEG file, made smaller if a side is longer than ``most``.

    Args:
        picture: uint8 (height, width, 1 or 3).
        most: maximum length of the longer side, in pixels.
    """
    image = _image(picture)
    image.thumbnail((most, most), Image.Resampling.LANCZOS)
    return _encoded(image, "JPEG", quality=QUALITY)


def png(picture: NDArray) -> bytes:
    """Encode an image as a PNG file, without loss.

    Args:
        picture: uint8 (height, width, 1 or 3).
    """
    return _encoded(_image(picture), "PNG")


def data_url(picture: NDArray, most: int = 224) -> str:
    """Return a data URL that contains the image, so that a page needs no other file.

    Args:
        picture: uint8 (height, width, 1 or 3). Below ``SMALL`` pixels it becomes a PNG file,
            otherwise a JPEG file.
        most: maximum length of the longer side, in pixels; a larger image is made smaller.
    """
    longer = max(picture.shape[:2])
    small = longer < SMALL and longer <= most
    kind, data = ("png", png(picture)) if small else ("jpeg", jpeg(picture, most))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _image(picture: NDArray) -> Image.Image:
    pixels = picture[..., 0] if picture.shape[2] == 1 else picture
    return Image.fromarray(np.ascontiguousarray(pixels))


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, optimize=True, **options)
    return buffer.getvalue()


def enlarge_picture(picture: NDArray, side: int) -> NDArray:
    """Return an image whose longer side has about ``side`` pixels.

    Args:
        picture: uint8 (height, width, 1 or 3).

    Returns:
        uint8 (height, width, 3).
    """
    factor = side / max(picture.shape[:2])
    resample = Image.Resampling.LANCZOS
    if factor >= CRISP:
        factor, resample = round(factor), Image.Resampling.NEAREST
    height, width = (max(1, round(length * factor)) for length in picture.shape[:2])
    colour = np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3)))
    return np.asarray(Image.fromarray(colour).resize((width, height), resample))


def enlarge_smoothly(values: NDArray, height: int, width: int) -> NDArray:
    """Enlarge a coarse grid of numbers to a smooth surface (bicubic) within their range.

    Args:
        values: float (rows, columns).

    Returns:
        float32 (height, width).
    """
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    large = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return np.asarray(np.clip(large, values.min(), values.max()))


@dataclass(frozen=True, slots=True)
class Tile:
    """An image and its caption."""

    picture: NDArray
    """Image as uint8 (height, width, 3)."""
    title: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Legend:
    """Meaning of colours: a text, then a bar of ``colours`` from ``low`` to ``high``."""

    text: str
    colours: NDArray
    """Colours of the bar as uint8 (n, 3)."""
    low: str
    high: str


def sheet(tiles: Sequence[Tile], legend: Legend | None = None) -> bytes:
    """Draw all tiles in rows of at most four, and return them as a PNG file.

    Args:
        tiles: at least one; images of one size.
    """
    rows = [tiles[start : start + MOST_COLUMNS] for start in range(0, len(tiles), MOST_COLUMNS)]
    return sheet_of_rows(rows, legend)


def sheet_of_rows(rows: Sequence[Sequence[Tile]], legend: Legend | None = None) -> bytes:
    """Draw rows of tiles, each from the left, and return them as a PNG file.

    Args:
        rows: at least one tile in each; images of one size.
        legend: legend below the rows. Default: none.
    """
    columns = max(map(len, rows))
    wide = max(tile.picture.shape[1] for row in rows for tile in row)
    cell = max(wide, 180)
    heights = [max(_height(tile, cell) for tile in row) for row in rows]
    width = 2 * MARGIN + columns * cell + (columns - 1) * GAP
    lines = wrapped(legend.text, DETAIL, width - 2 * MARGIN, most=4) if legend else []
    # The bar is a separate line below the text.
    below = GAP + round((len(lines) + 1) * DETAIL * SPACING) if legend else 0
    height = 2 * MARGIN + sum(heights) + (len(rows) - 1) * GAP + below
    image = Image.new("RGB", (width, height), WHITE)
    top = MARGIN
    for row, tall in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            _draw(image, tile, MARGIN + column * (cell + GAP), top, cell)
        top += tall + GAP
    if legend:
        _draw_legend(image, legend, lines, top)
    return _encoded(image, "PNG")


def legible(text: str) -> str:
    """Return the text without accents, with '?' for letters that Pillow's font does not have."""
    plain = unicodedata.normalize("NFKD", " ".join(text.split()))
    kept = [c for c in plain if unicodedata.category(c)[0] not in "MC"]
    return "".join(c if _has(c) else "?" for c in kept)


def wrapped(text: str, size: int, width: int, most: int = MOST_LINES) -> list[str]:
    """Break the text into at most ``most`` lines of ``width`` pixels; '…' marks a cut."""
    lines: list[str] = []
    words = legible(text).split()
    while words and len(lines) < most:
        count = len(words)
        if len(lines) < most - 1:
            while count > 1 and _wide(" ".join(words[:count]), size) > width:
                count -= 1
        lines.append(_cut(" ".join(words[:count]), size, width))
        words = words[count:]
    return lines


def _cut(line: str, size: int, width: int) -> str:
    if _wide(line, size) <= width:
        return line
    while line and _wide(f"{line}…", size) > width:
        line = line[:-1]
    return f"{line.rstrip()}…"


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@lru_cache(maxsize=4096)
def _has(letter: str) -> bool:
    mask = bytes(_font(DETAIL).getmask(letter))
    return letter == " " or mask != bytes(_font(DETAIL).getmask(NO_LETTER))


def _wide(text: str, size: int) -> float:
    return _font(size).getlength(text)


def _height(tile: Tile, cell: int) -> int:
    lines = len(wrapped(tile.title, TITLE, cell))
    details = len(wrapped(tile.detail, DETAIL, cell))
    return int(tile.picture.shape[0]) + UNDER + round((lines * TITLE + details * DETAIL) * SPACING)


def _draw(image: Image.Image, tile: Tile, left: int, top: int, cell: int) -> None:
    image.paste(Image.fromarray(np.ascontiguousarray(tile.picture)), (left, top))
    pen, y = ImageDraw.Draw(image), float(top + tile.picture.shape[0] + UNDER)
    for text, size, colour in ((tile.title, TITLE, BLACK), (tile.detail, DETAIL, GREY)):
        for line in wrapped(text, size, cell):
            pen.text((left, y), line, fill=colour, font=_font(size))
            y += size * SPACING


def _draw_legend(image: Image.Image, legend: Legend, lines: list[str], top: int) -> None:
    pen, y, font = ImageDraw.Draw(image), float(top), _font(DETAIL)
    for line in lines:
        pen.text((MARGIN, y), line, fill=GREY, font=font)
        y += DETAIL * SPACING
    pen.text((MARGIN, y), legend.low, fill=GREY, font=font)
    left = MARGIN + round(_wide(legend.low, DETAIL)) + 10
    strip = Image.fromarray(np.ascontiguousarray(legend.colours[None])).resize(BAR)
    image.paste(strip, (left, round(y) + 3))
    pen.text((left + BAR[0] + 10, y), legend.high, fill=GREY, font=font)
