"""Photos decoded and made smaller once, and held in memory for the epochs that follow.

A view always comes from the smaller photo, whether that was held or had to be made again: what
fits into memory decides how fast a view is made, never how it looks, so that a run can be resumed
with more memory or less.
"""

import threading

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.data.dataset import Photo, Split
from mobilenetv2.data.small import LIMIT


def shrink(image: Image.Image, side: int) -> Image.Image:
    """With a shorter side of ``side`` pixels; a photo that is smaller stays as it is."""
    scale = side / min(image.size)
    if scale >= 1:
        return image
    width, height = (max(side, round(pixels * scale)) for pixels in image.size)
    # Sharper than bilinear: what is cut out of it is resized once more.
    return image.resize((width, height), Image.Resampling.BICUBIC)


class Shrunk:
    """A split whose photos are made smaller. May be used by several threads at once.

    The first photos that come are held until ``limit`` is reached, and stay: an epoch asks for
    each photo once, so that making room would throw out what the next one needs.

    Args:
        side: pixels of the shorter side.
        limit: bytes of pixels that are held at most.
    """

    def __init__(self, split: Split, side: int, limit: int = LIMIT) -> None:
        self.split = split
        self.side = side
        self.limit = limit
        self.bytes = 0
        self._held: dict[str, NDArray] = {}
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """Photos that are."""
        return len(self._held)

    def image(self, photo: Photo) -> Image.Image:
        """One photo, as :meth:`mobilenetv2.data.dataset.Split.image` gives it, but smaller.

        Raises:
            ImageError: it cannot be read.
        """
        held = self._held.get(photo.name)
        if held is not None:
            return Image.fromarray(held)
        image = shrink(self.split.image(photo), self.side)
        pixels = np.asarray(image)
        with self._lock:  # two threads may have made the same photo: it counts once
            if photo.name not in self._held and self.bytes + pixels.nbytes <= self.limit:
                self._held[photo.name] = pixels
                self.bytes += pixels.nbytes
        return image
