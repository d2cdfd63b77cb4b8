"""The training loop of all editions."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType

import numpy as np

from mobilenetv2.data.batches import chunked, epoch_order
from mobilenetv2.errors import MobileNetV2Error, RunError, Stopped
from mobilenetv2.evaluation.calibration import measure_tempered
from mobilenetv2.evaluation.metrics import Metrics
from mobilenetv2.evaluation.run_record import best_epoch
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.progress import say, track
from mobilenetv2.training.checkpoint import Checkpoint, Row, damaged
from mobilenetv2.training.inputs import PhotoViews, step_inputs
from mobilenetv2.training.job import Run
from mobilenetv2.training.schedule import learning_rate
from mobilenetv2.training.splits import epoch_photos
from mobilenetv2.training.steps import State, shown_loss

SAVED_EVERY = 300.0
"""Seconds between checkpoints within an epoch."""


def fit(run: Run) -> None:
    """Run the remaining epochs, and write the models ``run.best`` and ``run.files.last``.

    Raises:
        Stopped: Ctrl-C; the checkpoint has the position within the epoch.
        RunError: the loss or a weight is not a number, or the memory does not suffice.
    """
    if run.saved:
        run.rows = run.saved.rows
        if run.saved.epoch >= run.recipe.epochs or run.out_of_patience:
            return
    loop = Loop(run)
    if run.fitted and run.recipe.epochs and not run.saved:
        run.rows = [run.fitted]
        run.group.first(lambda: store.save(run.best, run.config, run.trainer.dump()))
    asked = run.group.launcher.asked
    with nullcontext(asked) if asked else stop_on_interrupt() as stop:
        while loop.epoch < run.recipe.epochs and not run.out_of_patience:
            loop.train_epoch(stop)
            loop.finish_epoch()
            if any(run.group.any(stop())):
                raise Stopped(run.folder)
    run.group.first(lambda: run.files.maps.unlink(missing_ok=True))
    if loop.epoch < run.recipe.epochs:
        say(f"stopped early: no lower validation loss for {run.recipe.patience} epochs")


class Loop:
    """The epochs of a run, with the position in them."""

    def __init__(self, run: Run) -> None:
        self.run, self.trainer, recipe = run, run.trainer, run.recipe
        averaging = recipe.averaging
        self.average = Average(averaging.decay, averaging.breadth) if averaging.decay else None
        self.epoch, self.step, self.seconds = 0, 0, 0.0
        self.sums = np.zeros(3)
        """Sums over the epoch so far: loss, correct answers, photos."""
        photos = PhotoViews(run.splits.train, run.config.preprocessing, recipe)
        self.batch_size = min(recipe.batch_size, len(photos))
        self.steps = len(photos) // self.batch_size
        if saved := run.saved:
            saved.check_place(run.files.checkpoint, self.steps, self.batch_size)
            try:
                self.trainer.restore(saved.trainer)
            except Exception as error:  # of the framework, which has many classes
                raise damaged(run.files.checkpoint, error) from None
            if self.average:
                self.average.arrays, self.average.steps = saved.average, saved.averaged_steps
            self.epoch, self.step, self.seconds = saved.epoch, saved.step, saved.seconds
            self.sums = np.array(saved.sums, float)
        # After the weights are restored, since cached feature maps are computed with them.
        self.views = self.trainer.views(photos, run.files.maps)
        self.targets = run.targets_of(run.splits.train)

    def train_epoch(self, stop: Callable[[], bool]) -> None:
        """Run the remaining steps of the epoch."""
        recipe, trainer = self.run.recipe, self.trainer
        saved_at, before = time.monotonic(), self.seconds
        started = saved_at - before
        order = epoch_photos(self.run.splits.train, self.targets.labels, recipe, self.epoch)
        chunks = chunked(order, self.batch_size, self.step, drop_last=True)
        todo = step_inputs(
            self.views, self.targets, chunks, self.epoch, trainer.rows, self.step
        )  # fmt: skip
        label = f"epoch {self.epoch + 1}/{recipe.epochs}"
        left = (self.steps - self.step) * self.batch_size
        for pictures, wanted in track(todo, label, left, self.batch_size):
            trainer.thaw(self.epoch + self.step / self.steps)
            rate = learning_rate(recipe, self.epoch * self.steps + self.step, self.steps)
            with out_of_memory_guard(f"a step of {len(pictures)} images"):
                loss, right = trainer.step(pictures, wanted, rate, self.batch_size)
            if self.average and self.run.group.writes:
                self.average.update(trainer.dump())
            loss = shown_loss(loss, self.run.config.spec)
            self.sums += (loss * self.batch_size, right, self.batch_size)
            self.step += 1
            if not np.isfinite(self.sums[0]):
                raise self.diverged()
            now = time.monotonic()
            self.seconds = now - started
            # One process was asked, or was the first to find it late; all do the same.
            asked, late = self.run.group.any(stop(), now - saved_at > SAVED_EVERY)
            if asked:
                self.save()
                raise Stopped(self.run.folder)
            if late:
                self.save()
                saved_at = now
        self.seconds = time.monotonic() - started

    def finish_epoch(self) -> None:
        """Evaluate the epoch, and write figures, models and the checkpoint."""
        run, recipe = self.run, self.run.recipe
        # The evaluation depends on the frozen layers; a run resumed here has not set them yet.
        self.trainer.thaw(self.epoch + self.step / self.steps)
        average = self.average
        arrays, measured = self.judge(
            run.group.first(lambda: average.arrays if average else self.trainer.dump())
        )
        run.rows.append(run.group.first(lambda: self._row(measured)))
        say(describe_epoch(run.rows[-1], recipe.epochs))
        self.epoch, self.step, self.seconds, self.sums = self.epoch + 1, 0, 0.0, np.zeros(3)
        run.group.first(lambda: self._write(arrays))
        self._tell_launcher()

    def _row(self, measured: Metrics) -> Row:
        """Return the figures of the epoch, whose steps are done."""
        recipe = self.run.recipe
        loss, right, count = self.sums.tolist()
        rate = learning_rate(recipe, (self.epoch + 1) * self.steps - 1, self.steps)
        return {
            "epoch": self.epoch + 1, "learning_rate": rate,
            "train_loss": loss / count, "train_top1": right / count,
            "selection_loss": measured.loss, "selection_top1": measured.top1,
            "seconds": self.seconds,
            "images_per_second": self.steps * self.batch_size / self.seconds,
        }  # fmt: skip

    def _write(self, arrays: Arrays) -> None:
        """Write figures, models and the checkpoint of the epoch that is finished."""
        run = self.run
        if best_epoch(run.rows) == self.epoch:
            store.save(run.best, run.config, arrays)
        store.save(run.files.last, run.config, arrays)
        run.files.write_metrics(run.rows)
        self._write_checkpoint()
        if run.recipe.tensorboard:
            run.files.log_tensorboard(run.rows[-1])

    def judge(self, arrays: Arrays) -> tuple[Arrays, Metrics]:
        """Return the weights to save, and their temperature-scaled figures on the validation split.

        The trainer has its own weights again afterwards.
        """
        if not finite(arrays):
            raise self.diverged()
        run, recipe, trainer = self.run, self.run.recipe, self.trainer
        current = run.group.first(trainer.dump)
        trainer.load(arrays)
        if recipe.averaging.reestimate and recipe.freezing.batch_norm == "adapt":
            # In the epoch's order, since the first photos of a split are all of one class.
            order = epoch_order(self.targets.labels, recipe.seed, self.epoch)
            order = order[: recipe.averaging.reestimate]
            whole = len(order) >= recipe.batch_size  # BatchNorm needs more than one image
            chunks = chunked(order, recipe.batch_size, drop_last=whole)
            chunks = chunks[run.group.rank :: run.group.size]
            todo = self.views.batches(chunks, self.epoch)
            trainer.reestimate(pictures for pictures, _ in track(todo, "BatchNorm", len(order)))
            arrays = trainer.dump()
        predictions = run.predict(run.splits.selection, "validation")
        trainer.load(current)
        return arrays, run.group.first(lambda: measure_tempered(predictions))

    def save(self) -> None:
        """Write the checkpoint, in the first process."""
        self.run.group.first(self._write_checkpoint)
        self._tell_launcher()

    def _tell_launcher(self) -> None:
        run = self.run
        run.group.launcher.saved(run.group, run.folder, run.rows[-1] if run.rows else {})

    def _write_checkpoint(self) -> None:
        run, average, state = self.run, self.average, self.trainer.state()
        if not finite(state):  # keep the previous checkpoint
            raise self.diverged()
        Checkpoint(
            run.config, run.recipe, state, average.arrays if average else {},
            average.steps if average else 0, run.rows, self.epoch, self.step, self.sums.tolist(),
            self.seconds,
        ).save(run.files.checkpoint)  # fmt: skip

    def diverged(self) -> RunError:
        """Return the error for a loss or weights that are not numbers."""
        last, rate = self.run.files.last, self.run.recipe.optimizer.learning_rate
        text = (
            f"the loss or a weight is not a number in epoch {self.epoch + 1}; start again with a "
            f"lower learning_rate than {rate:g} (optimizer.learning_rate)"
        )
        return RunError(f"{text}; {last} has the previous epoch's model" if last.is_dir() else text)


class Average:
    """The exponential moving average (EMA) of the weights and BatchNorm statistics of a run.

    It is computed in NumPy on canonical arrays, so that it is the same for every edition.

    Args:
        decay: EMA decay; it is lower in the first steps.
        breadth: mean age of the averaged weights, as a share of the steps so far, until ``decay``
            limits it. 0.1 is TensorFlow's rule; with 0.5 all steps have the same weight.
            Default: 0.1.
    """

    def __init__(self, decay: float, breadth: float = 0.1) -> None:
        self.decay, self.breadth, self.steps = decay, breadth, 0
        self.arrays: Arrays = {}

    def update(self, arrays: Arrays) -> None:
        """Update the average with the weights after a step."""
        # In a short run, the initial weights must not dominate the average.
        growing = (1 + self.steps) / (1 / self.breadth + self.steps)
        kept = min(self.decay, growing) if self.steps else 0.0
        for name, array in arrays.items():
            if self.steps:
                old = self.arrays[name]
                old += (array - old) * old.dtype.type(1 - kept)
            else:
                self.arrays[name] = array.copy()
        self.steps += 1


def describe_epoch(row: Row, epochs: int) -> str:
    """Return the figures of an epoch as one line."""
    return (
        f"epoch {row['epoch']:.0f}/{epochs}: train loss {row['train_loss']:.3f} "
        f"top-1 {row['train_top1']:.1%} | validation loss {row['selection_loss']:.3f} "
        f"top-1 {row['selection_top1']:.1%} | {row['seconds']:.0f} s, "
        f"{row['images_per_second']:.0f} photos/s"
    )


def finite(arrays: State) -> bool:
    """Return True if all numbers in the arrays are finite."""
    return all(np.isfinite(array).all() for array in arrays.values())


SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns True after Ctrl-C or SIGTERM; a second one aborts.

    The previous handlers are restored at the end. Only the main thread receives signals: in another
    thread the function always returns False, and a note is printed.
    """
    if threading.current_thread() is not threading.main_thread():
        say("note: outside the main thread, Ctrl-C does not stop the training")
        yield lambda: False
        return
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        say("saving and stopping after this step (a second Ctrl-C aborts without saving)")

    # A handler that was not set by Python (None) could not be restored.
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: handler for number, handler in handlers.items() if handler is not None}
    for number in before:
        signal.signal(number, ask)
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


OUT_OF_MEMORY = (
    "out of memory", "allocate memory", "not enough memory", "resource_exhausted",
    "oom when allocating",
)  # fmt: skip
"""Phrases that identify a framework's out-of-memory error, in lower case."""


@contextmanager
def out_of_memory_guard(doing: str) -> Iterator[None]:
    """Turn the out-of-memory error of any framework into a RunError with advice.

    Args:
        doing: the work that needs the memory, such as 'a step of 32 images'.
    """
    try:
        yield
    except Exception as error:  # TensorFlow's error has no narrower class
        text = str(error).lower()
        told = isinstance(error, MobileNetV2Error)  # the message is clear already
        lacking = not told and any(words in text for words in OUT_OF_MEMORY)
        if isinstance(error, MemoryError) or lacking:
            raise RunError(
                f"out of memory in {doing}; start again with a lower batch_size or size, such as "
                "batch_size=16"
            ) from None
        raise
