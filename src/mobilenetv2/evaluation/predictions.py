"""Predictions of a classifier for labelled photos."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.dataset import Photo as LabelledPhoto
from mobilenetv2.data.dataset import Split
from mobilenetv2.data.scan import require_few
from mobilenetv2.errors import ImageError, OutputError
from mobilenetv2.images.notes import Tally
from mobilenetv2.images.photo import Photo, network_picture
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.progress import track
from mobilenetv2.runtime.bulk import compute
from mobilenetv2.spec.network import Outputs
from mobilenetv2.spec.records import Preprocessing

Predictor = Callable[[NDArray], NDArray]
"""Function from images of the network's size, uint8 (batch, height, width, channels), to logits or
features, float (batch, outputs). It normalises the images."""
AT_ONCE = 2**20
"""Number of logits that are processed at once, to limit the memory (8 MB a copy in float64)."""


def predict_split(
    predictor: Predictor, split: Split, record: Preprocessing, label: str = "evaluating"
) -> tuple[NDArray, NDArray]:
    """Run a predictor on all photos of a split, in order.

    Args:
        predictor: the predictor.
        split: the photos.
        record: the preprocessing of the network.
        label: name of the progress bar. Default: 'evaluating'.

    Returns:
        (outputs, float32 (photos, outputs); labels of the split, int64 (photos,)).

    Raises:
        ImageError: a photo cannot be read.
        OutputError: the predictor's outputs for a photo are not finite.
    """

    def load(photo: LabelledPhoto) -> tuple[str, NDArray]:
        return split.full_name(photo), split.picture(photo, record)

    outputs: list[NDArray] = []
    for one in track(compute(predictor, split.photos, load), label, len(split)):
        if isinstance(one.outputs, ImageError | OutputError):
            raise one.outputs
        outputs.append(one.outputs)
    return np.stack(outputs).astype(np.float32), _labels(split)


def _labels(split: Split) -> NDArray:
    return np.array([photo.label for photo in split.photos], np.int64)


@dataclass(frozen=True, slots=True)
class Readable:
    """Outputs for the photos of a split that can be read."""

    split: Split
    """The split without the others."""
    outputs: NDArray
    """Outputs, float32 (photos, outputs)."""
    labels: NDArray
    """Class of each photo, int64 (photos,)."""
    notes: tuple[str, ...]
    """Notes on what was left out, and on how photos were read."""


def predict_readable(predictor: Predictor, split: Split, record: Preprocessing) -> Readable:
    """Run a predictor on all photos of a split, and leave out those that cannot be read.

    Args:
        predictor: the predictor.
        split: the photos.
        record: the preprocessing of the network.

    Raises:
        DataError: more than one of a hundred cannot be read, or all.
        OutputError: the predictor's outputs for a photo are not finite.
    """
    tally, problems = Tally(), list[str]()
    kept: list[LabelledPhoto] = []
    outputs: list[NDArray] = []

    def load(photo: LabelledPhoto) -> tuple[str, NDArray]:
        name = split.full_name(photo)
        picture, notes = split.picture_noted(photo, record)
        for note in notes:
            tally.add(photo.name, note)
        return name, picture

    with split.source.ahead([photo.name for photo in split.photos]):
        for one in track(compute(predictor, split.photos, load), "evaluating", len(split)):
            if isinstance(one.outputs, OutputError):
                raise one.outputs
            if isinstance(one.outputs, ImageError):
                problems.append(str(one.outputs))
            else:
                kept.append(one.item)
                outputs.append(one.outputs)
    require_few(problems, len(split), split.source.place)
    readable = split.with_photos(tuple(kept))
    notes = [f"left out, unreadable: {text}" for text in problems]
    notes += [f"note: {text}" for text in tally.sentences()]
    stacked = np.stack(outputs).astype(np.float32)
    return Readable(readable, stacked, _labels(readable), tuple(notes))


def load_pictures(photos: Iterable[Photo], record: Preprocessing) -> NDArray:
    """Return photos as inputs of a network, uint8 (photos, height, width, channels).

    Raises:
        ImageError: a photo cannot be read.
    """
    return np.stack([network_picture(photo, record) for photo in photos])


@dataclass(frozen=True, slots=True)
class Predictions:
    """A classifier's logits for labelled photos, with the true classes.

    Raises:
        ValueError: the shapes do not fit together.
    """

    logits: NDArray
    """Logits, float (photos, classes); (photos, 1) if ``outputs`` is 'logit'."""
    truth: NDArray
    """Class of each photo, int (photos,). With 'sigmoid' outputs it may be bool (photos, classes),
    for photos with several classes."""
    names: tuple[str, ...]
    """Names of the classes."""
    outputs: Outputs = "softmax"
    """Meaning of the logits. 'softmax': one of n classes; 'sigmoid': any number of n classes;
    'logit': the second of two classes, from one logit."""

    def __post_init__(self) -> None:
        count, classes = len(self.logits), len(self.names)
        columns = 1 if self.outputs == "logit" else classes
        shapes = [(count,), (count, classes)] if self.outputs == "sigmoid" else [(count,)]
        if (
            self.logits.shape != (count, columns)
            or self.truth.shape not in shapes
            or (self.outputs == "logit" and classes != 2)
        ):
            raise ValueError(
                f"logits {self.logits.shape} and truth {self.truth.shape} are not those of "
                f"{classes} classes with outputs {self.outputs!r}"
            )

    @property
    def several(self) -> bool:
        """True if photos may have several classes, or none."""
        return self.truth.ndim == 2

    @property
    def targets(self) -> NDArray:
        """True classes of each photo, bool (photos, classes)."""
        if self.several:
            return self.truth.astype(bool)
        return np.asarray(self.truth[:, None] == np.arange(len(self.names)))

    def scaled(self, factor: float) -> "Predictions":
        """Return the predictions with their logits multiplied by a factor.

        The temperature as the factor undoes temperature scaling.
        """
        return dataclasses.replace(self, logits=self.logits * factor)

    def decisions(self) -> "Predictions":
        """Return 'sigmoid' predictions as 'logit' predictions of the classes 'no' and 'yes'.

        There are photos * classes of them, in the order of the photos.
        """
        truth = self.targets.astype(np.int64).ravel()
        return Predictions(self.logits.reshape(-1, 1), truth, ("no", "yes"), "logit")

    def parts(self) -> Iterator[tuple[slice, NDArray]]:
        """Yield (rows, :func:`class_scores` as float64) of a part of the photos at a time.

        All logits at once might need many gigabytes.
        """
        count, classes = self.logits.shape
        rows = max(1, AT_ONCE // max(1, classes))
        for start in range(0, count, rows):
            part = slice(start, min(start + rows, count))
            yield part, class_scores(self.logits[part].astype(np.float64), self.outputs)


def class_scores(logits: NDArray, outputs: Outputs) -> NDArray:
    """Return a score for each class: the logits, or (-z, z) for a single logit z."""
    return np.hstack([-logits, logits]) if outputs == "logit" else logits


def best_classes(logits: NDArray, outputs: Outputs) -> NDArray:
    """Return the class with the highest score for each photo, int (photos,)."""
    return np.asarray(class_scores(logits, outputs).argmax(1))


def largest_difference(found: NDArray, expected: NDArray) -> float:
    """Return the largest absolute difference of a logit; infinite if one is not finite."""
    difference = float(np.abs(found.astype(np.float64) - expected).max())
    return difference if math.isfinite(difference) else math.inf


@dataclass(frozen=True, slots=True)
class Answers:
    """The answer to each photo and its confidence; NaN if logits are not finite.

    It has only a few numbers for each photo, to save the memory of all probabilities.
    """

    truth: NDArray
    """True class of each photo, int (photos,)."""
    classes: NDArray
    """Class with the highest score, int64 (photos,)."""
    confidence: NDArray
    """Probability of the answer, float64 (photos,)."""
    of_truth: NDArray
    """Probability of the true class, float64 (photos,)."""
    distance: NDArray
    """Squared distance of the probabilities of all classes from the truth, float64 (photos,)."""

    @property
    def right(self) -> NDArray:
        """True for correct answers, bool (photos,)."""
        return np.asarray(self.classes == self.truth)


def answers_of(predictions: Predictions) -> Answers:
    """Return the answers of predictions with one class for each photo."""
    truth, count = predictions.truth, len(predictions.truth)
    classes = np.empty(count, np.int64)
    confidence, of_truth, distance = np.empty((3, count))
    for part, scores in predictions.parts():
        values = probabilities(predictions.logits[part], predictions.outputs)
        rows = np.arange(len(values))
        classes[part] = scores.argmax(1)
        confidence[part] = values[rows, classes[part]]
        of_truth[part] = values[rows, truth[part]]
        # In place: a one-hot array would be as large as the probabilities.
        values[rows, truth[part]] -= 1
        distance[part] = (values**2).sum(1)
    return Answers(truth, classes, confidence, of_truth, distance)
