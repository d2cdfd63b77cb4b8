"""Only the later blocks train; what the earlier ones give for a photo is computed once and kept.

Most of the work of a step lies in the early blocks, whose maps are large, and they are what a new
set of photos changes least. With them frozen, a step costs a fraction, and a few random views of
each photo, computed beforehand, stand for all the epochs.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.errors import RecipeError, RunError
from mobilenetv2.files import TEMPORARY, take_place
from mobilenetv2.progress import track
from mobilenetv2.train import depth
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.torch import TorchTrainer
from mobilenetv2.train.views import Batches, PhotoViews, Views, one_by_one

BATCH = 16


class LaterTrainer(TorchTrainer):
    """A trainer whose steps take maps instead of pictures.

    Raises:
        RecipeError: the network has no such block.
    """

    def __init__(self, network: MobileNetV2, recipe: Recipe, device: str = "cpu") -> None:
        self.blocks = recipe.cache.blocks
        if self.blocks > len(network.blocks):
            raise RecipeError(
                f"cache.blocks {self.blocks}: the network has {len(network.blocks)} blocks"
            )
        super().__init__(network, recipe, device)
        deepest = 1 + len(network.blocks) - self.blocks
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(depth.depth(name, network.spec) <= deepest)

    def views(self, photos: PhotoViews, cache: Path) -> Views:
        """See the protocol; maps, computed unless the cache has them."""
        return cached(self, photos, cache)

    def early(self, pictures: NDArray) -> NDArray:
        """uint8 (batch, height, width, channels) -> float16 maps (batch, h, w, k)."""
        self.network.eval()
        with torch.inference_mode():
            x = self.network.stem(super()._inputs(pictures))
            for block in self.network.blocks[: self.blocks]:
                x = block(x)
        return np.asarray(x.permute(0, 2, 3, 1).half().cpu().numpy())

    def _inputs(self, pictures: NDArray) -> Tensor:
        maps = torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device)
        return maps.to(self.network.classifier.weight.dtype).permute(0, 3, 1, 2)

    def _features(self, network: MobileNetV2, x: Tensor) -> Tensor:
        return network.features(x, self.blocks)


@dataclass(frozen=True, slots=True)
class MapViews:
    """Maps of a few views of every photo, in a file; see :class:`mobilenetv2.train.views.Views`."""

    maps: NDArray
    """float16 (views, photos, h, w, k), read from the file as it is needed."""

    def __len__(self) -> int:
        return int(self.maps.shape[1])

    def view(self, index: int, epoch: int) -> NDArray:
        """float16 (h, w, k): the epochs take turns with the views."""
        return np.asarray(self.maps[epoch % len(self.maps), index])

    def batches(
        self, order: NDArray, epoch: int, batch_size: int, start: int = 0, drop_last: bool = False
    ) -> Batches:
        """float16 (batch, h, w, k) and indices; see the protocol."""
        return one_by_one(self, order, epoch, batch_size, start, drop_last)


def cached(trainer: LaterTrainer, photos: PhotoViews, path: Path) -> MapViews:
    """The maps in ``path``, computed if they are not there yet.

    Raises:
        RunError: the disk has no room for them.
    """
    if path.is_file():
        return MapViews(np.load(path, mmap_mode="r"))
    views = min(photos.recipe.cache.views, max(1, photos.recipe.epochs))  # each one has its turn
    count = len(photos.split)
    partial = path.with_name(f"{TEMPORARY}{path.name}")
    file: np.memmap | None = None
    try:
        for place, maps in track(_maps(trainer, photos, views), "maps", views * count, BATCH):
            if file is None:
                shape = (views, count, *maps.shape[1:])
                needed, free = 2 * int(np.prod(shape)), shutil.disk_usage(path.parent).free
                if needed > free:
                    raise RunError(
                        f"{path.parent}: {needed / 1e9:.1f} GB are needed for the maps of {views} "
                        f"views, {free / 1e9:.1f} GB are free; lower cache.views"
                    )
                file = open_memmap(partial, "w+", np.float16, shape)
                reserve(partial)
            file.reshape(-1, *maps.shape[1:])[place : place + len(maps)] = maps
        assert file is not None
        file.flush()
        del file
        take_place(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return MapViews(np.load(path, mmap_mode="r"))


def reserve(path: Path) -> None:
    """Give a file its blocks: a disk that fills up under a map ends the process without a word.

    Raises:
        OSError: the disk has no room for it.
    """
    if hasattr(os, "posix_fallocate"):  # not on macOS and Windows
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _maps(trainer: LaterTrainer, photos: PhotoViews, views: int) -> Iterator[tuple[int, NDArray]]:
    """(place among all views, maps) of a batch at a time."""
    count = len(photos.split)
    for number in range(views):
        todo = photos.batches(np.arange(count), number, BATCH)
        for start, (pictures, _) in enumerate(todo):
            yield number * count + start * BATCH, trainer.early(pictures)
