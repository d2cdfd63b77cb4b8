"""A model measured on labelled photos: accuracy, intervals, classes, confusion, calibration."""

from dataclasses import dataclass
from functools import partial
from os import PathLike, fspath
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.data.scan import readable_photos
from mobilenetv2.errors import ArtifactError, SpecError, WeightsError
from mobilenetv2.evaluation.calibration import Calibration
from mobilenetv2.evaluation.gradcam import class_weights
from mobilenetv2.evaluation.matching import match
from mobilenetv2.evaluation.metrics import ClassFigures, Metrics
from mobilenetv2.evaluation.predictions import Predictions, predict_split
from mobilenetv2.evaluation.report.html import element, plain_table
from mobilenetv2.evaluation.report.page import PAGE, Explainer, write_report
from mobilenetv2.evaluation.report.result import Result
from mobilenetv2.evaluation.run_record import trained_on
from mobilenetv2.progress import say
from mobilenetv2.runtime.loading import load_model, load_network
from mobilenetv2.spec.records import Labels
from mobilenetv2.text import counted, interval, percent

SHOWN = 20
"""Classes that a notebook shows, the worst first."""


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation:
    """A model's figures on a split. Shares are from 0 to 1, intervals are of 95%."""

    result: Result
    source: Path
    """The model's folder or file."""
    threads: int | None = None
    """Threads of the runtime; None: its own number."""
    notes: tuple[str, ...] = ()
    """Sentences to read before the figures, such as that the model was trained on these photos."""

    @property
    def metrics(self) -> Metrics:
        """All figures but the calibration."""
        return self.result.metrics

    @property
    def images(self) -> int:
        """Number of photos."""
        return self.metrics.images

    @property
    def split(self) -> str:
        """Name of the split: 'train', 'validation', 'test', or 'all' without splits."""
        return self.result.split.name

    @property
    def top1(self) -> float:
        """Share of photos whose best class is right; NaN where a photo may have several classes."""
        return self.metrics.top1

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the accuracy: of ``top1``, or of exact matches of several classes."""
        return self.metrics.accuracy_interval

    @property
    def top5(self) -> float:
        """Share of photos whose class is among the best five; NaN as ``top1``."""
        return self.metrics.top5

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats."""
        return self.metrics.loss

    @property
    def classes(self) -> tuple[ClassFigures, ...]:
        """Figures of each class, in the order of the model's outputs."""
        return self.metrics.classes

    @property
    def confusion(self) -> NDArray:
        """int64 (classes, classes): rows are the truth, columns the answers; empty (0, 0) where a
        photo may have several classes."""
        return self.metrics.confusion

    @property
    def calibration(self) -> Calibration:
        """Confidence against accuracy."""
        return self.result.calibration

    @property
    def labels(self) -> Labels:
        """The model's classes."""
        return self.result.config.labels

    @property
    def predictions(self) -> Predictions:
        """The logits and the true class of each photo, in the order of :attr:`photos`."""
        return self.result.predictions

    @property
    def photos(self) -> list[str]:
        """Names of the photos."""
        split = self.result.split
        return [split.full_name(photo) for photo in split.photos]

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON: what ``mobilenetv2 evaluate --json`` prints."""
        return self.result.to_dict()

    def report(self, folder: str | PathLike[str], *, private: bool = False) -> Path:
        """Write the report: a page for a browser, the figures as JSON, and pictures.

        Args:
            folder: is made where it is not there. An older report in it is replaced.
            private: leave photos, their names and the places of files out, so that the report can
                be shared.

        Returns:
            The page, ``report.html``, which needs no other file.

        Raises:
            ImageError: a photo in it cannot be read any more.
            OSError: the folder cannot be written.
        """
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        runtime = self.result.how.get("runtime")
        explainer = _explainer(self.source, runtime, self.threads)
        write_report(place, self.result, self.source, explainer, self.notes, private)
        return place / PAGE

    def __repr__(self) -> str:
        return f"Evaluation({self._title()}: {_accuracy(self.metrics)})"

    def _repr_html_(self) -> str:
        rows = sorted((row for row in self.classes if row.photos), key=lambda row: row.recall)
        lines = [
            ("accuracy", _accuracy(self.metrics)), ("loss", f"{self.loss:.4f}"),
            ("calibration error", percent(self.calibration.error)),
        ]  # fmt: skip
        cells = [
            (row.name, f"{row.photos:,}", percent(row.recall), interval(row.recall_interval),
             percent(row.precision))
            for row in rows[:SHOWN]
        ]  # fmt: skip
        more = f"and {counted(len(rows) - SHOWN, 'better class')}" if len(rows) > SHOWN else None
        return element(
            "div",
            [element("p", f"{note[0].upper()}{note[1:]}") for note in self.notes],
            plain_table(lines, caption=self._title()),
            plain_table(cells, ("class", "photos", "recall", "95% interval", "precision")),
            element("p", more) if more else None,
        )

    def _title(self) -> str:
        return f"{self.result.model} on {self.result.data} ({self.split})"


def evaluate(
    model: str | PathLike[str],
    data: str | PathLike[str],
    *,
    split: str | None = None,
    runtime: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    flips: bool = False,
    report: str | PathLike[str] | None = None,
    private: bool = False,
) -> Evaluation:
    """Measure a model on labelled photos.

    Class folders are matched to the model's classes by label, WordNet id or index. Photos that
    cannot be read are left out, up to 1%, and named on stderr. Where the model was trained on these
    photos, that is said, too.

    Args:
        model: a model folder, an exported file, a catalogue name, ``hf://OWNER/NAME`` or
            'embedded'.
        data: a folder of class folders, one with train/, validation/ and test/, a .zip or .tar of
            either, or 'digits', which is built in.
        split: 'train', 'validation' or 'test', or 'selection' of the photos that a run divided;
            None is test, else validation, else all photos.
        runtime: what computes: 'onnxruntime', 'openvino', 'litert', 'ncnn', 'mnn' or 'torch'; None
            is ONNX Runtime, or what runs such an exported file, or PyTorch for another device.
        device: 'cpu', or a device of PyTorch such as 'cuda' or 'mps'.
        threads: of the runtime; None leaves it to the runtime.
        flips: answer each photo and its mirror image, and take the mean: surer, twice the time.
        report: a folder for :meth:`Evaluation.report`; None writes none.
        private: leave photos, their names and the places of files out of the report.

    Returns:
        The figures.

    Raises:
        DataError: no photos, no such split, class folders that match no class, or too many photos
            that cannot be read.
        WeightsError, ArtifactError, SpecError: the model cannot be had, read or run.
        MissingExtra: what computes is not installed.
        OSError: the report's folder cannot be written.

    Example:
        >>> import mobilenetv2 as mn
        >>> run = mn.train(photos, output="run", weights="embedded", recipe="head-only")
        >>> result = mn.evaluate("run/best", photos, split="validation")
        >>> result
        Evaluation(run/best on ... (validation): ...% top-1 accuracy (n = 4), 95% interval ...)
        >>> low, high = result.interval
        >>> low < result.top1 <= high
        True
        >>> result.confusion.shape
        (2, 2)
    """
    place, name = fspath(data), fspath(model)
    dataset = open_dataset(place)
    loaded = load_model(name, runtime=runtime, device=device, threads=threads, flips=flips)
    config = loaded.config
    known = trained_on(loaded.place)
    chosen = known.split_of(dataset, split)
    caution = known.caution(chosen, place)
    if caution:
        say(f"note: {caution}")
    outputs = match(chosen.classes, config.labels, dataset.place)
    if report is not None:
        Path(report).mkdir(parents=True, exist_ok=True)
    chosen, unreadable = readable_photos(chosen)
    logits, folders = predict_split(loaded.predict, chosen, config.preprocessing)
    truth = np.array(outputs)[folders]
    predictions = Predictions(logits, truth, config.labels.names, config.spec.classifier.outputs)
    for note in unreadable:
        say(note)
    how = {"runtime": loaded.runtime, "device": device, "flips": "yes" if flips else "no"}
    result = Result.of(name, place, chosen, config, predictions, how)
    notes = [f"{caution[0].upper()}{caution[1:]}."] if caution else []
    made = Evaluation(result, loaded.place, threads, (*notes, *unreadable))
    if report is not None:
        say(f"report: {made.report(report, private=private)}")
    return made


def _explainer(model: Path, runtime: str | None, threads: int | None) -> Explainer | None:
    """Return what draws Grad-CAM; None for files that do not give their last feature map."""
    try:
        found = load_network(model, runtime, threads)
    except (ArtifactError, SpecError, WeightsError):
        return None
    return Explainer(found.maps, partial(class_weights, found.config.spec, found.arrays))


def _accuracy(metrics: Metrics) -> str:
    what = "exact matches" if metrics.labels else "top-1 accuracy"
    bounds = interval(metrics.accuracy_interval)
    return f"{percent(metrics.accuracy)} {what} (n = {metrics.images:,}), 95% interval {bounds}"
