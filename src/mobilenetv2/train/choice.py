"""What the default recipe makes of the photos, and why, in sentences.

Only keys that nobody set are chosen, and only the photos choose: the same photos, seed and recipe
give the same recipe on every machine, however busy it is.
"""

from dataclasses import dataclass
from statistics import median

from mobilenetv2.data.dataset import Split
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train.recipe import Recipe, replace

VIEWS = 22_000
"""Views of photos that a run of the default is trained on, as far as :data:`EPOCHS` allows. Of
2,761 photos, 8 epochs were right on 92.1% of 341 others, 18 to 20 epochs on 92.5% (the standard
error is 1.4 points) in twice the time; of 687 photos, 30 epochs were right on 87.8% of 550 others,
no epoch on 84.5% (benchmarks/clothing.md)."""
EPOCHS = (4, 30)
"""The fewest and the most."""
FEWEST_STEPS = 8
"""Of an epoch: with fewer, a smaller batch gives more of them."""
IMBALANCE = 10.0
"""Times that the largest class is the smallest one, from which the small ones are helped. At 7
times (clothes) that gained nothing: a run with it was right on 92.1% of 722 held-out photos, one
without on 92.9%."""
FEW = 400
"""Photos. With fewer, only a new classifier is fitted: of 269, it was right on 81.3% of 550 others
(tempered loss 0.51), and so were 30 epochs of the whole network (0.56); of 687, on 84.5%, and the
network on 87.1% (benchmarks/clothing.md)."""
MOVING = frozenset({
    "trained", "epochs", "learning_rate", "optimizer", "schedule", "head_first", "frozen_blocks",
    "unfreeze_epochs", "layer_decay", "patience",
})  # fmt: skip
"""Who sets one of these keys wants the network to move."""
SMALL_PHOTO, SMALL_SIZE = 100, 128
"""Pixels: photos smaller than the first are trained on at the second."""
SAMPLE = 64


@dataclass(frozen=True, slots=True)
class Choice:
    """A recipe, and what was decided about it."""

    recipe: Recipe
    reasons: tuple[str, ...]


def choose_size(train: Split, recipe: Recipe, kept: frozenset[str], config: ModelConfig) -> Choice:
    """Whether the photos are too small for the network's own size."""
    if "size" in kept or min(config.spec.size) <= SMALL_SIZE:
        return Choice(recipe, ())
    step = max(1, len(train) // SAMPLE)
    side = median(min(train.image(photo).size) for photo in train.photos[::step])
    if side >= SMALL_PHOTO:
        return Choice(recipe, ())
    reason = (
        f"size {SMALL_SIZE}: half of the photos have a shorter side of at most {side:.0f} pixels, "
        "which a larger size would only blow up"
    )
    return Choice(replace(recipe, size=(SMALL_SIZE, SMALL_SIZE)), (reason,))


def choose(train: Split, recipe: Recipe, kept: frozenset[str]) -> Choice:
    """Whether the network moves at all; batch size, balance and epochs.

    Args:
        kept: keys that are not to be changed.
    """
    reasons: list[str] = []
    count = len(train)
    if count < FEW and not kept & MOVING and not recipe.distillation.teacher:
        reason = (
            f"only a new classifier: {count} photos are fewer than the {FEW} with which moving the "
            "whole network pays (--set trained=all moves it)"
        )
        return Choice(replace(recipe, trained="head"), (reason,))
    if "batch_size" not in kept and count < FEWEST_STEPS * recipe.batch_size:
        batch_size = max(2, count // FEWEST_STEPS)
        recipe = replace(recipe, batch_size=batch_size)
        reasons.append(f"batch_size {batch_size}: {count} photos make few steps of an epoch")
    counts = [number for number in train.counts() if number]
    ratio = max(counts) / min(counts)
    if "balance" not in kept and ratio >= IMBALANCE:
        recipe = replace(recipe, balance=0.5)
        reasons.append(
            f"balance 0.5: the largest class has {ratio:.0f} times the photos of the smallest, "
            "so photos of small classes come more often"
        )
    if "epochs" not in kept:
        recipe = replace(recipe, epochs=epochs_for(count))
        reasons.append(f"epochs {recipe.epochs}: {count} photos")
    return Choice(recipe, tuple(reasons))


def epochs_for(photos: int) -> int:
    """Return the epochs of the default for so many photos to train on: more of fewer photos."""
    fewest, most = EPOCHS
    return min(most, max(fewest, round(VIEWS / photos)))
