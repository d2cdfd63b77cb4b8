"""The training loop, to be read from top to bottom: one for every edition."""

import time

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.batches import epoch_order
from mobilenetv2.data.dataset import Split
from mobilenetv2.errors import RunError
from mobilenetv2.evaluate.calibration import measure_tempered
from mobilenetv2.evaluate.metrics import Metrics
from mobilenetv2.evaluate.predictions import Predictions, predict_split
from mobilenetv2.evaluate.run_record import best_epoch
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.progress import say, track
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train import schedule, targets, tensorboard
from mobilenetv2.train.average import Average
from mobilenetv2.train.checkpoint import Checkpoint
from mobilenetv2.train.epochs import Row, Sums, describe, out_of_patience
from mobilenetv2.train.interrupt import Stopped, stop_on_interrupt
from mobilenetv2.train.memory import guarded
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.record import RunFolder
from mobilenetv2.train.trainer import Trainer
from mobilenetv2.train.views import Views

SAVED_EVERY = 300.0
"""Seconds between checkpoints within an epoch: what a power cut costs at most."""


def fit(
    trainer: Trainer,
    config: ModelConfig,
    train: Split,
    selection: Split,
    views: Views,
    recipe: Recipe,
    run: RunFolder,
    saved: Checkpoint | None = None,
    teacher: targets.Teacher | None = None,
    first: Row | None = None,
) -> list[Row]:
    """Train; ``run.best`` and ``run.last`` hold the result.

    Args:
        trainer: with the weights to start from.
        config: of the network; it goes into the model folders.
        views: of the photos of ``train``.
        saved: go on from there.
        first: the figures of the weights to start from, where these are already worth keeping.

    Returns:
        The rows of ``metrics.csv``.

    Raises:
        Stopped: Ctrl-C; the checkpoint holds the position within the epoch.
        RunError: the loss or a weight is not a number, or memory is out.
    """  # fmt: skip
    average = Average(recipe.ema_decay, recipe.ema_breadth) if recipe.ema_decay else None
    batch_size = min(recipe.batch_size, len(train))
    steps = len(train) // batch_size
    labels = np.array([photo.label for photo in train.photos], np.int64)

    rows: list[Row] = []
    epoch, step, sums, before = 0, 0, Sums(), 0.0
    if saved:
        trainer.restore(saved.trainer)
        if average:
            average.restore(saved.average, saved.averaged_steps)
        rows, epoch, step, sums = saved.rows, saved.epoch, saved.step, Sums(*saved.sums)
        before = saved.seconds
    elif first and recipe.epochs:
        rows.append(first)
        store.save(run.best, config, trainer.dump())

    def save(seconds: float) -> None:
        state = trainer.state()
        if not finite(state):  # the one before it is worth keeping
            raise diverged(recipe, run, epoch)
        Checkpoint(
            config, recipe.to_toml(), state, average.arrays if average else {},
            average.steps if average else 0, rows, epoch, step, sums.values, seconds,
        ).write(run.checkpoint)  # fmt: skip

    with stop_on_interrupt() as stop:
        while epoch < recipe.epochs and not out_of_patience(rows, recipe):
            started = saved_at = time.monotonic()
            order = epoch_order(labels, recipe.seed, epoch, recipe.balance)
            todo = views.batches(order, epoch, batch_size, start=step, drop_last=True)
            label = f"epoch {epoch + 1}/{recipe.epochs}"
            for pictures, indices in track(todo, label, (steps - step) * batch_size, batch_size):
                random = np.random.default_rng([recipe.seed, epoch, step, 3])
                pictures, wanted = targets.make(
                    pictures, labels[indices], len(train.classes), recipe, teacher, random
                )
                trainer.thaw(epoch + step / steps)
                rate = rate_of(recipe, epoch * steps + step, steps)
                with guarded(f"a step of {len(pictures)} pictures"):
                    loss, right = trainer.step(pictures, wanted, rate)
                if average:
                    average.update(trainer.dump())
                sums.add(loss, right, len(indices))
                step += 1
                if not np.isfinite(sums.loss):
                    raise diverged(recipe, run, epoch)
                now = time.monotonic()
                if stop():
                    save(before + now - started)
                    raise Stopped
                if now - saved_at > SAVED_EVERY:
                    save(before + now - started)
                    saved_at = now
            seconds = before + time.monotonic() - started
            # Judging goes by what is frozen; a run that stopped here and goes on took no step yet.
            trainer.thaw(epoch + step / steps)
            judged = average.arrays if average else trainer.dump()
            if not finite(judged):
                raise diverged(recipe, run, epoch)
            judged, measured = judge(
                trainer, judged, config, selection, views, labels, recipe, epoch
            )
            rows.append(
                {
                    "epoch": epoch + 1,
                    "learning_rate": rate_of(recipe, (epoch + 1) * steps - 1, steps),
                    "train_loss": sums.loss / sums.count, "train_top1": sums.right / sums.count,
                    "selection_loss": measured.loss, "selection_top1": measured.top1,
                    "seconds": seconds,
                    "images_per_second": steps * batch_size / seconds,
                }
            )  # fmt: skip
            say(describe(rows[-1], recipe.epochs))
            epoch, step, sums, before = epoch + 1, 0, Sums(), 0.0
            if best_epoch(rows) == epoch:
                store.save(run.best, config, judged)
            store.save(run.last, config, judged)
            run.write_metrics(rows)
            save(before)
            if recipe.tensorboard:
                tensorboard.log(rows[-1], run.path / "tensorboard")
            if stop():
                raise Stopped
    if epoch < recipe.epochs:
        say(f"no better epoch for {recipe.patience}: stopped early")
    return rows


def rate_of(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of a step of the run.

    Args:
        steps: of an epoch.
    """
    whole = recipe.epochs * steps
    warmup = min(round(recipe.warmup_epochs * steps), whole)
    if recipe.schedule != "cosine":
        peak = recipe.learning_rate
        factor = recipe.epoch_factor if recipe.schedule == "exponential" else 1.0
        return schedule.exponential(step, steps, warmup, peak, factor)
    return schedule.cosine(step, whole, warmup, recipe.learning_rate)


def finite(arrays: Arrays) -> bool:
    """Whether every number in there is one."""
    return all(np.isfinite(array).all() for array in arrays.values())


def diverged(recipe: Recipe, run: RunFolder, epoch: int) -> RunError:
    """What to say of a run that fell apart."""
    text = (
        f"the loss or a weight is not a number in epoch {epoch + 1}; begin again with a lower "
        f"learning_rate than {recipe.learning_rate:g} (--set learning_rate=...)"
    )
    return RunError(
        f"{text}; {run.last} is as the epoch before left it" if run.last.is_dir() else text
    )


def judge(
    trainer: Trainer,
    arrays: Arrays,
    config: ModelConfig,
    selection: Split,
    views: Views,
    labels: NDArray,
    recipe: Recipe,
    epoch: int,
) -> tuple[Arrays, Metrics]:
    """The weights as they are saved, and how good they are on the selection photos, tempered.

    The trainer goes on with its own weights afterwards.

    Args:
        labels: int64, of the photos of ``views``.
    """
    current = trainer.dump()
    trainer.load(arrays)
    if recipe.reestimate and recipe.batch_norm == "adapt":
        # In the epoch's order: a split is sorted by class, and its first photos are of one.
        order = epoch_order(labels, recipe.seed, epoch)[: recipe.reestimate]
        whole = len(order) >= recipe.batch_size  # BatchNorm cannot measure a rest of one picture
        todo = views.batches(order, epoch, recipe.batch_size, drop_last=whole)
        trainer.reestimate(pictures for pictures, _ in track(todo, "BatchNorm", len(order)))
        arrays = trainer.dump()
    logits, truth = predict_split(trainer.predictor(), selection, config.preprocessing, "selection")
    trainer.load(current)
    return arrays, measure_tempered(Predictions(logits, truth, selection.classes))
