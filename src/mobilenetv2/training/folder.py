"""The run folder: recipe, metrics, split, plots, checkpoint, models, summary.

Every file is written atomically, so that a run that is killed at any moment can be resumed. One
process at a time has a run: it holds the folder's lock from before the first photo is read.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple, get_args

from mobilenetv2.data.dataset import BUILT_IN, Split, absolute_place
from mobilenetv2.documents import read_table
from mobilenetv2.errors import InUse, RunError, WeightsError, argument, require
from mobilenetv2.evaluation import plots
from mobilenetv2.evaluation.run_record import METRICS, RECIPE, SPLIT, START
from mobilenetv2.files import recover, sweep, write_atomically
from mobilenetv2.locks import INSIDE, hold
from mobilenetv2.model import store
from mobilenetv2.progress import say
from mobilenetv2.spec.mapping import shown
from mobilenetv2.spec.records import Labels
from mobilenetv2.text import csv_text, escaped, json_text, quoted
from mobilenetv2.training.checkpoint import COLUMNS, Checkpoint, Row, damaged
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.recipe_file import recipe_toml
from mobilenetv2.training.steps import TrainedEdition

RUNS = "runs"
"""Folder in the working directory for runs without an ``output``."""


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
    deterministic: bool = False
    """True if the run computes in one thread."""
    launch: str = ""
    """Name of the job of ``torchrun`` that began the run, with a hash of its options; '' without
    one."""


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
        write_atomically(self.path / METRICS, csv_text(COLUMNS, [row.values() for row in table]))
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
        zip_encoding: str | None = None, deterministic: bool = False, launch: str = "",
    ) -> None:  # fmt: skip
        """Empty the folder and write the records of the start, after all input has been checked.

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
            deterministic: recorded, so that a resumed run also computes in one thread.
            launch: name of the job of ``torchrun`` with a hash of its options; recorded, so that
                its restarts go on.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self.clear()  # open_run allowed it
        started = {
            "data": escaped(absolute_place(data)),
            "weights": str(weights.resolve()) if weights else None,
            "edition": edition,
            "computes": computes,
            **({"private": True} if private else {}),
            **({"ignore": list(ignore)} if ignore else {}),
            **({"zip_encoding": zip_encoding} if zip_encoding else {}),
            **({"deterministic": True} if deterministic else {}),
            **({"launch": launch} if launch else {}),
        }
        rows = [(s.name, s.classes[photo.label], photo.name) for s in splits for photo in s.photos]
        try:
            write_atomically(self.recipe, recipe_toml(recipe))
            write_atomically(self.split, csv_text(("split", "class", "photo"), rows))
            write_atomically(self.start, json_text(started, indent=2) + "\n")
        except BaseException:
            with suppress(OSError):  # report the first error, not this one
                self.clear()
            raise

    def clear(self) -> None:
        """Remove everything but the lock.

        A kill in between leaves a folder that cannot be resumed, as its start went first, and that
        may be overwritten, as its recipe goes last.
        """
        self.start.unlink(missing_ok=True)
        entries = sorted(self.path.iterdir(), key=lambda entry: entry == self.recipe)
        for entry in entries:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != INSIDE:
                entry.unlink()

    def read_start(self) -> "Start":
        """Return the start of the run, from ``start.json``.

        Raises:
            RunError: the record is missing or damaged, or names an edition that cannot train.
        """
        try:
            started = read_table(self.start, RunError)
            weights, edition = started["weights"], started.get("edition", "torch")
            private, ignore = started.get("private", False), started.get("ignore", [])
            encoding, same = started.get("zip_encoding"), started.get("deterministic", False)
            launch = started.get("launch", "")
            if edition not in get_args(TrainedEdition):
                raise ValueError(f"edition {shown(edition)} is unknown")
            given = (text for text in (weights, encoding) if text is not None)
            texts = [*given, *ignore, launch]
            kinds = [*((text, str) for text in texts), (private, bool), (same, bool)]
            if not all(isinstance(value, kind) for value, kind in kinds):
                raise ValueError("a value is of another kind")
        except (OSError, RunError, ValueError, KeyError, TypeError) as error:
            reason = str(error).removeprefix(f"{self.start}: ")
            raise RunError(
                f"{self.start}: does not record the start of the run ({reason}); "
                f"start the run again with {argument('overwrite', True)}"
            ) from None
        return Start(
            Path(weights) if weights else None, edition, private, tuple(ignore), encoding, same,
            launch,
        )  # fmt: skip

    def read_checkpoint(self, recipe: Recipe, classes: tuple[str, ...]) -> "Checkpoint | None":
        """Return the checkpoint; None if the run has none yet.

        Args:
            recipe: the recipe of the run.
            classes: names of the classes of its data.

        Raises:
            OSError: a pipe, a device or a folder stands in its place, or a link leads nowhere.
            RunError: the checkpoint is damaged, or belongs to another recipe, to other classes or
                to other models than those beside it.
        """
        if not os.path.lexists(self.checkpoint):
            return None  # anything else that stands there is read, or an error
        saved = Checkpoint.load(self.checkpoint)
        if saved.recipe != recipe:
            raise RunError(
                f"{self.checkpoint}: belongs to another recipe than {self.recipe}; start a new run"
            )
        of, found = saved.config.labels.names, f"the data has {quoted(classes)}"
        if saved.config.labels not in (Labels.of_folders(classes), Labels(classes)):
            raise RunError(
                f"{self.checkpoint}: belongs to a run on {quoted(of)}, and {found}; start a new run"
            )
        try:
            # Only best is needed to continue; somebody may have removed last.
            last = bool(saved.epoch) and self.last.exists()
            for model in [self.best] * bool(saved.rows) + [self.last] * last:
                beside, _ = store.load(model)
                if (beside.spec, beside.labels) != (saved.config.spec, saved.config.labels):
                    raise WeightsError(f"{model}: a model of another network or other classes")
        except WeightsError as error:
            raise damaged(self.checkpoint, error) from None
        return saved


def find_run(path: Path, resume: bool = False, overwrite: bool = False) -> RunFolder:
    """Return the folder of a new run, or of one to continue, without writing anything.

    Raises:
        RunError: the folder exists without ``resume`` or ``overwrite``, or there is no unfinished
            run to resume.
    """
    folder = RunFolder(path)
    if resume:
        if not folder.recipe.is_file():
            why = f"it has no {folder.recipe.name}" if path.exists() else "there is no such folder"
            raise RunError(f"{path}: no run to resume, {why}")
        if folder.summary.is_file():
            raise RunError(f"{path}: this run is finished; its model is {folder.best}")
    elif path.exists() and not _is_empty(path):
        if not overwrite:
            raise RunError(
                f"{path}: exists already; choose another {argument('output')}, or give "
                f"{argument('resume', True)} to continue it or {argument('overwrite', True)} "
                "to replace it"
            )
        if not folder.recipe.is_file():
            raise RunError(f"{path}: not a run folder (it has no recipe.toml), so not overwritten")
    return folder


def _is_empty(path: Path) -> bool:
    """Return True for a folder with nothing but a lock, which a killed process may leave."""
    return path.is_dir() and all(entry.name == INSIDE for entry in path.iterdir())


@contextmanager
def open_run(path: Path, resume: bool = False, overwrite: bool = False) -> Iterator[RunFolder]:
    """Lock the folder of a new run, or of one to continue, and yield it.

    The folder is made if it is missing, and removed at the end if nothing was written. What a
    killed process left in a run to continue is removed.

    Raises:
        InUse: another training has the folder.
        OSError: the folder cannot be made or written.
        RunError: :func:`find_run` refuses it.
    """
    folder = RunFolder(path)
    with hold(path, inside=True, allowed=partial(find_run, path, resume, overwrite)):
        if resume:
            sweep(path)
            recover(folder.best)
            recover(folder.last)
        yield folder


@contextmanager
def new_run(data: str) -> Iterator[RunFolder]:
    """Make, lock and yield ``runs/NAME``, named after the data; ``runs/NAME-2`` ... if it exists.

    Two runs that start at the same time get different folders. The folder is removed at the end if
    nothing was written.

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
    with ExitStack() as stack:
        for number in count(1):
            path = runs / (name if number == 1 else f"{name}-{number}")
            if path.exists():
                continue
            with suppress(InUse, RunError):  # another process was faster
                folder = stack.enter_context(open_run(path))
                break
        say(f"the run folder is {path}")
        yield folder


def require_tensorboard() -> None:
    """Raise MissingExtra if TensorBoard or PyTorch, which has its writer, is not installed."""
    require("tensorboard")
    require("torch")
