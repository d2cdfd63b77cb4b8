"""Small pictures, decoded once and held in memory: whole batches of views at a time.

At 32 pixels what a view costs is Python and Pillow being called, not pixels: the calls hold the
interpreter's lock, so that threads do not help. Here a batch is cut out of one array. Each view
is the one that :func:`mobilenetv2.data.augment.augment` makes of the photo, bit for bit: the same
function of (seed, epoch, index).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.augment import (
    Augmentation,
    bordered,
    finish,
    generator,
    margins,
    mirrored,
    movement,
)
from mobilenetv2.data.batches import in_parallel
from mobilenetv2.data.dataset import Split
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.progress import track
from mobilenetv2.spec.network import Size
from mobilenetv2.spec.records import Preprocessing

LIMIT = 1024**3
"""Bytes of memory that are taken without being asked."""


def worthwhile(
    photos: int, how: Augmentation, record: Preprocessing, size: Size, limit: int = LIMIT
) -> bool:
    """Whether views can be cut out of held pictures, and these fit into ``limit`` bytes.

    'resized' crops come from the photo itself, at any size, and are not made here.
    """
    if how.crop == "resized":
        return False
    height, width = _padded(size) if how.crop == "shifted" else size
    return photos * height * width * record.channels <= limit


@dataclass(frozen=True, slots=True)
class Small:
    """All photos of a split as evaluation sees them, with the border that 'shifted' moves in."""

    held: NDArray
    """uint8 (photos, height + 2 margins, width + 2 margins, channels)."""
    size: Size
    how: Augmentation

    def __len__(self) -> int:
        return len(self.held)

    def views(self, indices: NDArray, seed: int, epoch: int) -> NDArray:
        """Views of some photos.

        Args:
            indices: int (batch,).

        Returns:
            uint8 (batch, height, width, channels).
        """
        how, (height, width) = self.how, self.size
        above, left = (
            (held - side) // 2 for held, side in zip(self.held.shape[1:3], self.size, strict=True)
        )
        views = np.empty((len(indices), height, width, self.held.shape[3]), np.uint8)
        further = bool(how.jitter or how.erasing or how.policy != "none")
        for view, index in zip(views, indices, strict=True):
            random = generator(seed, epoch, int(index))
            down, right = movement(self.size, random) if how.crop == "shifted" else (0, 0)
            top, start = above + down, left + right
            cut = self.held[index, top : top + height, start : start + width]
            if mirrored(how, random):
                cut = cut[:, ::-1]
            view[...] = finish(cut, how, random) if further else cut
        return views


def hold(split: Split, how: Augmentation, record: Preprocessing, size: Size) -> Small:
    """Decode every photo of a split; see :func:`worthwhile`.

    Args:
        size: (height, width) of the views.

    Raises:
        ImageError: a photo cannot be read.
    """
    if how.crop == "resized":
        raise ValueError("views of a crop 'resized' are not made here: ask worthwhile() first")
    shape = _padded(size) if how.crop == "shifted" else size
    held = np.empty((len(split), *shape, record.channels), np.uint8)
    at = record.at(size)

    def load(index: int) -> None:
        photo = split.photos[index]
        picture = preprocess(split.image(photo), at, split.full_name(photo))
        held[index] = bordered(picture, how.border) if how.crop == "shifted" else picture

    for _ in track(in_parallel(load, range(len(split))), "photos", len(split)):
        pass
    return Small(held, size, how)


def _padded(size: Size) -> Size:
    above, left = margins(size)
    return size[0] + 2 * above, size[1] + 2 * left
