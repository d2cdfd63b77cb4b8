"""A job (what to train) and a run (what is known of it, while it goes on and afterwards)."""

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
from mobilenetv2.evaluation.run_record import best_epoch, epochs_of
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.training.folder import Checkpoint, Row, RunFolder
from mobilenetv2.training.inputs import Targets, Teacher
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.splits import Splits
from mobilenetv2.training.steps import Trainer


@dataclass(frozen=True, slots=True)
class Job:
    """What to train, on what, and where to."""

    data: str
    output: Path
    weights: Path | None
    """A model folder to start from; None starts from scratch."""
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
    """Take the learning rate from a trial."""
    minutes: float | None = None
    """As many epochs as fit into so many minutes on this machine, instead of the recipe's."""


class Trial(NamedTuple):
    """What the loss did as the learning rate rose."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Smoothed."""
    suggestion: float
    """To two digits."""


@dataclass(slots=True)
class Run:
    """A training run. ``run.train`` returns it finished: ``best`` is its model, ``metrics`` the
    final figures, ``report`` all of it on one page."""

    job: Job
    folder: RunFolder
    recipe: Recipe
    """As the data changed it."""
    config: ModelConfig
    """Of the network; of ``best``, with the final figures, once the run is finished."""
    splits: Splits
    trainer: Trainer
    teacher: Teacher | None = None
    saved: Checkpoint | None = None
    """Where an interrupted run goes on."""
    trial: Trial | None = None
    """Of learning rates, where one was asked for."""
    fitted: Row | None = None
    """The figures of the classifier that was fitted before the network moves."""
    rows: list[Row] = field(default_factory=list)
    """Of ``metrics.csv``, an epoch each."""
    figures: dict[str, Metrics] = field(default_factory=dict)
    """By part, at the end: a sample of train, selection, and the held-out split."""
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    """That the run took, once it is finished; of a resumed one, at least its epochs."""

    @property
    def best(self) -> Path:
        """The folder of the best model."""
        return self.folder.best

    @property
    def report(self) -> Path:
        """All of the result on one page."""
        return self.folder.report

    @property
    def metrics(self) -> Mapping[str, float]:
        """The final figures: 'validation.top1' ..."""
        return self.config.metrics

    @property
    def held_out(self) -> str:
        """The split of the final figures: 'validation' or 'test'."""
        return self.splits.held_out.name

    @property
    def epochs(self) -> int:
        """That were gone through."""
        return epochs_of(self.rows)

    @property
    def fits_head(self) -> bool:
        """Whether the classifier is to be fitted on features of the network as it is."""
        asked = self.recipe.trained == "head" or self.recipe.classifier.fit_first
        return bool(self.job.weights and asked and not self.saved)

    @property
    def out_of_patience(self) -> bool:
        """Whether the last epochs brought nothing better."""
        if not (self.rows and self.recipe.patience):
            return False
        return self.rows[-1]["epoch"] - max(1, best_epoch(self.rows)) >= self.recipe.patience

    def targets_of(self, split: Split) -> Targets:
        """Return what the photos of a split should be answered with in training."""
        labels = np.array([photo.label for photo in split.photos], np.int64)
        outputs = self.config.spec.classifier.outputs
        return Targets(labels, len(split.classes), self.recipe, self.teacher, outputs)

    def predict(self, split: Split, label: str) -> Predictions:
        """Run the network in evaluation mode on a split; ``label`` is what progress is called."""
        answer, seen = self.trainer.predictor(), self.config.preprocessing
        logits, truth = predict_split(answer, split, seen, label)
        return Predictions(logits, truth, split.classes, self.config.spec.classifier.outputs)

    def begin(self) -> None:
        """Make the run folder: the first thing that is written."""
        job, computes = self.job, None if self.recipe.trained == "head" else self.trainer.computes
        parts = self.splits.parts
        self.folder.begin(self.recipe, parts, job.data, job.weights, job.edition, computes)
        if self.trial:
            plots.rates(*self.trial, self.folder.path / "learning-rate.png")

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "run": str(self.folder.path), "model": str(self.best), "held_out": self.held_out,
            "epochs": self.epochs, "seconds": self.seconds, "metrics": self.metrics,
        }  # fmt: skip
