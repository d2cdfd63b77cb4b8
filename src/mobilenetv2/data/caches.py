"""Caches of decoded photos, for the epochs after the first.

A cache changes only the speed, never a view. So a run can be resumed with more or less memory.
"""

import threading
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.data.augment import Augmentation, cut_view, generator, margins, whole_picture
from mobilenetv2.data.batches import in_parallel
from mobilenetv2.data.dataset import Photo, Split
from mobilenetv2.images.preprocess import least_size
from mobilenetv2.progress import track
from mobilenetv2.spec.network import Size
from mobilenetv2.spec.records import Preprocessing

LIMIT = 1024**3
"""Default limit of a cache, in bytes."""


def shrink(image: Image.Image, side: int) -> Image.Image:
    """Return an image resized to a shorter side of ``side`` pixels, if it is larger."""
    size = shrunk(side, image.size)
    # Bicubic is sharper than bilinear, and crops of the image are resized once more.
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def shrunk(side: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) with a shorter side of ``side`` pixels, of an image that is larger."""
    scale = side / min(size)
    if scale >= 1:
        return size
    width, height = (max(side, round(pixels * scale)) for pixels in size)
    return width, height


class ResizedCache:
    """Thread-safe cache of a split's photos, resized once, up to a limit of memory.

    The first photos are kept until ``limit`` bytes of pixels are reached, and are never replaced:
    an epoch uses each photo once, so a replaced photo would be missing in the next epoch.

    Args:
        split: the photos.
        side: length of the shorter side, in pixels.
        reduced: True to decode JPEG files no larger than they need to be.
        limit: number of bytes.
    """

    def __init__(self, split: Split, side: int, reduced: bool = False, limit: int = LIMIT) -> None:
        self.split, self.side, self.limit = split, side, limit
        self._least = partial(shrunk, side) if reduced else None
        self.bytes = 0
        self._held: dict[str, NDArray] = {}
        self._lock = threading.Lock()

    def holds(self, photo: Photo) -> bool:
        """Return whether a photo is not read any more."""
        return photo.name in self._held

    def image(self, photo: Photo) -> Image.Image:
        """Return a photo as an upright RGB image, resized."""
        held = self._held.get(photo.name)
        if held is not None:
            return Image.fromarray(held)
        image = shrink(self.split.image(photo, self._least), self.side)
        pixels = np.asarray(image)
        with self._lock:  # two threads may have decoded the same photo, which counts once
            if photo.name not in self._held and self.bytes + pixels.nbytes <= self.limit:
                self._held[photo.name] = pixels
                self.bytes += pixels.nbytes
        return image


@dataclass(frozen=True, slots=True)
class ImageCache:
    """All photos of a split, decoded for a small network, from which batches are cut.

    At 32 pixels a view costs mostly calls of Python and Pillow, which hold the interpreter's lock,
    so threads do not help. Each view is bit-identical to that of
    :func:`mobilenetv2.data.augment.augment`, for the same (seed, epoch, index).
    """

    held: NDArray
    """Images as uint8 (photos, height + 2 margins, width + 2 margins, channels).

    They are preprocessed as in evaluation, with the border that 'shifted' needs.
    """
    size: Size
    how: Augmentation

    def views(self, indices: NDArray, seed: int, epoch: int) -> NDArray:
        """Return views for int indices (batch,): uint8 (batch, height, width, channels)."""
        views = np.empty((len(indices), *self.size, self.held.shape[3]), np.uint8)
        for view, index in zip(views, indices, strict=True):
            random = generator(seed, epoch, int(index))
            view[...] = cut_view(self.held[index], self.how, self.size, random)
        return views


def fits_in_memory(
    photos: int, how: Augmentation, record: Preprocessing, size: Size, limit: int = LIMIT
) -> bool:
    """Return True if views can be cut out of cached images that fit into ``limit`` bytes.

    'resized' crops need the original photo, so they cannot be cut out of cached images.
    """
    height, width = _held_size(how, size)
    return how.crop != "resized" and photos * height * width * record.channels <= limit


def cache_images(split: Split, how: Augmentation, record: Preprocessing, size: Size) -> ImageCache:
    """Decode every photo of a split for views of ``size``.

    Raises:
        ImageError: a photo cannot be read.
        ValueError: the crop is 'resized', for which :func:`fits_in_memory` returns False.
    """
    if how.crop == "resized":
        raise ValueError("crops of kind 'resized' are not cached; call fits_in_memory() first")
    held = np.empty((len(split), *_held_size(how, size), record.channels), np.uint8)

    def load(index: int) -> None:
        photo = split.photos[index]
        image = split.image(photo, least_size(record.at(size)))
        held[index] = whole_picture(image, how, record, size, split.full_name(photo))

    order = split.source.stored([photo.name for photo in split.photos])
    with split.source.ahead([split.photos[at].name for at in order]):
        for _ in track(in_parallel(load, map(int, order)), "photos", len(split)):
            pass
    return ImageCache(held, size, how)


def _held_size(how: Augmentation, size: Size) -> Size:
    above, left = margins(how, size)
    return size[0] + 2 * above, size[1] + 2 * left
