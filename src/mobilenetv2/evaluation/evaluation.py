"""Evaluation of a model on labelled photos: the public function ``evaluate`` and its result."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.dataset import Dataset, open_dataset
from mobilenetv2.errors import ArtifactError, SpecError, WeightsError
from mobilenetv2.evaluation.calibration import Calibration
from mobilenetv2.evaluation.gradcam import class_weights
from mobilenetv2.evaluation.matching import index_note, match
from mobilenetv2.evaluation.metrics import ClassFigures, Metrics
from mobilenetv2.evaluation.predictions import Predictions, predict_readable
from mobilenetv2.evaluation.report.html import element, plain_table
from mobilenetv2.evaluation.report.page import PAGE, Explainer, write_report
from mobilenetv2.evaluation.report.result import Result
from mobilenetv2.evaluation.run_record import trained_on
from mobilenetv2.locks import hold
from mobilenetv2.networks.given_model import AnyModel, located
from mobilenetv2.progress import say
from mobilenetv2.runtime.given_options import GivenLabels, GivenPreprocessing, given_options
from mobilenetv2.runtime.loading import load_for_many, load_network
from mobilenetv2.spec.records import Labels, Preprocessing, Resize
from mobilenetv2.text import counted, escaped, interval, percent

if TYPE_CHECKING:
    from mobilenetv2.runtime.fastest import Allowed

SHOWN = 20
"""Largest number of classes in a notebook's view."""


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation:
    """The metrics of a model on a split. Shares are from 0 to 1, intervals are 95%."""

    result: Result
    source: AnyModel
    """Model folder or exported file, or a network in memory."""
    threads: int | None = None
    """Number of threads of the runtime; None for the runtime's default."""
    notes: tuple[str, ...] = ()
    """Notes on the figures, such as that the model was trained on these photos."""

    @property
    def metrics(self) -> Metrics:
        """All metrics except the calibration."""
        return self.result.metrics

    @property
    def images(self) -> int:
        """Number of photos."""
        return self.metrics.images

    @property
    def split(self) -> str:
        """Name of the split: 'train', 'selection', 'validation', 'test', or 'all'."""
        return self.result.split.name

    @property
    def top1(self) -> float:
        """Top-1 accuracy; NaN if photos may have several classes."""
        return self.metrics.top1

    @property
    def interval(self) -> tuple[float, float]:
        """Interval (95%) of ``top1``, or of exact matches if photos may have several classes."""
        return self.metrics.accuracy_interval

    @property
    def top5(self) -> float:
        """Top-5 accuracy; NaN if photos may have several classes."""
        return self.metrics.top5

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats."""
        return self.metrics.loss

    @property
    def classes(self) -> tuple[ClassFigures, ...]:
        """Metrics of each class, in the order of the model's outputs."""
        return self.metrics.classes

    @property
    def confusion(self) -> NDArray:
        """Confusion matrix, int64 (classes, classes): rows are true classes, columns answers.

        It is empty, (0, 0), if photos may have several classes.
        """
        return self.metrics.confusion

    @property
    def calibration(self) -> Calibration:
        """Calibration: how well the probabilities match the accuracy."""
        return self.result.calibration

    @property
    def labels(self) -> Labels:
        """Classes of the model."""
        return self.result.config.labels

    @property
    def predictions(self) -> Predictions:
        """Logits and true class of each photo, in the order of :attr:`photos`."""
        return self.result.predictions

    @property
    def photos(self) -> list[str]:
        """Names of the photos."""
        split = self.result.split
        return [split.full_name(photo) for photo in split.photos]

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON, as ``mobilenetv2 evaluate --json`` prints them."""
        return self.result.to_dict()

    def report(self, folder: str | PathLike[str], *, private: bool = False) -> Path:
        """Write the report: an HTML page, the metrics as JSON, and plots.

        Args:
            folder: the folder of the report, which is created. An older report is replaced.
            private: leave photos, their names and paths out, so that the report can be shared.
                Default: False.

        Returns:
            Path of the page, ``report.html``, which needs no other file.

        Raises:
            ImageError: a photo can no longer be read.
            InUse: another process writes to the folder.
            OSError: the folder cannot be written.
        """
        place = Path(folder)
        runtime = self.result.how.get("runtime", "").partition(" ")[0] or None  # no precision
        with hold(place, inside=True), located(self.source) as given:
            explainer = _explainer(given.place, runtime, self.threads)
            write_report(place, self.result, given.place, explainer, self.notes, private)
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
    model: AnyModel,
    data: str | PathLike[str],
    *,
    split: str | None = None,
    runtime: str | None = None,
    precision: "Allowed" = "exact",
    device: str = "cpu",
    threads: int | None = None,
    flips: bool = False,
    fast_decode: bool = False,
    report: str | PathLike[str] | None = None,
    private: bool = False,
    labels: GivenLabels | None = None,
    preprocessing: GivenPreprocessing | None = None,
    resize: Resize | None = None,
    ignore: str | Sequence[str] = (),
    zip_encoding: str | None = None,
) -> Evaluation:
    """Measure a model on labelled photos.

    Class folders are matched to the model's classes by label, WordNet id or index. Up to 1% of the
    photos may be unreadable; they are left out and named on stderr. Notes on stderr tell if the
    model was trained on these photos, and if classes were matched by index.

    Args:
        model: a model folder, an exported file, a catalogue name, ``hf://OWNER/NAME``, 'embedded',
            a network of any edition, or the run of ``train``.
        data: a folder of class folders, or a folder with train/, validation/ and test/; a .zip or
            .tar of either; a table of photos and labels (.csv, .tsv, .jsonl, .parquet); or
            'digits', which is built in.
        split: 'test', 'validation' or 'train'; for the photos of a run also 'selection', its
            validation split. Without a split of the name 'test', 'test' means 'validation', which a
            run kept for its final figures. Default: test, else validation, else all photos.
        runtime: the library that runs the model: 'onnxruntime', 'openvino', 'litert', 'ncnn', 'mnn'
            or 'torch', or 'auto' for the fastest one on this machine. Default: ONNX Runtime; for
            other exported files, the runtime of their format; for other devices than the CPU,
            PyTorch.
        precision: 'exact' (default) or 'auto', as :func:`mobilenetv2.predict` takes it.
        device: 'cpu' (default), or a device of PyTorch such as 'cuda' or 'mps'.
        threads: number of threads, each of which reads photos and computes. Default: one a core.
        flips: average the logits of each photo and its mirror image, which is more accurate and
            takes twice the time. Default: False.
        fast_decode: decode JPEG files no larger than the network needs, as
            :func:`mobilenetv2.predict` does. Default: as the model's preprocessing says.
        report: folder for a report (:meth:`Evaluation.report`). Default: no report.
        private: leave photos, their names and paths out of the report. Default: False.
        labels, preprocessing, resize: for a .tflite or .onnx file of another program, as
            :func:`mobilenetv2.predict` takes them.
        ignore: patterns of names of files and folders that are passed over, such as "raw*" or
            "hat/old"; a pattern with a '/' is matched with the path below the data.
        zip_encoding: encoding of names in an archive that are not marked as UTF-8, such as 'gbk'.
            Default: UTF-8, else code page 437.

    Returns:
        The evaluation, with all metrics.

    Raises:
        DataError: there are no photos or no such split, class folders match no class, or too many
            photos cannot be read.
        WeightsError, ArtifactError, SpecError: the model cannot be found, read or run.
        MissingExtra: the runtime is not installed.
        InUse: another process writes to the report's folder.
        OSError: the report's folder cannot be written.

    Example:
        >>> import mobilenetv2 as mn
        >>> run = mn.train(photos, output="run", weights="embedded", recipe="head-only")
        >>> result = mn.evaluate("run/best", photos, split="test")
        >>> result
        Evaluation(run/best on ... (validation): ...% top-1 accuracy (n = 4), 95% interval ...)
        >>> low, high = result.interval
        >>> low < result.top1 <= high
        True
        >>> result.confusion.shape
        (2, 2)
    """
    place = fspath(data)
    dataset = open_dataset(place, ignore, zip_encoding)
    for note in dataset.notes:
        say(note)
    loaded = load_for_many(
        model, runtime=runtime, precision=precision, device=device, threads=threads, flips=flips,
        sample=partial(_sample, dataset, split), fast_decode=fast_decode,
        given=given_options(labels, preprocessing, resize),
    )  # fmt: skip
    config = loaded.config
    known = trained_on(loaded.place)
    chosen = known.split_of(dataset, split)
    caution = known.caution(chosen, place)
    outputs = match(chosen.classes, config.labels, dataset.place)
    cautions = [one for one in (caution, index_note(chosen.classes, config.labels)) if one]
    for one in cautions:
        say(f"note: {one}")
    with hold(Path(report), inside=True) if report is not None else nullcontext():
        found = predict_readable(loaded.predict, chosen, config.preprocessing)
        truth, names = np.array(outputs)[found.labels], config.labels.names
        predictions = Predictions(found.outputs, truth, names, config.outputs)
        for note in found.notes:
            say(note)
        how = {"runtime": loaded.runtime, "device": device, "flips": "yes" if flips else "no"}
        result = Result.of(loaded.name, escaped(place), found.split, config, predictions, how)
        notes = [f"{one[0].upper()}{one[1:]}." for one in cautions]
        source = loaded.place if loaded.place.exists() else model  # a network is not on the disk
        made = Evaluation(result, source, threads, (*notes, *found.notes))
        if report is not None:
            say(f"report: {made.report(report, private=private)}")
        return made


def _sample(dataset: Dataset, split: str | None, record: Preprocessing) -> NDArray:
    """Return photos for a trial of runtimes."""
    from mobilenetv2.runtime.fastest import sample_of

    chosen = dataset.splits.get(split or "") or max(dataset.splits.values(), key=len)
    return sample_of(chosen.photos, lambda photo: chosen.picture(photo, record), record)


def _explainer(model: Path, runtime: str | None, threads: int | None) -> Explainer | None:
    """Return the parts for Grad-CAM; None for files without access to the last feature map."""
    try:
        found = load_network(model, runtime, threads)
    except (ArtifactError, SpecError, WeightsError):
        return None
    return Explainer(found.maps, partial(class_weights, found.config.spec, found.arrays))


def _accuracy(metrics: Metrics) -> str:
    what = "exact matches" if metrics.labels else "top-1 accuracy"
    bounds = interval(metrics.accuracy_interval)
    return f"{percent(metrics.accuracy)} {what} (n = {metrics.images:,}), 95% interval {bounds}"
