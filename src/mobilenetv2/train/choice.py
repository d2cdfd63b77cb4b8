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

MINUTES = 11.0
"""Of training that the number of epochs is chosen for."""
EPOCHS = (4, 30)
FEWEST_STEPS = 8
"""Of an epoch: with fewer, a smaller batch gives more of them."""
IMBALANCE = 10.0
"""Times that the largest class is the smallest one, from which the small ones are helped. It has a
price: at 7 times (clothes), 92.1% of 722 held-out photos where photos as they are give 92.9%."""
MANY = 2000
"""Photos. With fewer, the steps are fewer too, and large ones leave a good start without a better
end: of 275 photos, 10 epochs at 1e-3 were right on 74.0% of 550 others, at 3e-4 on 79.1%, at 1e-4
on 79.8% (the classifier alone on 80.4%); of 765, at 1e-3 and 6e-4 on 87.3% (alone 82.7%)."""
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
    """Batch size, learning rate, balance and epochs.

    Args:
        kept: keys that are not to be changed.
        make: a trainer under a recipe, to measure what a step takes here.
    """
    reasons: list[str] = []
    count = len(train)
    if "batch_size" not in kept and count < FEWEST_STEPS * recipe.batch_size:
        batch_size = max(2, count // FEWEST_STEPS)
        recipe = replace(recipe, batch_size=batch_size)
        reasons.append(f"batch_size {batch_size}: {count} photos make few steps of an epoch")
    if "learning_rate" not in kept and count < MANY:
        rate = float(f"{recipe.learning_rate * math.sqrt(count / MANY):.2g}")
        recipe = replace(recipe, learning_rate=rate)
        reasons.append(f"learning_rate {rate:g}: with {count} photos, smaller steps lose less")
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
        reasons.append(
            f"epochs {epochs}: this machine trains {speed:.0f} photos a second, so that is about "
            f"{epochs * count / speed / 60:.0f} minutes"
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
    average = Average(recipe.ema_decay)
    times = [time.monotonic()]
    for pictures, indices in islice(todo, WARMING + COUNTED):
        trainer.step(pictures, targets(labels[indices], len(train.classes)), 0.0)
        if recipe.ema_decay:
            average.update(trainer.dump())
        times.append(time.monotonic())
    return float(batch_size / median(np.diff(times)[-COUNTED:]))
