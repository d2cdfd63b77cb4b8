"""Caches of decoded photos, for the epochs after the first. What is held changes no view.

A run can so be resumed with more memory or less: what fits into it decides how fast a view is made,
never how it looks.
"""

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.data.augment import Augmentation, cut_view, generator, margins, whole_picture
from mobilenetv2.data.batches import in_parallel
from mobilenetv2.data.dataset import Photo, Split
from mobilenetv2.progress import track
from mobilenetv2.spec.network import Size
from mobilenetv2.spec.records import Preprocessing

LIMIT = 1024**3
"""Bytes of memory that are taken without being asked."""


def shrink(image: Image.Image, side: int) -> Image.Image:
    """Return an image with a shorter side of ``side`` pixels; a smaller one stays as it is."""
    scale = side / min(image.size)
    if scale >= 1:
        return image
    width, height = (max(side, round(pixels * scale)) for pixels in image.size)
    # Sharper than bilinear: what is cut out of it is resized once more.
    return image.resize((width, height), Image.Resampling.BICUBIC)


class ResizedCache:
    """Photos of a split, downscaled once and cached while they fit; for several threads at once.

    The first photos that come are held until ``limit`` bytes of pixels are reached, and stay: an
    epoch asks for each photo once, so that making room would throw out what the next one needs.
    ``side`` is the shorter one, in pixels.
    """

    def __init__(self, split: Split, side: int, limit: int = LIMIT) -> None:
        self.split, self.side, self.limit = split, side, limit
        self.bytes = 0
        self._held: dict[str, NDArray] = {}
        self._lock = threading.Lock()

    def image(self, photo: Photo) -> Image.Image:
        """Return one photo as :meth:`mobilenetv2.data.dataset.Split.image` does, but smaller."""
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


@dataclass(frozen=True, slots=True)
class ImageCache:
    """All photos of a split at a small network's size: whole batches of views are cut out of them.

    At 32 pixels what a view costs is calls of Python and Pillow, which hold the interpreter's lock,
    so that threads do not help. Each view is the one of :func:`mobilenetv2.data.augment.augment`,
    bit for bit: the same function of (seed, epoch, index).
    """

    held: NDArray
    """uint8 (photos, height + 2 margins, width + 2 margins, channels): as evaluation sees them,
    with the border that 'shifted' moves in."""
    size: Size
    how: Augmentation

    def views(self, indices: NDArray, seed: int, epoch: int) -> NDArray:
        """Return views of photos: int (batch,) -> uint8 (batch, height, width, channels)."""
        views = np.empty((len(indices), *self.size, self.held.shape[3]), np.uint8)
        for view, index in zip(views, indices, strict=True):
            random = generator(seed, epoch, int(index))
            view[...] = cut_view(self.held[index], self.how, self.size, random)
        return views


def fits_in_memory(
    photos: int, how: Augmentation, record: Preprocessing, size: Size, limit: int = LIMIT
) -> bool:
    """Return whether views can be cut out of held images, and these fit into ``limit`` bytes.

    'resized' crops come from the photo itself, at any size, and are not made here.
    """
    height, width = _held_size(how, size)
    return how.crop != "resized" and photos * height * width * record.channels <= limit


def cache_images(split: Split, how: Augmentation, record: Preprocessing, size: Size) -> ImageCache:
    """Decode every photo of a split for views of ``size``.

    Raises:
        ImageError: one cannot be read.
    """
    if how.crop == "resized":
        raise ValueError("views of a crop 'resized' are not made here: ask fits_in_memory() first")
    held = np.empty((len(split), *_held_size(how, size), record.channels), np.uint8)

    def load(index: int) -> None:
        photo = split.photos[index]
        name = split.full_name(photo)
        held[index] = whole_picture(split.image(photo), how, record, size, name)

    for _ in track(in_parallel(load, range(len(split))), "photos", len(split)):
        pass
    return ImageCache(held, size, how)


def _held_size(how: Augmentation, size: Size) -> Size:
    above, left = margins(how, size)
    return size[0] + 2 * above, size[1] + 2 * left
