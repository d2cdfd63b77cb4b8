"""How long a run takes on this machine: said before it begins, and what ``--minutes`` goes by."""

import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from mobilenetv2.data.batches import AHEAD, workers
from mobilenetv2.evaluate import predictions
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train import targets
from mobilenetv2.train.average import Average
from mobilenetv2.train.figures import TRAIN_SAMPLE
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.splits import Splits, some
from mobilenetv2.train.trainer import Trainer
from mobilenetv2.train.views import PhotoViews

WARMING, COUNTED = 4, 5
"""Steps of the measurement."""
LONGEST = 20.0
"""Seconds, after which steps that take long are no longer waited for."""
ANSWERED = 6 * predictions.BATCH
"""Photos of the measurement of evaluation."""


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
        """Seconds of a run of so many epochs."""
        return self.before + epochs * self.epoch + self.after

    def epochs(self, minutes: float) -> int:
        """Return the epochs that fit into so many minutes, at least one."""
        return max(1, int((60 * minutes - self.before - self.after) / self.epoch))


def measure_times(
    trainer: Trainer, config: ModelConfig, splits: Splits, recipe: Recipe,
    teacher: targets.Teacher | None, head_first: bool,
) -> Times:  # fmt: skip
    """Take a few steps and a few answers; the trainer is as before afterwards."""
    train, selection, held_out = map(len, splits.parts)
    an_answer = _seconds_an_answer(trainer, config, splits)
    before = head_first * (train + selection) * an_answer
    after = (min(TRAIN_SAMPLE, train) + selection + held_out) * an_answer
    if recipe.trained == "head":
        return Times(before, 0.0, after, 0.0)
    a_step, a_map = _seconds_a_photo(trainer, config, splits, recipe, teacher)
    before += min(recipe.cache.views, recipe.epochs) * train * a_map
    judged = selection + min(train, recipe.reestimate)
    return Times(before, train * a_step + judged * an_answer, after, 1 / a_step)


def describe_time(times: Times, recipe: Recipe) -> str:
    """Return the expected time as a sentence."""
    seconds = times.whole(recipe.epochs)
    long = f"about {seconds / 60:.0f} minutes" if seconds > 90 else f"about {seconds:.0f} seconds"
    if seconds < 5:
        long = "a few seconds"
    if recipe.trained == "head" or not recipe.epochs:
        return f"{long} on this machine"
    epochs = "1 epoch" if recipe.epochs == 1 else f"{recipe.epochs} epochs"
    return f"{long} on this machine: {epochs} at {times.speed:.0f} photos a second"


def _seconds_an_answer(trainer: Trainer, config: ModelConfig, splits: Splits) -> float:
    """Of one photo in evaluation, decoding included."""
    split = splits.selection
    whole = min(ANSWERED, len(split)) // predictions.BATCH * predictions.BATCH or len(split)
    photos, answer = some(split, whole, 0), trainer.predictor()
    predictions.predict_split(
        answer, some(photos, predictions.BATCH, 0), config.preprocessing
    )  # it is compiled
    started = time.monotonic()
    predictions.predict_split(answer, photos, config.preprocessing)
    return (time.monotonic() - started) / len(photos)


def _seconds_a_photo(
    trainer: Trainer, config: ModelConfig, splits: Splits, recipe: Recipe,
    teacher: targets.Teacher | None,
) -> tuple[float, float]:  # fmt: skip
    """Of one photo in a step as later epochs have it, with photos held in memory and views made
    beside steps; and of one view whose maps are cached."""
    before = {name: array.copy() for name, array in trainer.state().items()}
    batch_size = min(recipe.batch_size, len(splits.train))
    few = some(splits.train, WARMING * batch_size, 0)
    labels = np.array([photo.label for photo in few.photos], np.int64)
    random, average = np.random.default_rng(0), Average(recipe.ema_decay, recipe.ema_breadth)
    # Longer than it is followed: views are made ahead, and the last steps must not find them ready.
    ahead = -(-AHEAD * workers() // batch_size)
    order = np.resize(random.permutation(len(few)), (WARMING + COUNTED + ahead) * batch_size)
    with TemporaryDirectory() as folder:
        started = time.monotonic()
        photos = PhotoViews(few, config.preprocessing, recipe)
        views = trainer.views(photos, Path(folder) / "maps.npy")
        count = min(recipe.cache.views, max(1, recipe.epochs)) * len(few)
        a_map = 0.0 if views is photos else (time.monotonic() - started) / count
        # Of the last epoch: its pictures are the largest.
        todo = views.batches(order, max(0, recipe.epochs - 1), batch_size)
        times = [time.monotonic()]
        for pictures, indices in islice(todo, WARMING + COUNTED):
            pictures, wanted = targets.make(
                pictures, labels[indices], len(few.classes), recipe, teacher, random
            )
            trainer.step(pictures, wanted, 0.0)
            if recipe.ema_decay:
                average.update(trainer.dump())
            times.append(time.monotonic())
            if times[-1] - times[0] > LONGEST and len(times) > 3:
                break
    trainer.restore(before)
    return float(median(np.diff(times)[-COUNTED:])) / batch_size, a_map
