"""Pictures worked on in bands, so that no second copy of a large one is made on the way."""

from collections.abc import Iterator

from PIL import Image

BAND = 1_000_000
"""Pixels of a band, about; a smaller picture is one."""
LARGE = 16_000_000
"""Pixels from which on a picture's copies count."""

_FLIPS = (
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_180,
)


def bands(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Yield the (left, top, right, bottom) of each band of rows, from the top.

    Args:
        size: (width, height) of the picture.
    """
    width, height = size
    rows = max(1, BAND // max(1, width))
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)


def rgb(image: Image.Image) -> tuple[Image.Image, bool]:
    """Return a loaded image in RGB with white behind it, and True if a pixel is not opaque.

    Most images with an alpha channel have no such pixel. An image that is in RGB already is
    returned itself.
    """
    if image.mode == "RGB" and not image.has_transparency_data:
        return image, False
    if image.width * image.height <= BAND:
        return _converted(image)
    result, transparent = Image.new("RGB", image.size), False
    for box in bands(image.size):
        band, clear = _converted(image.crop(box))
        result.paste(band, box)
        transparent |= clear
    return result, transparent


def _converted(image: Image.Image) -> tuple[Image.Image, bool]:
    if not image.has_transparency_data:
        return image.convert("RGB"), False
    picture = image.convert("RGBA")
    if picture.getchannel("A").getextrema() == (255, 255):
        return picture.convert("RGB"), False
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, picture).convert("RGB"), True


def is_transposing(turn: Image.Transpose | None) -> bool:
    """Return True if an operation makes rows of an image's columns."""
    return turn is not None and turn not in _FLIPS


def flip(image: Image.Image, turn: Image.Transpose) -> None:
    """Flip an image in its own memory, or turn it by 180 degrees.

    Args:
        image: changed.
        turn: operation that makes it upright, and leaves its size.
    """
    if turn == Image.Transpose.FLIP_LEFT_RIGHT:
        for box in bands(image.size):
            image.paste(image.crop(box).transpose(turn), box)
        return
    # A band of the upper half changes places with its counterpart below; a middle row stays.
    half = image.height // 2
    for left, top, right, bottom in bands((image.width, half)):
        above = left, top, right, bottom
        below = left, image.height - bottom, right, image.height - top
        upper, lower = image.crop(above), image.crop(below)
        image.paste(lower.transpose(turn), above)
        image.paste(upper.transpose(turn), below)
    if image.height % 2 and turn == Image.Transpose.ROTATE_180:
        middle = 0, half, image.width, half + 1
        image.paste(image.crop(middle).transpose(turn), middle)


def turned(channels: list[Image.Image], turn: Image.Transpose) -> Image.Image:
    """Return an image of turned channels; each is replaced by its turned one, and so freed.

    Args:
        channels: channels of an RGB image, which its user has let go.
        turn: operation that makes the image upright.
    """
    for at in range(len(channels)):
        channels[at] = channels[at].transpose(turn)
    return Image.merge("RGB", channels)
