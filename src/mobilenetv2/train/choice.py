"""What the default recipe makes of the photos and the machine, and why, in sentences.

Only keys that nobody set are chosen. The chosen recipe is written into the run folder, so a resumed
run goes on with it whatever the machine is doing by then.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from statistics import median

import numpy as np

from mobilenetv2.data.batches import AHEAD, workers
from mobilenetv2.data.dataset import Split
from mobilenetv2.data.mixing import targets
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train.average import Average
from mobilenetv2.train.recipe import Recipe, replace
from mobilenetv2.train.trainer import Trainer
from mobilenetv2.train.views import PhotoViews

MINUTES = 9.5
"""Of steps that the number of epochs is chosen for: decoding, judging every epoch and the final
figures take some five more (of 3,000 photos, on two cores)."""
EPOCHS = (4, 30)
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
WARMING, COUNTED = 4, 5
"""Steps of the measurement of speed."""


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


def choose(
    train: Split,
    recipe: Recipe,
    kept: frozenset[str],
    config: ModelConfig,
    make: Callable[[Recipe], Trainer],
) -> Choice:
    """Whether the network moves at all; batch size, balance and epochs.

    Args:
        kept: keys that are not to be changed.
        make: a trainer under a recipe, to measure what a step takes here.
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
        speed = photos_a_second(train, recipe, config, make(recipe))
        fitting = MINUTES * 60 * speed / count
        epochs = min(EPOCHS[1], max(EPOCHS[0], math.floor(fitting)))
        recipe = replace(recipe, epochs=epochs)
        seconds = epochs * count / speed
        long = f"{seconds / 60:.0f} minutes" if seconds > 90 else f"{seconds:.0f} seconds"
        reasons.append(
            f"epochs {epochs}: this machine trains {speed:.0f} photos a second, so that is about "
            f"{long} of steps"
        )
    return Choice(recipe, tuple(reasons))


def photos_a_second(train: Split, recipe: Recipe, config: ModelConfig, trainer: Trainer) -> float:
    """Of the whole loop as later epochs have it: photos held in memory, views made beside steps."""
    views = PhotoViews(train, config.preprocessing, recipe)
    batch_size = min(recipe.batch_size, len(train))
    labels = np.array([photo.label for photo in train.photos], np.int64)
    some = np.random.default_rng(0).permutation(len(train))[: WARMING * batch_size]
    # Longer than it is followed: views are made ahead, and the last steps must not find them ready.
    ahead = -(-AHEAD * workers() // batch_size)
    order = np.resize(some, (WARMING + COUNTED + ahead) * batch_size)
    # Of the last epoch: its pictures are the largest.
    todo = views.batches(order, max(0, recipe.epochs - 1), batch_size)
    average = Average(recipe.ema_decay, recipe.ema_breadth)
    times = [time.monotonic()]
    for pictures, indices in islice(todo, WARMING + COUNTED):
        trainer.step(pictures, targets(labels[indices], len(train.classes)), 0.0)
        if recipe.ema_decay:
            average.update(trainer.dump())
        times.append(time.monotonic())
    return float(batch_size / median(np.diff(times)[-COUNTED:]))
