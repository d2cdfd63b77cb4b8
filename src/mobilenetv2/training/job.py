"""A job (what to train) and a run (what is known of it, while it goes on and afterwards)."""

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mobilenetv2.data.dataset import Split
from mobilenetv2.evaluation import plots
from mobilenetv2.evaluation.metrics import Metrics
from mobilenetv2.evaluation.predictions import Predictions, predict_split
from mobilenetv2.evaluation.report.html import element
from mobilenetv2.evaluation.report.page import CONFUSION
from mobilenetv2.evaluation.report.words import first_sentence, right_of, split_words
from mobilenetv2.evaluation.run_record import best_epoch, epochs_of
from mobilenetv2.runtime.classifier import Classifier
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import counted, interval, percent
from mobilenetv2.training.folder import Checkpoint, Row, RunFolder
from mobilenetv2.training.inputs import Targets, Teacher
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.splits import Splits
from mobilenetv2.training.steps import Trainer


@dataclass(frozen=True, slots=True)
class Job:
    """A training job: the data, the start, the recipe and the place of the result."""

    data: str
    """A folder, an archive, or 'digits'."""
    output: Path | None
    """The run folder; None: ``runs/NAME``, numbered."""
    weights: str | Path | None
    """The model to start from, by folder or name; None: from scratch."""
    recipe: Recipe
    edition: str = "torch"
    """The framework that trains: 'torch', 'keras' or 'jax'."""
    device: str = "cpu"
    resume: bool = False
    overwrite: bool = False
    kept: frozenset[str] | None = None
    """Keys of the recipe that a person set; the others may be chosen by the data. None: nothing is
    chosen."""
    find_rate: bool = False
    """True takes the learning rate from a trial."""
    minutes: float | None = None
    """Minutes that the epochs should fit into on this machine; None: the recipe's epochs."""
    private: bool = False
    """True leaves photos and paths out of report, summary and figures."""
    default_weights: bool = False
    """True: nobody chose the weights, they are the published default."""


class Trial(NamedTuple):
    """A trial of learning rates: the loss as the rate rose."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Losses, smoothed."""
    suggestion: float
    """The learning rate that is suggested, to two digits."""


@dataclass(slots=True, repr=False)
class Run:
    """A training run, as :func:`training.run.train` returns it once it is finished.

    ``best`` is the model, ``metrics`` has the final figures, ``summary`` says it in words, and
    ``report`` is all of it on one page.
    """

    job: Job
    """The job that this run does."""
    files: RunFolder
    """The paths inside the run folder."""
    recipe: Recipe
    """The recipe with the keys that the photos chose."""
    config: ModelConfig
    """The network's config; of ``best``, with the final figures, once the run is finished."""
    splits: Splits
    """The photos of the training, validation and test split."""
    trainer: Trainer
    """The network in training."""
    teacher: Teacher | None = None
    """The network that it learns from; None: there is none."""
    saved: Checkpoint | None = None
    """The checkpoint that an interrupted run continues from."""
    trial: Trial | None = None
    """The trial of learning rates, where one was asked for."""
    fitted: Row | None = None
    """The figures of the classifier that was fitted before the network moves."""
    rows: list[Row] = field(default_factory=list)
    """The rows of ``metrics.csv``, an epoch each."""
    figures: dict[str, Metrics] = field(default_factory=dict)
    """Split -> its final figures: a sample of 'train', 'selection', and the held-out split."""
    started: float = field(default_factory=time.monotonic)
    """Time of the start, in seconds of a monotonic clock."""
    seconds: float = 0.0
    """Seconds that the finished run took; of a resumed one, at least its epochs."""

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.files.path

    @property
    def best(self) -> Path:
        """The model folder of the best epoch, which every verb takes as MODEL."""
        return self.files.best

    @property
    def report(self) -> Path:
        """The HTML page with all of the result."""
        return self.files.report

    @property
    def summary(self) -> str:
        """The result in words, the text of ``summary.md``.

        Raises:
            OSError: the run is not finished, or its folder is gone.
        """
        return self.files.summary.read_text("utf-8")

    @property
    def metrics(self) -> Mapping[str, float]:
        """The final figures: 'validation.top1', 'validation.loss' ...; fractions, not percent."""
        return self.config.metrics

    @property
    def held_out(self) -> str:
        """The name of the split of the final figures: 'validation' or 'test'."""
        return self.splits.held_out.name

    @property
    def epochs(self) -> int:
        """Epochs that were run."""
        return epochs_of(self.rows)

    def classifier(self) -> Classifier:
        """Return the best model as a classifier of photos, which needs no training framework."""
        return Classifier(self.best)

    def __repr__(self) -> str:
        found = self.figures.get(self.held_out) if self.figures else None
        how = right_of(found) if found else "not finished"
        return f"<Run {self.folder}: {how}, {counted(self.epochs, 'epoch')}>"

    def _repr_html_(self) -> str:
        """Return the first sentence, the figures of each split and the confusion matrix."""
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
        """True where the kept checkpoint is of an epoch, not of the fitted classifier alone."""
        return bool(self.rows) and best_epoch(self.rows) > 0

    @property
    def fits_head(self) -> bool:
        """True where the classifier is fitted on features of the network as it is."""
        asked = self.recipe.trained == "head" or self.recipe.classifier.fit_first
        return bool(self.job.weights and asked and not self.saved)

    @property
    def out_of_patience(self) -> bool:
        """True where the last epochs brought nothing better."""
        if not (self.rows and self.recipe.patience):
            return False
        return self.rows[-1]["epoch"] - max(1, best_epoch(self.rows)) >= self.recipe.patience

    def targets_of(self, split: Split) -> Targets:
        """Return the targets of a split's photos in training."""
        labels = np.array([photo.label for photo in split.photos], np.int64)
        outputs = self.config.spec.classifier.outputs
        return Targets(labels, len(split.classes), self.recipe, self.teacher, outputs)

    def predict(self, split: Split, label: str) -> Predictions:
        """Run the network in evaluation mode on a split; ``label`` names the progress."""
        answer, seen = self.trainer.predictor(), self.config.preprocessing
        logits, truth = predict_split(answer, split, seen, label)
        return Predictions(logits, truth, split.classes, self.config.spec.classifier.outputs)

    def begin(self) -> None:
        """Make the run folder: the first thing that is written."""
        job, computes = self.job, None if self.recipe.trained == "head" else self.trainer.computes
        weights = None if job.weights is None else Path(job.weights)
        self.files.begin(
            self.recipe, self.splits.parts, job.data, weights, job.edition, computes, job.private
        )
        if self.trial:
            plots.rates(*self.trial, self.folder / "learning-rate.png")

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            "run": str(self.folder), "model": str(self.best), "held_out": self.held_out,
            "epochs": self.epochs, "seconds": self.seconds, "metrics": self.metrics,
        }  # fmt: skip
