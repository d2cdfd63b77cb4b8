"""A learning rate from a short trial: it rises from step to step until the loss does, too.

The range test of Smith, arXiv 1506.01186, with the smoothing and the stopping rule that fast.ai
made usual. Nothing of the trial is kept: the trainer goes back to where it was.
"""

import math
from dataclasses import dataclass

import numpy as np

from mobilenetv2.data.batches import epoch_order
from mobilenetv2.data.dataset import Split
from mobilenetv2.errors import RecipeError
from mobilenetv2.progress import track
from mobilenetv2.train import targets
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.trainer import Trainer
from mobilenetv2.train.views import Views

LOWEST, HIGHEST = 1e-6, 3.0
STEPS = 80
SMOOTHING = 0.9
"""Share of the past in the smoothed loss."""
EXPLODED = 3.0
"""Times the best smoothed loss: the trial is over."""
SAFETY = 3.0
"""The suggestion is the rate of the lowest loss divided by this: there, it is about to rise."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What the loss did as the rate rose."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Smoothed."""
    suggestion: float
    """To two digits."""


def find_rate(
    trainer: Trainer, train: Split, views: Views, recipe: Recipe,
    teacher: targets.Teacher | None = None, steps: int = STEPS,
) -> Trial:  # fmt: skip
    """Try the rates; the trainer is as before afterwards.

    Args:
        steps: of the trial, at least 10; photos come again where there are not enough.

    Raises:
        RecipeError: no rate makes the loss fall.
    """
    labels = np.array([photo.label for photo in train.photos], np.int64)
    batch_size = min(recipe.batch_size, len(train))
    needed = -(-steps * batch_size // len(train))
    order = np.concatenate(
        [epoch_order(labels, recipe.seed, epoch, recipe.balance) for epoch in range(needed)]
    )
    before = {name: array.copy() for name, array in trainer.state().items()}
    rates: list[float] = []
    losses: list[float] = []
    smooth, best = 0.0, math.inf
    # Of the last epoch: most of the run has pictures of that size, or comes to it.
    todo = views.batches(order, max(0, recipe.epochs - 1), batch_size, drop_last=True)
    for step, (pictures, indices) in enumerate(track(todo, "trying rates", steps)):
        if step == steps:
            break
        rate = LOWEST * (HIGHEST / LOWEST) ** (step / (steps - 1))
        random = np.random.default_rng([recipe.seed, 0, step, 3])
        pictures, wanted = targets.make(
            pictures, labels[indices], len(train.classes), recipe, teacher, random
        )
        loss, _ = trainer.step(pictures, wanted, rate)
        smooth = SMOOTHING * smooth + (1 - SMOOTHING) * loss
        value = smooth / (1 - SMOOTHING ** (step + 1))
        if not math.isfinite(value) or (step > 10 and value > EXPLODED * best):
            break
        rates.append(rate)
        losses.append(value)
        best = min(best, value)
    trainer.restore(before)
    return Trial(tuple(rates), tuple(losses), suggest(rates, losses))


def suggest(rates: list[float], losses: list[float]) -> float:
    """The rate of the lowest loss with a margin, rounded to two digits.

    Raises:
        RecipeError: the loss never fell.
    """
    lowest = int(np.argmin(losses)) if losses else 0
    if lowest == 0:
        raise RecipeError("no learning rate makes the loss fall: look at the data, or set one")
    return float(f"{rates[lowest] / SAFETY:.1e}")
