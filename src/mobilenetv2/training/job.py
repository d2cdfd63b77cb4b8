"""The job, which is the input of a training run, and the run, which has its state and result."""

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.dataset import Split
from mobilenetv2.evaluation import plots
from mobilenetv2.evaluation.metrics import Metrics
from mobilenetv2.evaluation.predictions import Predictions, Predictor, predict_split
from mobilenetv2.evaluation.report.html import element
from mobilenetv2.evaluation.report.page import CONFUSION
from mobilenetv2.evaluation.report.words import first_sentence, right_of, split_words
from mobilenetv2.evaluation.run_record import best_epoch, epochs_of
from mobilenetv2.runtime.bulk import BATCH
from mobilenetv2.runtime.classifier import Classifier
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import counted, interval, percent
from mobilenetv2.training.checkpoint import Checkpoint, Row
from mobilenetv2.training.distributed import ALONE, Group
from mobilenetv2.training.folder import RunFolder
from mobilenetv2.training.inputs import Targets, Teacher
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.splits import Splits
from mobilenetv2.training.steps import Trainer


@dataclass(frozen=True, slots=True)
class Job:
    """A training job: the data, the initial weights, the recipe and the output."""

    data: str
    """Folder, archive or table of photos, or 'digits'."""
    output: Path | None
    """Run folder; None for ``runs/NAME``, numbered."""
    weights: str | Path | None
    """Folder or name of the model to start from; None for training from scratch."""
    recipe: Recipe
    edition: str = "torch"
    """Framework that trains: 'torch', 'keras' or 'jax'."""
    device: str = "cpu"
    resume: bool = False
    overwrite: bool = False
    kept: frozenset[str] | None = None
    """Recipe keys that the user set; other keys may be adapted to the data. None if no key may be
    adapted."""
    find_rate: bool = False
    """True to take the learning rate from a trial."""
    minutes: float | None = None
    """Minutes that the epochs should take on this machine; None for the recipe's epochs."""
    private: bool = False
    """True to leave photos and paths out of report, summary and figures."""
    default_weights: bool = False
    """True if ``weights`` is the published default, not a choice of the user."""
    ignore: tuple[str, ...] = ()
    """Patterns of names in the data that are passed over."""
    zip_encoding: str | None = None
    """Encoding of names in an archive that are not marked as UTF-8."""
    deterministic: bool = False
    """True to compute in one thread, so that the number of cores does not change the result."""
    launch: str = ""
    """Name of the job of ``torchrun`` that this process belongs to, with a hash of its options; ''
    without one."""


class Trial(NamedTuple):
    """The result of a learning-rate finder: the loss at rising learning rates."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Smoothed losses."""
    suggestion: float
    """Suggested learning rate, to two digits."""


@dataclass(slots=True, repr=False)
class Run:
    """A training run, which :func:`training.run.train` returns when it is finished.

    ``best`` is the model folder, ``metrics`` has the final figures, ``summary`` is a short text
    about the result, and ``report`` is the path of the full report.
    """

    job: Job
    """Job of this run."""
    files: RunFolder
    """Paths in the run folder."""
    recipe: Recipe
    """Recipe, with the keys that were adapted to the photos."""
    config: ModelConfig
    """Config of the network; of ``best``, with the final figures, when the run is finished."""
    splits: Splits
    """Photos of the training, validation and test split."""
    trainer: Trainer
    """Network in training."""
    teacher: Teacher | None = None
    """Teacher for distillation; None without one."""
    saved: Checkpoint | None = None
    """Checkpoint that a resumed run continues from; None for a new run."""
    trial: Trial | None = None
    """Result of the learning-rate finder; None without ``find_rate``."""
    fitted: Row | None = None
    """Figures of the classifier that was fitted before the network is trained; None without it."""
    rows: list[Row] = field(default_factory=list)
    """Rows of ``metrics.csv``, one for each epoch."""
    figures: dict[str, Metrics] = field(default_factory=dict)
    """Final figures by split: 'train' (a sample), 'selection' and the test split."""
    started: float = field(default_factory=time.monotonic)
    """Time of the start, in seconds of a monotonic clock."""
    seconds: float = 0.0
    """Duration of the finished run in seconds; for a resumed run, at least that of its epochs."""
    group: Group = ALONE
    """Processes that train this run; its first one writes the run folder."""

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.files.path

    @property
    def best(self) -> Path:
        """The model folder of the best epoch: the MODEL of all commands."""
        return self.files.best

    @property
    def report(self) -> Path:
        """Path of the full report, an HTML page."""
        return self.files.report

    @property
    def summary(self) -> str:
        """Short text about the result, from ``summary.md``.

        Raises:
            OSError: the run is not finished, or its folder was removed.
        """
        return self.files.summary.read_text("utf-8")

    @property
    def metrics(self) -> Mapping[str, float]:
        """Final figures, such as 'validation.top1' and 'validation.loss'; shares are 0 to 1."""
        return self.config.metrics

    @property
    def held_out(self) -> str:
        """Name of the test split: 'validation' or 'test', after its folder."""
        return self.splits.held_out.name

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return epochs_of(self.rows)

    def classifier(self) -> Classifier:
        """Return the best model as a classifier of photos, which needs no training framework."""
        return Classifier(self.best)

    def __repr__(self) -> str:
        found = self.figures.get(self.held_out) if self.figures else None
        how = right_of(found) if found else "not finished"
        return f"<Run {self.folder}: {how}, {counted(self.epochs, 'epoch')}>"

    def _repr_html_(self) -> str:
        """Return a notebook's view: first sentence, figures of each split, confusion matrix."""
        if self.held_out not in self.figures:
            return element("p", repr(self))
        head = [element("th", title) for title in ("", "photos", "top-1 accuracy", "95% interval")]
        rows = [
            element(
                "tr", element("th", split_words(name)), element("td", f"{found.images:,}"),
                element("td", percent(found.accuracy)),
                element("td", interval(found.accuracy_interval)),
            )
            for name, found in self.figures.items()
        ]  # fmt: skip
        picture = self.folder / CONFUSION
        shown = None
        if picture.is_file():
            data = base64.b64encode(picture.read_bytes()).decode()
            shown = element("img", src=f"data:image/png;base64,{data}", alt="confusion matrix")
        return element(
            "div",
            element("p", element("b", first_sentence(self.figures[self.held_out])),
                    f" The model is {self.best}."),
            element("table", element("tr", head), rows), shown,
        )  # fmt: skip

    @property
    def moved(self) -> bool:
        """True if the best checkpoint is of a training epoch, not of the fitted classifier."""
        return bool(self.rows) and best_epoch(self.rows) > 0

    @property
    def fits_head(self) -> bool:
        """True if the classifier is fitted on cached features first."""
        asked = self.recipe.trained == "head" or self.recipe.classifier.fit_first
        return bool(self.job.weights and asked and not self.saved)

    @property
    def out_of_patience(self) -> bool:
        """True if the last ``patience`` epochs had no lower validation loss."""
        if not (self.rows and self.recipe.patience):
            return False
        return self.rows[-1]["epoch"] - max(1, best_epoch(self.rows)) >= self.recipe.patience

    def targets_of(self, split: Split) -> Targets:
        """Return the training targets of a split."""
        labels = np.array([photo.label for photo in split.photos], np.int64)
        outputs = self.config.spec.classifier.outputs
        return Targets(labels, len(split.classes), self.recipe, self.teacher, outputs)

    def predict(self, split: Split, label: str) -> Predictions:
        """Return the network's predictions for a split, in evaluation mode.

        Args:
            split: the photos.
            label: name of the progress bar.
        """
        logits, truth = self.answers(self.trainer.predictor(), split, label)
        return Predictions(logits, truth, split.classes, self.config.spec.classifier.outputs)

    def answers(self, predictor: Predictor, split: Split, label: str) -> tuple[NDArray, NDArray]:
        """Return what a predictor says of all photos of a split, of which each process reads a
        part.

        Parts are whole batches, so that each photo is computed with the same others as in one
        process.

        Args:
            predictor: the same network in every process.
            split: the photos.
            label: name of the progress bar.

        Returns:
            (outputs, float32 (photos, outputs); labels of the split, int64 (photos,)).
        """
        seen, part = self.config.preprocessing, self.group.part(len(split), BATCH)
        mine = split if self.group.size == 1 else split.with_photos(split.photos[part])
        outputs = predict_split(predictor, mine, seen, label)[0] if len(mine) else None
        found = [some for some in self.group.gather(outputs) if some is not None]
        labels = np.array([photo.label for photo in split.photos], np.int64)
        return np.concatenate(found), labels

    def begin(self) -> None:
        """Make the run folder and write its first files, in the first process."""
        self.group.first(self._begin)

    def _begin(self) -> None:
        job, computes = self.job, None if self.recipe.trained == "head" else self.trainer.computes
        weights = None if job.weights is None else Path(job.weights)
        self.files.begin(
            self.recipe,
            self.splits.parts,
            job.data,
            weights,
            job.edition,
            computes,
            job.private,
            job.ignore,
            job.zip_encoding,
            job.deterministic,
            job.launch,
        )
        if self.trial:
            plots.rates(*self.trial, self.folder / "learning-rate.png")

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            "run": str(self.folder), "model": str(self.best), "held_out": self.held_out,
            "epochs": self.epochs, "seconds": self.seconds, "metrics": self.metrics,
        }  # fmt: skip
