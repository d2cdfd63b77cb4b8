"""Trial steps before a run, which are undone: the learning-rate finder and the time estimate.

The learning-rate finder is the range test of Smith, arXiv 1506.01186, with fast.ai's smoothing and
stopping rule: the learning rate rises from step to step until the loss also rises.

The time estimate is printed before the run and used for ``minutes``, and for nothing else.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from statistics import median

import numpy as np

from mobilenetv2.data.batches import AHEAD, chunked, epoch_order
from mobilenetv2.data.dataset import Split
from mobilenetv2.errors import RecipeError
from mobilenetv2.evaluation.predictions import predict_split
from mobilenetv2.files import temporary_folder
from mobilenetv2.machine import workers
from mobilenetv2.progress import say, track
from mobilenetv2.runtime.bulk import BATCH
from mobilenetv2.text import counted, duration
from mobilenetv2.training.finalise import TRAIN_SAMPLE
from mobilenetv2.training.inputs import PhotoViews, Views, step_inputs
from mobilenetv2.training.job import Run, Trial
from mobilenetv2.training.loop import Average
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.splits import sample
from mobilenetv2.training.steps import shown_loss

LOWEST, HIGHEST = 1e-6, 3.0
"""First and last learning rate of the finder."""
STEPS = 80
"""Number of steps of the finder."""
SMOOTHING = 0.9
"""Share of the previous value in the smoothed loss."""
EXPLODED = 3.0
"""Ratio to the lowest smoothed loss at which the finder stops."""
SAFETY = 3.0
"""Divisor from the learning rate of the lowest loss, where it is about to rise, to the suggestion.
"""
WARMING, COUNTED = 4, 5
"""Numbers of warm-up steps and of timed steps in the time estimate."""
LONGEST = 20.0
"""Seconds after which the time estimate takes no further steps."""
ANSWERED = 6 * BATCH
"""Number of photos for timing the evaluation."""


@contextmanager
def undone(run: Run, split: Split, recipe: Recipe) -> Iterator[tuple[PhotoViews, Views]]:
    """Yield a split's views of photos and inputs of steps; restore the trainer afterwards."""
    before = {name: array.copy() for name, array in run.trainer.state().items()}
    photos = PhotoViews(split, run.config.preprocessing, recipe)
    with temporary_folder() as folder:
        yield photos, run.trainer.views(photos, folder / "maps.npy")
    run.trainer.restore(before)


def find_rate(run: Run, steps: int = STEPS) -> None:
    """Try rising learning rates; set ``run.trial`` and the suggested rate in ``run.recipe``.

    Args:
        run: the run.
        steps: number of steps, at least 10; photos are repeated if there are too few. Default: 80.

    Raises:
        RecipeError: the loss falls at no learning rate.
    """
    recipe, trainer, targets = run.recipe, run.trainer, run.targets_of(run.splits.train)
    count = len(targets.labels)
    batch_size = min(recipe.batch_size, count)
    needed = -(-steps * batch_size // count)
    labels, balance = targets.labels, recipe.data.balance
    orders = [epoch_order(labels, recipe.seed, epoch, balance) for epoch in range(needed)]
    rates: list[float] = []
    losses: list[float] = []
    smooth, best = 0.0, math.inf
    # A trial uses each photo about once, so that one cached view of it is enough.
    once = recipe.changed({"cache.views": 1})
    with undone(run, run.splits.train, once) as (_, views):
        # Views of the last epoch: with progressive resizing, they have the final size.
        chunks = chunked(np.concatenate(orders), batch_size, drop_last=True)
        last = max(0, recipe.epochs - 1)
        todo = step_inputs(views, targets, chunks, last, trainer.rows, mixing=0)
        for step, inputs in enumerate(track(todo, "trying learning rates", steps)):
            if step == steps:
                break
            rate = LOWEST * (HIGHEST / LOWEST) ** (step / (steps - 1))
            loss, _ = trainer.step(*inputs, rate, batch_size)
            smooth = SMOOTHING * smooth + (1 - SMOOTHING) * shown_loss(loss, run.config.spec)
            value = smooth / (1 - SMOOTHING ** (step + 1))
            if not math.isfinite(value) or (step > 10 and value > EXPLODED * best):
                break
            rates.append(rate)
            losses.append(value)
            best = min(best, value)
    rate = suggest_rate(rates, losses)
    run.trial = Trial(tuple(rates), tuple(losses), rate)
    run.recipe = recipe.changed({"optimizer.learning_rate": rate})
    say(f"learning_rate {rate:g}: a third of the rate with the lowest loss in the trial")


def suggest_rate(rates: list[float], losses: list[float]) -> float:
    """Return the learning rate of the lowest loss with a safety margin, to two digits."""
    lowest = int(np.argmin(losses)) if losses else 0
    if lowest == 0:
        raise RecipeError(
            "the loss falls at no learning rate; check the labels of the photos, or set "
            "optimizer.learning_rate instead of find_rate"
        )
    return float(f"{rates[lowest] / SAFETY:.1e}")


@dataclass(frozen=True, slots=True)
class Times:
    """Expected times of the parts of a run, in seconds."""

    before: float
    """Seconds before the first epoch: fitting the classifier, caching feature maps."""
    epoch: float
    """Seconds of an epoch with its evaluation; 0 for ``trained = 'head'``."""
    after: float
    """Seconds of the final evaluation."""
    speed: float
    """Photos a second in training steps."""

    def whole(self, epochs: int) -> float:
        """Return the expected seconds of a run with a number of epochs."""
        return self.before + epochs * self.epoch + self.after

    def epochs(self, minutes: float) -> int:
        """Return the number of epochs that fit into a number of minutes; at least 1."""
        return max(1, int((60 * minutes - self.before - self.after) / self.epoch))


def measure_times(run: Run) -> Times:
    """Return the expected times of a run, from a few trial steps and predictions.

    They are those of the first process, and the same in all.
    """
    times = _measured(run)
    return run.group.first(lambda: times)


def _measured(run: Run) -> Times:
    recipe = run.recipe
    train, selection, held_out = map(len, run.splits.parts)
    an_answer = _seconds_an_answer(run)
    before = run.fits_head * (train + selection) * an_answer
    after = (min(TRAIN_SAMPLE, train) + selection + held_out) * an_answer
    if recipe.trained == "head":
        return Times(before, 0.0, after, 0.0)
    a_step, a_map = _seconds_a_photo(run)
    before += min(recipe.cache.views, recipe.epochs) * train * a_map
    judged = selection + min(train, recipe.averaging.reestimate)
    return Times(before, train * a_step + judged * an_answer, after, 1 / a_step)


def describe_time(times: Times, recipe: Recipe) -> str:
    """Return the expected time of a run as a sentence."""
    seconds = times.whole(recipe.epochs)
    long = f"about {duration(seconds)}" if seconds >= 5 else "a few seconds"
    if recipe.trained == "head" or not recipe.epochs:
        return f"expected time: {long} on this machine"
    epochs = counted(recipe.epochs, "epoch")
    return f"expected time: {long} on this machine ({epochs}, {times.speed:.0f} photos a second)"


def _seconds_an_answer(run: Run) -> float:
    """Return the seconds of one photo in evaluation, with decoding, by all processes together."""
    split, seen, answer = run.splits.selection, run.config.preprocessing, run.trainer.predictor()
    whole = min(ANSWERED, len(split)) // BATCH * BATCH or len(split)
    predict_split(answer, sample(split, min(whole, BATCH), 0), seen)  # compile it first
    started = time.monotonic()
    predict_split(answer, sample(split, whole, 0), seen)
    return (time.monotonic() - started) / whole / run.group.size


def _seconds_a_photo(run: Run) -> tuple[float, float]:
    """Return the seconds of one photo in a training step, and of one cached feature map.

    The step is as in later epochs: photos are cached, and views are made in parallel with steps.
    """
    recipe, trainer = run.recipe, run.trainer
    batch_size = min(recipe.batch_size, len(run.splits.train))
    few = sample(run.splits.train, WARMING * batch_size, 0)
    targets = run.targets_of(few)
    average = Average(recipe.averaging.decay, recipe.averaging.breadth)
    # More steps than are timed: views are made in advance, and the last timed steps must not find
    # all of theirs ready.
    ahead = -(-AHEAD * workers() // batch_size)
    order = np.random.default_rng(0).permutation(len(few))
    order = np.resize(order, (WARMING + COUNTED + ahead) * batch_size)
    started = time.monotonic()
    with undone(run, few, recipe) as (photos, views):
        made = min(recipe.cache.views, max(1, recipe.epochs)) * len(few)
        a_map = 0.0 if views is photos else (time.monotonic() - started) / made
        # Views of the last epoch, which are the largest.
        last = max(0, recipe.epochs - 1)
        chunks = chunked(order, batch_size)
        todo = step_inputs(views, targets, chunks, last, trainer.rows, mixing=0)
        times = [time.monotonic()]
        for inputs in islice(todo, WARMING + COUNTED):
            trainer.step(*inputs, 0.0, batch_size)
            if recipe.averaging.decay:
                average.update(trainer.dump())
            times.append(time.monotonic())
            (late,) = run.group.any(times[-1] - times[0] > LONGEST)
            if late and len(times) > 3:
                break
    return float(median(np.diff(times)[-COUNTED:])) / batch_size, a_map
