"""The training loop, to be read from top to bottom: one for every edition."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.augment import augment, generator
from mobilenetv2.data.batches import batches, epoch_order
from mobilenetv2.data.dataset import Split
from mobilenetv2.errors import RunError
from mobilenetv2.evaluate.accuracy import run as run_predictor
from mobilenetv2.evaluate.metrics import measure
from mobilenetv2.progress import say, track
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train.average import Average
from mobilenetv2.train.checkpoint import Checkpoint
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.record import RunFolder
from mobilenetv2.train.schedule import cosine
from mobilenetv2.train.trainer import Trainer
from mobilenetv2.weights import store


class Stopped(Exception):
    """A person asked for the end (Ctrl-C); everything is saved."""


def fit(
    trainer: Trainer,
    config: ModelConfig,
    train: Split,
    selection: Split,
    recipe: Recipe,
    run: RunFolder,
    resume: bool,
) -> list[dict[str, float]]:
    """Train the whole network; ``run.best`` and ``run.last`` hold the result.

    Args:
        trainer: with the weights to start from.
        config: of the network; it goes into the model folders.
        resume: go on from ``run.checkpoint`` where there is one.

    Returns:
        The rows of ``metrics.csv``.

    Raises:
        Stopped: Ctrl-C; the checkpoint holds the position within the epoch.
        RunError: the loss is not a number, or the checkpoint is of another run.
    """  # fmt: skip
    height, width = (max(32, round(side * recipe.train_scale)) for side in config.spec.size)
    record = config.preprocessing
    average = Average(recipe.ema_decay) if recipe.ema_decay else None
    batch_size = min(recipe.batch_size, len(train))
    steps = len(train) // batch_size
    warmup = min(round(recipe.warmup_epochs * steps), recipe.epochs * steps)
    labels = np.array([photo.label for photo in train.photos], np.int64)

    rows: list[dict[str, float]] = []
    epoch, step, sums = 0, 0, Sums()
    if resume and run.checkpoint.is_file():
        saved = Checkpoint.read(run.checkpoint)
        if saved.recipe != recipe.to_toml():
            raise RunError(f"{run.checkpoint}: belongs to another recipe than {run.recipe}")
        trainer.restore(saved.trainer)
        if average:
            average.restore(saved.average, saved.averaged_steps)
        rows, epoch, step, sums = saved.rows, saved.epoch, saved.step, Sums(*saved.sums)

    def view(index: int) -> NDArray:
        random = generator(recipe.seed, epoch, index)
        photo = train.photos[index]
        image, name = train.image(photo), train.full_name(photo)
        return augment(image, recipe.augmentation, record, (height, width), random, name)

    def rate(step: int) -> float:
        return cosine(step, recipe.epochs * steps, warmup, recipe.learning_rate)

    def save() -> None:
        Checkpoint(
            config, recipe.to_toml(), trainer.state(), average.arrays if average else {},
            average.steps if average else 0, rows, epoch, step, sums.values,
        ).write(run.checkpoint)  # fmt: skip

    with stop_on_interrupt() as stop:
        while epoch < recipe.epochs and not out_of_patience(rows, recipe):
            started, done_before = time.monotonic(), step
            order = epoch_order(len(train), recipe.seed, epoch)
            todo = batches(view, order, batch_size, start=step, drop_last=True)
            label = f"epoch {epoch + 1}/{recipe.epochs}"
            for pictures, indices in track(todo, label, (steps - step) * batch_size, batch_size):
                loss, right = trainer.step(pictures, labels[indices], rate(epoch * steps + step))
                if average:
                    average.update(trainer.dump())
                sums.add(loss, right, len(indices))
                step += 1
                if not np.isfinite(sums.loss):
                    raise RunError(
                        f"the loss is not a number in epoch {epoch + 1}; lower learning_rate "
                        f"(now {recipe.learning_rate:g}); the last good state is in {run.path}"
                    )
                if stop():
                    save()
                    raise Stopped
            seconds = time.monotonic() - started
            current = trainer.dump()
            judged = average.arrays if average else current
            trainer.load(judged)
            logits, truth = run_predictor(trainer.predictor(), selection, record, "selection")
            trainer.load(current)
            measured = measure(logits, truth, selection.classes)
            rows.append(
                {
                    "epoch": epoch + 1, "learning_rate": rate((epoch + 1) * steps - 1),
                    "train_loss": sums.loss / sums.count, "train_top1": sums.right / sums.count,
                    "selection_loss": measured.loss, "selection_top1": measured.top1,
                    "seconds": seconds,
                    "images_per_second": (steps - done_before) * batch_size / seconds,
                }
            )  # fmt: skip
            say(describe(rows[-1], recipe.epochs))
            epoch, step, sums = epoch + 1, 0, Sums()
            if best_epoch(rows) == epoch:
                store.save(run.best, config, judged)
            store.save(run.last, config, judged)
            run.write_metrics(rows)
            save()
            if stop():
                raise Stopped
    if epoch < recipe.epochs:
        say(f"no better epoch for {recipe.patience}: stopped early")
    return rows


class Sums:
    """Loss and right answers of an epoch so far."""

    def __init__(self, loss: float = 0.0, right: float = 0, count: float = 0) -> None:
        self.loss, self.right, self.count = loss, right, count

    def add(self, loss: float, right: int, count: int) -> None:
        """One batch: mean loss, right answers, pictures."""
        self.loss += loss * count
        self.right += right
        self.count += count

    @property
    def values(self) -> list[float]:
        """What the constructor takes."""
        return [self.loss, self.right, self.count]


def describe(row: dict[str, float], epochs: int) -> str:
    """One line for one epoch."""
    return (
        f"epoch {row['epoch']:.0f}/{epochs}: train loss {row['train_loss']:.3f} "
        f"top-1 {row['train_top1']:.1%} | selection loss {row['selection_loss']:.3f} "
        f"top-1 {row['selection_top1']:.1%} | {row['seconds']:.0f} s, "
        f"{row['images_per_second']:.0f} photos/s"
    )


def best_epoch(rows: list[dict[str, float]]) -> int:
    """The epoch (from 1) with the best selection top-1, the lower loss deciding ties."""
    best = max(rows, key=lambda row: (row["selection_top1"], -row["selection_loss"]))
    return int(best["epoch"])


def out_of_patience(rows: list[dict[str, float]], recipe: Recipe) -> bool:
    """Whether the last ``patience`` epochs brought nothing better."""
    return bool(rows and recipe.patience and len(rows) - best_epoch(rows) >= recipe.patience)


@contextmanager
def stop_on_interrupt() -> Iterator[Any]:
    """Yield a function that says whether Ctrl-C (or a polite kill) came; a second one is brutal."""
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        say("stopping after this step; everything will be saved")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
