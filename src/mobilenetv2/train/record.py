"""The run folder: recipe, metrics, split, pictures, checkpoint, models, summary.

Every file in it is written atomically, so a kill at any moment leaves a folder to resume from.
"""

import csv
import errno
import io
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from mobilenetv2.data.dataset import Split, absolute_place
from mobilenetv2.errors import RunError
from mobilenetv2.evaluate import plots
from mobilenetv2.files import recover, sweep, write_atomically
from mobilenetv2.train.epochs import Row
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.trainer import TrainedEdition

COLUMNS = (
    "epoch", "learning_rate", "train_loss", "train_top1", "selection_loss", "selection_top1",
    "seconds", "images_per_second",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of a run."""

    path: Path

    @property
    def best(self) -> Path:
        """The model of the best epoch on the selection photos."""
        return self.path / "best"

    @property
    def last(self) -> Path:
        """The model of the last epoch."""
        return self.path / "last"

    @property
    def checkpoint(self) -> Path:
        """Everything that resuming needs."""
        return self.path / "checkpoint.safetensors"

    @property
    def maps(self) -> Path:
        """What the frozen blocks give, where only the later ones train; gone at the end."""
        return self.path / "maps.npy"

    @property
    def recipe(self) -> Path:
        """The recipe as it was run."""
        return self.path / "recipe.toml"

    @property
    def start(self) -> Path:
        """What the run was started with: data, weights, edition, what computes."""
        return self.path / "start.json"

    @property
    def split(self) -> Path:
        """Which photo went where."""
        return self.path / "split.csv"

    @property
    def report(self) -> Path:
        """Everything that is known of the result, on one page."""
        return self.path / "report.html"

    @property
    def summary(self) -> Path:
        """What was done and how well, in words. Written last: a run that has it is finished."""
        return self.path / "summary.md"

    def write_metrics(self, rows: Sequence[Row]) -> None:
        """``metrics.csv``, one row an epoch, and ``curves.png``. The loss of selection is the one
        at the temperature that suits the epoch, whether the run ends calibrated or not."""
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{row[k]:.6g}" for k in COLUMNS} for row in rows)
        write_atomically(self.path / "metrics.csv", buffer.getvalue())
        if rows:
            plots.curves(rows, self.path / "curves.png")

    def write_trial(self, rates: Sequence[float], losses: Sequence[float], chosen: float) -> None:
        """``learning-rate.png``: what a trial of learning rates gave."""
        plots.rates(rates, losses, chosen, self.path / "learning-rate.png")

    def write_split(self, splits: Sequence[Split]) -> None:
        """``split.csv``: split, class, photo."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(("split", "class", "photo"))
        for split in splits:
            writer.writerows((split.name, split.classes[p.label], p.name) for p in split.photos)
        write_atomically(self.split, buffer.getvalue())


def open_run(path: Path, resume: bool, overwrite: bool) -> RunFolder:
    """The folder of a new run, or of one to go on with. Nothing is written yet.

    Raises:
        PermissionError: nothing may be written there.
        RunError: it exists and neither ``resume`` nor ``overwrite`` was asked for, or there is
            no run to resume, or it is finished.
    """
    run = RunFolder(path)
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(existing))
    if resume:
        if not run.recipe.is_file():
            why = f"it has no {run.recipe.name}" if path.exists() else "there is no such folder"
            raise RunError(f"{path}: no run to resume, {why}")
        if run.summary.is_file():
            raise RunError(f"{path}: this run is finished; its model is {run.best}")
        sweep(path)
        recover(run.best)
        recover(run.last)
        return run
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        if not overwrite:
            raise RunError(
                f"{path} exists; choose another --output, or give --resume to go on with it "
                "or --overwrite to replace it"
            )
        if not run.recipe.is_file():
            raise RunError(f"{path}: not a run folder (it has no recipe.toml), so not overwritten")
    return run


def start(
    run: RunFolder,
    data: str,
    weights: Path | None,
    recipe: Recipe,
    splits: Sequence[Split],
    edition: str = "torch",
    computes: str | None = None,
) -> None:
    """Make the folder. Called once everything that can be checked has been checked.

    The recipe is written first: a kill from then on leaves a folder that may be overwritten.
    ``start.json`` is written last: a folder that has it can be resumed.

    Args:
        data: recorded so that it can be found from anywhere.
        computes: the numbers and the device of a step, for the report.
    """
    if run.recipe.is_file():  # open_run allowed it to be overwritten
        shutil.rmtree(run.path)
    run.path.mkdir(parents=True, exist_ok=True)
    started = {
        "data": absolute_place(data),
        "weights": str(weights.resolve()) if weights else None,
        "edition": edition,
        "computes": computes,
    }
    try:
        write_atomically(run.recipe, recipe.to_toml())
        run.write_split(splits)
        write_atomically(run.start, json.dumps(started, indent=2) + "\n")
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)
        raise


def started_from(run: RunFolder) -> tuple[Path | None, str]:
    """The weights that a run was started with (None: from scratch), and its edition.

    Raises:
        RunError: there is no such record, or it names an edition that cannot train.
    """
    try:
        started = json.loads(run.start.read_text("utf-8"))
        weights, edition = started["weights"], str(started.get("edition", "torch"))
        if edition not in get_args(TrainedEdition):
            raise ValueError(f"edition {edition!r} is unknown")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{run.start}: does not say what the run started from ({error}); "
            "begin it again with --overwrite"
        ) from None
    return (Path(weights) if weights else None), edition
