"""What a step is taken on: random views of photos, each a function of (seed, epoch, index)."""

from dataclasses import dataclass
from typing import Protocol

from numpy.typing import NDArray

from mobilenetv2.data.augment import augment, generator
from mobilenetv2.data.dataset import Split
from mobilenetv2.spec.network import Size
from mobilenetv2.spec.records import Preprocessing
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.schedule import phase

SMALLEST = 32
"""Pixels of a side: less is nothing after five strides."""


class Views(Protocol):
    """Photos by index, as an epoch sees them. Called in threads."""

    def __len__(self) -> int:
        """Photos."""

    def view(self, index: int, epoch: int) -> NDArray:
        """One input of a step, of one shape within an epoch."""


@dataclass(frozen=True, slots=True)
class PhotoViews:
    """Pictures, decoded and augmented anew each time."""

    split: Split
    record: Preprocessing
    recipe: Recipe

    def __len__(self) -> int:
        return len(self.split)

    def size(self, epoch: int) -> Size:
        """(height, width) of an epoch's pictures."""
        share = self.recipe.train_scale * phase(epoch, self.recipe.epochs, self.recipe.phases)
        height, width = self.record.size
        # Multiples of 8, but for the full size: odd maps cost time and give nothing.
        sides = (side if share == 1 else 8 * round(side * share / 8) for side in (height, width))
        height, width = (max(min(SMALLEST, *self.record.size), side) for side in sides)
        return height, width

    def view(self, index: int, epoch: int) -> NDArray:
        """uint8 (height, width, channels)."""
        photo = self.split.photos[index]
        image, name = self.split.image(photo), self.split.full_name(photo)
        random = generator(self.recipe.seed, epoch, index)
        how = self.recipe.augmentation
        return augment(image, how, self.record, self.size(epoch), random, name)
