"""Trials: steps that are taken before a run and undone, for a learning rate and the time.

The learning-rate finder is the range test of Smith, arXiv 1506.01186, with the smoothing and the
stopping rule that fast.ai made usual: the rate rises from step to step until the loss does, too.

The time a run takes is said before it begins, and ``minutes`` goes by it; nothing else does.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from mobilenetv2.data.batches import AHEAD, chunked, epoch_order, workers
from mobilenetv2.data.dataset import Split
from mobilenetv2.errors import RecipeError
from mobilenetv2.evaluation.predictions import BATCH, predict_split
from mobilenetv2.progress import say, track
from mobilenetv2.text import counted, duration
from mobilenetv2.training.finalise import TRAIN_SAMPLE
from mobilenetv2.training.inputs import PhotoViews, Views
from mobilenetv2.training.job import Run, Trial
from mobilenetv2.training.loop import Average
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.splits import sample
from mobilenetv2.training.steps import shown_loss

LOWEST, HIGHEST = 1e-6, 3.0
STEPS = 80
SMOOTHING = 0.9
"""Share of the past in the smoothed loss."""
EXPLODED = 3.0
"""Times the best smoothed loss: the trial is over."""
SAFETY = 3.0
"""The suggestion is the rate of the lowest loss divided by this: there, it is about to rise."""
WARMING, COUNTED = 4, 5
"""Steps of the measurement."""
LONGEST = 20.0
"""Seconds, after which steps that take long are no longer waited for."""
ANSWERED = 6 * BATCH
"""Photos of the measurement of evaluation."""


@contextmanager
def undone(run: Run, split: Split, recipe: Recipe) -> Iterator[tuple[PhotoViews, Views]]:
    """Yield the photos of a split and what steps take for them; the trainer is as before then."""
    before = {name: array.copy() for name, array in run.trainer.state().items()}
    photos = PhotoViews(split, run.config.preprocessing, recipe)
    with TemporaryDirectory() as folder:
        yield photos, run.trainer.views(photos, Path(folder) / "maps.npy")
    run.trainer.restore(before)


def find_rate(run: Run, steps: int = STEPS) -> None:
    """Try learning rates; ``run.trial`` has what they gave, ``run.recipe`` the one suggested.

    A trial has at least 10 steps; photos come again where there are not enough.
    Raise RecipeError if no rate makes the loss fall.
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
    # A trial sees each photo hardly once: one view of it is enough where maps are cached.
    once = recipe.changed({"cache.views": 1})
    with undone(run, run.splits.train, once) as (_, views):
        # Of the last epoch: most of the run has pictures of that size, or comes to it.
        chunks = chunked(np.concatenate(orders), batch_size, drop_last=True)
        todo = views.batches(chunks, max(0, recipe.epochs - 1))
        for step, (pictures, indices) in enumerate(track(todo, "trying rates", steps)):
            if step == steps:
                break
            rate = LOWEST * (HIGHEST / LOWEST) ** (step / (steps - 1))
            loss, _ = trainer.step(*targets.make(pictures, indices, 0, step), rate)
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
    say(f"learning_rate {rate:g}: a third of where the loss was lowest in a trial")


def suggest_rate(rates: list[float], losses: list[float]) -> float:
    """Return the rate of the lowest loss with a margin, to two digits."""
    lowest = int(np.argmin(losses)) if losses else 0
    if lowest == 0:
        raise RecipeError("no learning rate makes the loss fall: look at the data, or set one")
    return float(f"{rates[lowest] / SAFETY:.1e}")


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds that the parts of a run take, as far as they were measured."""

    before: float
    """The first epoch: the classifier that is fitted, the maps that are cached."""
    epoch: float
    """Steps and the figures after them; 0 where there are none."""
    after: float
    """The final figures."""
    speed: float
    """Photos a second in steps of training."""

    def whole(self, epochs: int) -> float:
        """Return the seconds of a run of so many epochs."""
        return self.before + epochs * self.epoch + self.after

    def epochs(self, minutes: float) -> int:
        """Return the epochs that fit into so many minutes, at least one."""
        return max(1, int((60 * minutes - self.before - self.after) / self.epoch))


def measure_times(run: Run) -> Times:
    """Take a few steps and a few answers; the trainer is as before afterwards."""
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
    """Return the expected time as a sentence."""
    seconds = times.whole(recipe.epochs)
    long = f"about {duration(seconds)}" if seconds >= 5 else "a few seconds"
    if recipe.trained == "head" or not recipe.epochs:
        return f"{long} on this machine"
    epochs = counted(recipe.epochs, "epoch")
    return f"{long} on this machine: {epochs} at {times.speed:.0f} photos a second"


def _seconds_an_answer(run: Run) -> float:
    """Return the seconds of one photo in evaluation, decoding included."""
    split, seen, answer = run.splits.selection, run.config.preprocessing, run.trainer.predictor()
    whole = min(ANSWERED, len(split)) // BATCH * BATCH or len(split)
    predict_split(answer, sample(split, min(whole, BATCH), 0), seen)  # it is compiled
    started = time.monotonic()
    predict_split(answer, sample(split, whole, 0), seen)
    return (time.monotonic() - started) / whole


def _seconds_a_photo(run: Run) -> tuple[float, float]:
    """Return the seconds of one photo in a step of later epochs, with photos held in memory and
    views made beside steps; and of one view whose maps are cached."""
    recipe, trainer = run.recipe, run.trainer
    batch_size = min(recipe.batch_size, len(run.splits.train))
    few = sample(run.splits.train, WARMING * batch_size, 0)
    targets = run.targets_of(few)
    average = Average(recipe.averaging.decay, recipe.averaging.breadth)
    # Longer than it is followed: views are made ahead, and the last steps must not find them ready.
    ahead = -(-AHEAD * workers() // batch_size)
    order = np.random.default_rng(0).permutation(len(few))
    order = np.resize(order, (WARMING + COUNTED + ahead) * batch_size)
    started = time.monotonic()
    with undone(run, few, recipe) as (photos, views):
        made = min(recipe.cache.views, max(1, recipe.epochs)) * len(few)
        a_map = 0.0 if views is photos else (time.monotonic() - started) / made
        # Of the last epoch: its pictures are the largest.
        todo = views.batches(chunked(order, batch_size), max(0, recipe.epochs - 1))
        times = [time.monotonic()]
        for step, (pictures, indices) in enumerate(islice(todo, WARMING + COUNTED)):
            trainer.step(*targets.make(pictures, indices, 0, step), 0.0)
            if recipe.averaging.decay:
                average.update(trainer.dump())
            times.append(time.monotonic())
            if times[-1] - times[0] > LONGEST and len(times) > 3:
                break
    return float(median(np.diff(times)[-COUNTED:])) / batch_size, a_map
