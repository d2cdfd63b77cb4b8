"""The run folder: recipe, metrics, split, plots, checkpoint, models, summary.

Every file is written atomically, so that a run that is killed at any moment can be resumed.
"""

import csv
import errno
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

import numpy as np

from mobilenetv2.data.dataset import BUILT_IN, Split, absolute_place
from mobilenetv2.errors import RunError, argument, require
from mobilenetv2.evaluation import plots
from mobilenetv2.evaluation.run_record import METRICS, RECIPE, SPLIT, START
from mobilenetv2.files import recover, sweep, write_atomically
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.progress import say
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import escaped, json_text
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.recipe_file import parse_recipe, recipe_toml
from mobilenetv2.training.steps import State, TrainedEdition

RUNS = "runs"
"""Folder in the working directory for runs without an ``output``."""
Row = dict[str, float]
"""Figures of an epoch: a row of ``metrics.csv``."""
COLUMNS = (
    "epoch", "learning_rate", "train_loss", "train_top1", "selection_loss", "selection_top1",
    "seconds", "images_per_second",
)  # fmt: skip


class Start(NamedTuple):
    """The start of a run, as recorded in ``start.json``."""

    weights: Path | None
    """Model folder of the initial weights; None for training from scratch."""
    edition: TrainedEdition
    private: bool
    """True if the report leaves out photos and paths."""
    ignore: tuple[str, ...] = ()
    """Patterns of names in the data that are passed over."""
    zip_encoding: str | None = None
    """Encoding of names in an archive that are not marked as UTF-8."""


class RunFolder:
    """The paths of a run folder, and the functions that write its files.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.best, self.last = path / "best", path / "last"
        """Model folders of the epoch with the lowest validation loss, and of the last epoch."""
        self.checkpoint = path / "checkpoint.safetensors"
        """State of the run, for resuming."""
        self.maps = path / "maps.npy"
        """Cached feature maps of the frozen blocks (``trained = 'later'``), removed at the end."""
        self.recipe, self.start = path / RECIPE, path / START
        """The recipe of the run; the data, initial weights, edition and precision."""
        self.split = path / SPLIT
        """The table of photos and their splits."""
        self.report, self.summary = path / "report.html", path / "summary.md"
        """The full report and the short summary. A run with a summary is finished."""

    def write_metrics(self, rows: Sequence[Row]) -> None:
        """Write ``metrics.csv``, with a row for each epoch, and ``curves.png``.

        The validation loss is always the temperature-scaled one, even without ``calibrate``.
        """
        table = [{k: f"{row[k]:.6g}" for k in COLUMNS} for row in rows]
        write_atomically(self.path / METRICS, _csv(COLUMNS, [row.values() for row in table]))
        if rows:
            plots.curves(rows, self.path / "curves.png")

    def log_tensorboard(self, row: Row) -> None:
        """Write an epoch's figures for TensorBoard, each epoch into a file of its own.

        A resumed run continues the same curves.
        """
        from torch.utils.tensorboard import SummaryWriter

        # Later epochs that were logged before the run was resumed are replaced.
        step, folder = int(row["epoch"]), str(self.path / "tensorboard")
        with SummaryWriter(folder, purge_step=step, filename_suffix=f".epoch{step}") as writer:
            for name, value in row.items():
                if name != "epoch":
                    part, _, figure = name.partition("_")
                    known = part in ("train", "selection")
                    writer.add_scalar(f"{figure}/{part}" if known else f"run/{name}", value, step)

    def begin(
        self, recipe: Recipe, splits: Sequence[Split], data: str, weights: Path | None,
        edition: str, computes: str | None, private: bool = False, ignore: Sequence[str] = (),
        zip_encoding: str | None = None,
    ) -> None:  # fmt: skip
        """Make the folder and write the records of the start, after all input has been checked.

        The recipe is written first: a folder with a recipe may be overwritten. ``start.json`` is
        written last: a folder with it can be resumed.

        Args:
            recipe: the recipe of the run.
            splits: the training, validation and test split, for ``split.csv``.
            data: the place of the photos; recorded as an absolute path.
            weights: the model folder of the initial weights; None for training from scratch.
            edition: the framework that trains.
            computes: the precision and device of a step, for the report; None without steps.
            private: recorded, so that a resumed run also leaves photos out. Default: False.
            ignore: patterns of names that were passed over; recorded for a resumed run.
            zip_encoding: encoding of names in an archive; recorded for a resumed run.
        """
        if self.recipe.is_file():  # open_run allowed it to be overwritten
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        started = {
            "data": escaped(absolute_place(data)),
            "weights": str(weights.resolve()) if weights else None,
            "edition": edition,
            "computes": computes,
            **({"private": True} if private else {}),
            **({"ignore": list(ignore)} if ignore else {}),
            **({"zip_encoding": zip_encoding} if zip_encoding else {}),
        }
        rows = [(s.name, s.classes[photo.label], photo.name) for s in splits for photo in s.photos]
        try:
            write_atomically(self.recipe, recipe_toml(recipe))
            write_atomically(self.split, _csv(("split", "class", "photo"), rows))
            write_atomically(self.start, json_text(started, indent=2) + "\n")
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def read_start(self) -> "Start":
        """Return the start of the run, from ``start.json``.

        Raises:
            RunError: the record is missing or damaged, or names an edition that cannot train.
        """
        try:
            started = json.loads(self.start.read_text("utf-8"))
            weights, edition = started["weights"], str(started.get("edition", "torch"))
            if edition not in get_args(TrainedEdition):
                raise ValueError(f"edition {edition!r} is unknown")
            private = bool(started.get("private", False))
            ignore = tuple(map(str, started.get("ignore", ())))
            encoding = started.get("zip_encoding")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"{self.start}: does not record the start of the run ({error}); "
                f"start the run again with {argument('overwrite', True)}"
            ) from None
        return Start(
            Path(weights) if weights else None, cast(TrainedEdition, edition), private, ignore,
            None if encoding is None else str(encoding),
        )  # fmt: skip

    def read_checkpoint(self, recipe: Recipe) -> "Checkpoint | None":
        """Return the checkpoint; None if the run has none yet.

        Raises:
            RunError: the checkpoint belongs to another recipe.
        """
        if not self.checkpoint.is_file():
            return None
        saved = Checkpoint.load(self.checkpoint)
        if saved.recipe != recipe:
            raise RunError(
                f"{self.checkpoint}: belongs to another recipe than {self.recipe}; start a new run"
            )
        return saved


def open_run(path: Path, resume: bool = False, overwrite: bool = False) -> RunFolder:
    """Return the folder of a new run, or of one to continue, without writing anything.

    Raises:
        PermissionError: the folder is not writable.
        RunError: the folder exists without ``resume`` or ``overwrite``, or there is no unfinished
            run to resume.
    """
    folder = RunFolder(path)
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(existing))
    if resume:
        if not folder.recipe.is_file():
            why = f"it has no {folder.recipe.name}" if path.exists() else "there is no such folder"
            raise RunError(f"{path}: no run to resume, {why}")
        if folder.summary.is_file():
            raise RunError(f"{path}: this run is finished; its model is {folder.best}")
        sweep(path)
        recover(folder.best)
        recover(folder.last)
        return folder
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        if not overwrite:
            raise RunError(
                f"{path}: exists already; choose another {argument('output')}, or give "
                f"{argument('resume', True)} to continue it or {argument('overwrite', True)} "
                "to replace it"
            )
        if not folder.recipe.is_file():
            raise RunError(f"{path}: not a run folder (it has no recipe.toml), so not overwritten")
    return folder


@contextmanager
def new_folder(data: str) -> Iterator[Path]:
    """Make and yield ``runs/NAME``, named after the data; ``runs/NAME-2`` ... if it exists.

    Two runs that start at the same time get different folders. The folder is removed at the end if
    it is empty.

    Raises:
        RunError: the folder would lie inside the folder of photos.
    """
    place = Path(data).absolute()  # a link keeps its name
    place = place.resolve() if ".." in place.parts else place
    name = data if data == BUILT_IN else (place.stem if place.is_file() else place.name)
    runs = Path(RUNS)
    if data != BUILT_IN and runs.resolve().is_relative_to(place.resolve()):
        raise RunError(
            f"{runs / name}: the run folder would lie among the photos of {data}; choose another "
            "output"
        )
    made_runs = not runs.exists()
    runs.mkdir(exist_ok=True)
    for number in count(1):
        path = runs / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            path.mkdir()
            break
    say(f"the run folder is {path}")
    try:
        yield path
    finally:
        for folder in (path, *([runs] if made_runs else [])):
            with suppress(OSError):  # it is not empty: the run has started
                folder.rmdir()


def require_tensorboard() -> None:
    """Raise MissingExtra if TensorBoard or PyTorch, which has its writer, is not installed."""
    require("tensorboard")
    require("torch")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The complete state of a run, for resuming.

    It is saved after every epoch, every few minutes and on Ctrl-C, as arrays and JSON.
    """

    config: ModelConfig
    recipe: Recipe
    trainer: State
    average: Arrays
    """EMA weights; empty without averaging."""
    averaged_steps: int
    rows: list[Row]
    """Rows of ``metrics.csv`` so far."""
    epoch: int
    step: int
    """Number of finished steps in the epoch."""
    sums: list[float]
    """Sums over the epoch so far: loss, correct answers, photos."""
    seconds: float
    """Seconds of training in the epoch so far."""

    def save(self, path: Path) -> None:
        """Write the checkpoint atomically; an existing file is replaced."""
        from safetensors.numpy import save

        facts = {
            "config": json.loads(self.config.to_json()), "recipe": recipe_toml(self.recipe),
            "rows": self.rows, "epoch": self.epoch, "step": self.step, "sums": self.sums,
            "averaged_steps": self.averaged_steps, "seconds": self.seconds,
        }  # fmt: skip
        tensors = {f"trainer/{name}": np.array(array) for name, array in self.trainer.items()}
        tensors |= {f"average/{name}": np.array(array) for name, array in self.average.items()}
        write_atomically(path, save(tensors, {"checkpoint": json.dumps(facts)}))

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Read a checkpoint that :meth:`save` wrote; raise RunError if it is damaged."""
        from safetensors import safe_open

        parts: dict[str, Any] = {"trainer": {}, "average": {}}
        try:
            with safe_open(path, "numpy") as file:
                facts: dict[str, Any] = json.loads(file.metadata()["checkpoint"])
                for key in file.keys():  # noqa: SIM118 - it is not a dict
                    part, _, name = key.partition("/")
                    parts[part][name] = file.get_tensor(key)
            facts["config"] = ModelConfig.from_mapping(facts["config"], str(path))
            facts["recipe"] = parse_recipe(facts["recipe"], str(path))
            return cls(**parts, **facts)
        except Exception as error:  # of the file format, of JSON, of keys, of values
            raise RunError(f"{path}: cannot be resumed from ({error})") from None


def _csv(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()
