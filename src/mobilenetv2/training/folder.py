"""The run folder: recipe, metrics, split, plots, checkpoint, models, summary.

Every file in it is written atomically, so a kill at any moment leaves a folder to resume from.
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
from mobilenetv2.errors import RunError, require
from mobilenetv2.evaluation import plots
from mobilenetv2.evaluation.run_record import METRICS, RECIPE, SPLIT, START
from mobilenetv2.files import recover, sweep, write_atomically
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.progress import say
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.recipe_file import parse_recipe, recipe_toml
from mobilenetv2.training.steps import State, TrainedEdition

RUNS = "runs"
"""The folder of run folders that nobody named, in the working directory."""
Row = dict[str, float]
"""The figures of an epoch, a row of ``metrics.csv``."""
COLUMNS = (
    "epoch", "learning_rate", "train_loss", "train_top1", "selection_loss", "selection_top1",
    "seconds", "images_per_second",
)  # fmt: skip


class Start(NamedTuple):
    """The beginning of a run, as ``start.json`` has it."""

    weights: Path | None
    """The model folder it started from; None: from scratch."""
    edition: TrainedEdition
    private: bool
    """True: photos and paths stay out of the report."""


class RunFolder:
    """The paths of a run, and what is written there while it goes on.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.best, self.last = path / "best", path / "last"
        """Models of the epoch with the lowest validation loss, and of the last one."""
        self.checkpoint = path / "checkpoint.safetensors"
        """The file that resuming needs."""
        self.maps = path / "maps.npy"
        """Cached maps of the frozen blocks, where only the later ones train; gone at the end."""
        self.recipe, self.start = path / RECIPE, path / START
        """The recipe as it was run; the data, weights, edition and precision of the start."""
        self.split = path / SPLIT
        """The table of photos and their splits."""
        self.report, self.summary = path / "report.html", path / "summary.md"
        """All of the result on one page, and in words: a run that has its summary is finished."""

    def write_metrics(self, rows: Sequence[Row]) -> None:
        """Write ``metrics.csv``, one row an epoch, and ``curves.png``. The validation loss is the
        temperature-scaled one, whether the run ends calibrated or not."""
        table = [{k: f"{row[k]:.6g}" for k in COLUMNS} for row in rows]
        write_atomically(self.path / METRICS, _csv(COLUMNS, [row.values() for row in table]))
        if rows:
            plots.curves(rows, self.path / "curves.png")

    def log_tensorboard(self, row: Row) -> None:
        """Write an epoch's figures for TensorBoard, in a file of its own: a resumed run goes on."""
        from torch.utils.tensorboard import SummaryWriter

        # Epochs of a run that was resumed earlier are replaced by those that come now.
        step, folder = int(row["epoch"]), str(self.path / "tensorboard")
        with SummaryWriter(folder, purge_step=step, filename_suffix=f".epoch{step}") as writer:
            for name, value in row.items():
                if name != "epoch":
                    part, _, figure = name.partition("_")
                    known = part in ("train", "selection")
                    writer.add_scalar(f"{figure}/{part}" if known else f"run/{name}", value, step)

    def begin(
        self, recipe: Recipe, splits: Sequence[Split], data: str, weights: Path | None,
        edition: str, computes: str | None, private: bool = False,
    ) -> None:  # fmt: skip
        """Make the folder. Called once everything that can be checked has been checked.

        The recipe is written first: a kill from then on leaves a folder that may be overwritten.
        ``start.json`` is written last: a folder that has it can be resumed.

        Args:
            data: recorded so that it can be found from anywhere.
            computes: the numbers and the device of a step, for the report.
            private: recorded, so that a resumed run keeps photos out of its report, too.
        """
        if self.recipe.is_file():  # open_run allowed it to be overwritten
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        started = {
            "data": absolute_place(data),
            "weights": str(weights.resolve()) if weights else None,
            "edition": edition,
            "computes": computes,
            **({"private": True} if private else {}),
        }
        rows = [(s.name, s.classes[photo.label], photo.name) for s in splits for photo in s.photos]
        try:
            write_atomically(self.recipe, recipe_toml(recipe))
            write_atomically(self.split, _csv(("split", "class", "photo"), rows))
            write_atomically(self.start, json.dumps(started, indent=2) + "\n")
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def read_start(self) -> "Start":
        """Return what the run was started with.

        Raises:
            RunError: there is no such record, or it names an edition that cannot train.
        """
        try:
            started = json.loads(self.start.read_text("utf-8"))
            weights, edition = started["weights"], str(started.get("edition", "torch"))
            if edition not in get_args(TrainedEdition):
                raise ValueError(f"edition {edition!r} is unknown")
            private = bool(started.get("private", False))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"{self.start}: does not say what the run started from ({error}); "
                "begin it again with overwrite"
            ) from None
        return Start(Path(weights) if weights else None, cast(TrainedEdition, edition), private)

    def read_checkpoint(self, recipe: Recipe) -> "Checkpoint | None":
        """Return where the run stands, None before the first checkpoint.

        Raise RunError if the checkpoint is of another recipe.
        """
        if not self.checkpoint.is_file():
            return None
        saved = Checkpoint.load(self.checkpoint)
        if saved.recipe != recipe:
            raise RunError(
                f"{self.checkpoint}: belongs to another recipe than {self.recipe}; begin a new run"
            )
        return saved


def open_run(path: Path, resume: bool = False, overwrite: bool = False) -> RunFolder:
    """Return the folder of a new run, or of one to continue. Nothing is written yet.

    Raises:
        PermissionError: nothing may be written there.
        RunError: it exists and neither ``resume`` nor ``overwrite`` was asked for, or there is
            no run to resume, or it is finished.
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
                f"{path} exists; choose another output, or give resume to continue it or overwrite "
                "to replace it"
            )
        if not folder.recipe.is_file():
            raise RunError(f"{path}: not a run folder (it has no recipe.toml), so not overwritten")
    return folder


@contextmanager
def new_folder(data: str) -> Iterator[Path]:
    """Make ``runs/NAME``, NAME after the data, and yield it; ``runs/NAME-2`` ... where it exists.

    The folder is claimed by making it, so that two runs that begin together never share one. It is
    removed at the end if nothing was written into it.

    Raises:
        RunError: it would lie among the photos.
    """
    place = Path(data).absolute()  # a link keeps its name
    place = place.resolve() if ".." in place.parts else place
    name = data if data == BUILT_IN else (place.stem if place.is_file() else place.name)
    runs = Path(RUNS)
    if data != BUILT_IN and runs.resolve().is_relative_to(place.resolve()):
        raise RunError(
            f"{runs / name}: the run would lie among the photos of {data}; choose another output"
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
            with suppress(OSError):  # it is not empty: the run has begun
                folder.rmdir()


def require_tensorboard() -> None:
    """Raise MissingExtra without TensorBoard, or without PyTorch, which has its writer."""
    require("tensorboard")
    require("torch")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state that the rest of a run depends on: written after every epoch, every few minutes
    and on Ctrl-C, as arrays and JSON, read as data."""

    config: ModelConfig
    recipe: Recipe
    trainer: State
    average: Arrays
    """The EMA weights; empty without averaging."""
    averaged_steps: int
    rows: list[Row]
    """Rows of ``metrics.csv`` so far."""
    epoch: int
    step: int
    """Steps done within the epoch."""
    sums: list[float]
    """Loss, right answers and count of the epoch so far."""
    seconds: float
    """Seconds of the epoch's steps so far."""

    def save(self, path: Path) -> None:
        """Write the checkpoint; an existing file is replaced as a whole, or not at all."""
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
        """Read what :meth:`save` wrote; raise RunError if it is damaged."""
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
