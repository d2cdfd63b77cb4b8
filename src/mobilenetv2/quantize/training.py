"""Quantisation-aware training: a few gentle epochs with the rounding inside.

For networks that lose too much otherwise. The ranges of the tensors stay those that calibration
found; the weights learn to live with them. Half of what they learn from are the labels, half what
the float network answers for the same picture.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mobilenetv2.data.augment import Augmentation, augment, generator
from mobilenetv2.data.batches import batches, epoch_order
from mobilenetv2.data.dataset import Split
from mobilenetv2.data.scan import readable_photos
from mobilenetv2.editions.torch.folded import FoldedMobileNetV2
from mobilenetv2.editions.torch.inference import normalise
from mobilenetv2.errors import RecipeError
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.progress import say, track
from mobilenetv2.quantize.fake import FakeQuantised
from mobilenetv2.quantize.scheme import Scheme
from mobilenetv2.train.schedule import cosine

GENTLE = Augmentation(crop_least=0.5, flip=False)
"""Right for text and digits, too."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How it is trained: Adam, the rate falling along half a cosine."""

    epochs: int = 2
    learning_rate: float = 1e-4
    """The longest step of a weight, as a share of its channel's largest: an integer is 1 / 127."""
    batch_size: int = 32
    distillation: float = 0.5
    """The share of the loss that is about the float network's answers, not the labels; 0 to 1."""
    augmentation: Augmentation = GENTLE
    seed: int = 0

    def __post_init__(self) -> None:
        for key in ("epochs", "batch_size"):
            if getattr(self, key) < 1:
                raise RecipeError(f"{key} = {getattr(self, key)} must be at least 1")
        if not 0 < self.learning_rate <= 1:
            raise RecipeError(f"learning_rate = {self.learning_rate} must be above 0, at most 1")
        if not 0 <= self.distillation <= 1:
            raise RecipeError(f"distillation = {self.distillation} must be from 0 to 1")


def train(
    scheme: Scheme,
    arrays: Arrays,
    split: Split,
    outputs: Sequence[int],
    recipe: Recipe | None = None,
) -> Scheme:
    """The scheme with trained weights; ranges and all else stay.

    Args:
        arrays: of the float network, canonical: the teacher.
        split: labelled photos. Not those that the result is judged on.
        outputs: class of the split -> output of the network.
        recipe: None is the default.

    Raises:
        DataError: too many photos cannot be read.
    """
    recipe = recipe or Recipe()
    split, notes = readable_photos(split)
    for note in notes:
        say(note)
    teacher = FoldedMobileNetV2(scheme.config, fold(scheme.config.spec, arrays))
    trainer = Trainer(FakeQuantised(scheme), teacher, recipe)
    truth = np.array([outputs[photo.label] for photo in split.photos], np.int64)
    batch_size = min(recipe.batch_size, len(split))
    steps = len(split) // batch_size
    for epoch in range(recipe.epochs):
        started, right = time.monotonic(), 0
        losses: list[float] = []
        order = epoch_order(truth, recipe.seed, epoch)
        todo = batches(Views(scheme, split, recipe, epoch), order, batch_size, drop_last=True)
        label = f"quantisation-aware epoch {epoch + 1}/{recipe.epochs}"
        for pictures, indices in track(todo, label, steps * batch_size, batch_size):
            step = epoch * steps + len(losses)
            rate = cosine(step, recipe.epochs * steps, 0, recipe.learning_rate)
            loss, hits = trainer.step(pictures, truth[indices], rate)
            losses.append(loss)
            right += hits
        say(
            f"{label}: loss {np.mean(losses):.3f} top-1 {right / (steps * batch_size):.1%} | "
            f"{time.monotonic() - started:.0f} s"
        )
    method = f"{scheme.method}, {recipe.epochs} epochs of quantisation-aware training"
    return dataclasses.replace(
        scheme, folded=trainer.network.folded(), method=method.removeprefix(", ")
    )


class Trainer:
    """A step of training.

    Args:
        network: that is trained.
        teacher: the float network.
    """

    def __init__(self, network: FakeQuantised, teacher: FoldedMobileNetV2, recipe: Recipe) -> None:
        self.network, self.teacher, self.recipe = network, teacher, recipe
        self.optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)

    def step(self, pictures: NDArray, truth: NDArray, rate: float) -> tuple[float, int]:
        """One step.

        Args:
            pictures: uint8 (batch, height, width, channels).
            truth: int64 (batch,), the right outputs.
            rate: the learning rate.

        Returns:
            (the batch's mean loss, its right answers), both before the step.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        x = normalise(pictures, self.network.config.preprocessing)
        logits, target = self.network(x), torch.from_numpy(truth)
        loss = self.loss(x, logits, target)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item(), int((logits.argmax(1) == target).sum())

    def loss(self, x: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy with the labels and, for its share, with the teacher's probabilities, less
        what these have by themselves: 0 where the answers are the teacher's."""
        share = self.recipe.distillation
        with torch.no_grad():
            wanted = functional.log_softmax(self.teacher(x), 1) if share else None
        loss = (1 - share) * functional.cross_entropy(logits, target)
        if wanted is None:
            return loss
        found = functional.log_softmax(logits, 1)
        return loss + share * functional.kl_div(
            found, wanted, reduction="batchmean", log_target=True
        )


@dataclass(frozen=True, slots=True)
class Views:
    """Random views of a split's photos in one epoch."""

    scheme: Scheme
    split: Split
    recipe: Recipe
    epoch: int

    def __call__(self, index: int) -> NDArray:
        """Of one photo: uint8 (height, width, channels)."""
        photo, record = self.split.photos[index], self.scheme.config.preprocessing
        name, random = self.split.full_name(photo), generator(self.recipe.seed, self.epoch, index)
        image = self.split.image(photo)
        return augment(image, self.recipe.augmentation, record, record.size, random, name)
