"""What a step is taken on: random views of photos, each a function of (seed, epoch, index)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from numpy.typing import NDArray

from mobilenetv2.data import caches
from mobilenetv2.data.augment import augment, generator
from mobilenetv2.data.batches import batches, whole_batches
from mobilenetv2.data.caches import ShrunkPhotos
from mobilenetv2.data.dataset import Split
from mobilenetv2.spec.network import Size
from mobilenetv2.spec.records import Preprocessing
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.schedule import phase

SMALLEST = 32
"""Pixels of a side, or half of the network's own: less is nothing after its strides."""

Batches = Iterator[tuple[NDArray, NDArray]]
"""(inputs of a step, int64 indices of their photos)."""


class Views(Protocol):
    """Photos by index, as an epoch sees them."""

    def __len__(self) -> int:
        """Photos."""

    def view(self, index: int, epoch: int) -> NDArray:
        """One input of a step, of one shape within an epoch."""

    def batches(
        self, order: NDArray, epoch: int, batch_size: int, start: int = 0, drop_last: bool = False
    ) -> Batches:
        """The same views, many at a time and made ahead of their use.

        Args:
            order: indices in the order in which they come.
            start: the first batch to give; those before it are not made.
            drop_last: leave out a last batch that is not full.
        """


@dataclass(slots=True)
class PhotoViews:
    """Pictures, augmented anew each time.

    Decoding is what costs, so it is done once where memory allows (:mod:`mobilenetv2.data.caches`):
    small pictures are held whole, photos a little larger than their views.
    """

    split: Split
    record: Preprocessing
    recipe: Recipe
    _small: caches.SmallImages | None = field(default=None, init=False, repr=False)
    _shrunk: ShrunkPhotos | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.recipe.augmentation.crop == "resized" and self.recipe.shrink:
            sizes = [self.size(epoch) for epoch in range(max(1, self.recipe.epochs))]
            side = round(self.recipe.shrink * max(max(size) for size in sizes))
            self._shrunk = ShrunkPhotos(self.split, side)

    def __len__(self) -> int:
        return len(self.split)

    def size(self, epoch: int) -> Size:
        """(height, width) of an epoch's pictures."""
        share = self.recipe.train_scale * phase(epoch, self.recipe.epochs, self.recipe.phases)
        height, width = self.record.size
        # Multiples of 8, but for the full size: odd maps cost time and give nothing.
        sides = (side if share == 1 else 8 * round(side * share / 8) for side in (height, width))
        least = min(SMALLEST, min(self.record.size) // 2)
        height, width = (max(least, side) for side in sides)
        return height, width

    def view(self, index: int, epoch: int) -> NDArray:
        """uint8 (height, width, channels)."""
        photo = self.split.photos[index]
        source = self.split if self._shrunk is None else self._shrunk
        image, name = source.image(photo), self.split.full_name(photo)
        random = generator(self.recipe.seed, epoch, index)
        how = self.recipe.augmentation
        return augment(image, how, self.record, self.size(epoch), random, name)

    def batches(
        self, order: NDArray, epoch: int, batch_size: int, start: int = 0, drop_last: bool = False
    ) -> Batches:
        """uint8 (batch, height, width, channels) and indices; see the protocol."""
        size, how = self.size(epoch), self.recipe.augmentation
        if not caches.fits_in_memory(len(self), how, self.record, size):
            self._small = None
            return one_by_one(self, order, epoch, batch_size, start, drop_last)
        if self._small is None or self._small.size != size:
            self._small = None  # the memory, before the next is made
            self._small = caches.hold_images(self.split, how, self.record, size)
        held, seed = self._small, self.recipe.seed
        return whole_batches(
            lambda indices: held.views(indices, seed, epoch), order, batch_size, start, drop_last
        )


def one_by_one(
    views: Views, order: NDArray, epoch: int, batch_size: int, start: int, drop_last: bool
) -> Batches:
    """Batches of single views, each made in a thread."""
    return batches(lambda index: views.view(index, epoch), order, batch_size, start, drop_last)
