"""Predictions of a classifier for labelled photos: how they are made, and the answers."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.batches import batches, chunked
from mobilenetv2.data.dataset import Split
from mobilenetv2.images.photo import Photo, network_picture
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.progress import track
from mobilenetv2.spec.network import Outputs
from mobilenetv2.spec.records import Preprocessing

Predictor = Callable[[NDArray], NDArray]
"""uint8 pictures (batch, height, width, channels) at the network's size -> float logits or
features (batch, outputs). The predictor normalises."""
BATCH = 8
"""On a CPU larger batches are slower: their activations leave the caches."""
AT_ONCE = 2**20
"""Number of logits that are processed at once: 8 MB in float64, held in a few copies."""


def predict_split(
    predictor: Predictor, split: Split, record: Preprocessing, label: str = "evaluating"
) -> tuple[NDArray, NDArray]:
    """Run a predictor on every photo of a split, in order.

    Returns:
        (outputs float32 (photos, outputs), labels int64 (photos,)): labels as in the split.

    Raises:
        ImageError: a photo cannot be read.
    """

    def load(index: int) -> NDArray:
        photo = split.photos[index]
        return preprocess(split.image(photo), record, split.full_name(photo))

    todo = batches(load, chunked(range(len(split)), BATCH))
    outputs = [predictor(pictures) for pictures, _ in track(todo, label, len(split), BATCH)]
    labels = np.array([photo.label for photo in split.photos], np.int64)
    return np.concatenate(outputs).astype(np.float32), labels


def load_pictures(photos: Iterable[Photo], record: Preprocessing) -> NDArray:
    """Return photos as a network takes them: uint8 (photos, height, width, channels).

    Raises:
        ImageError: one that cannot be read.
    """
    return np.stack([network_picture(photo, record) for photo in photos])


@dataclass(frozen=True, slots=True)
class Predictions:
    """A classifier's logits for labelled photos, and what they mean.

    Raises:
        ValueError: the shapes do not fit together.
    """

    logits: NDArray
    """float (photos, classes); (photos, 1) where ``outputs`` is 'logit'."""
    truth: NDArray
    """int (photos,): the class of each photo. With 'sigmoid' outputs also bool (photos, classes):
    all classes of each photo."""
    names: tuple[str, ...]
    """Names of the classes."""
    outputs: Outputs = "softmax"
    """'softmax': one class of n; 'sigmoid': any of n; 'logit': the second of two by one logit."""

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
        """True where a photo may have several classes, or none."""
        return self.truth.ndim == 2

    @property
    def targets(self) -> NDArray:
        """bool (photos, classes): the truth of each class."""
        if self.several:
            return self.truth.astype(bool)
        return np.asarray(self.truth[:, None] == np.arange(len(self.names)))

    def scaled(self, factor: float) -> "Predictions":
        """Return the predictions with their logits multiplied by the temperature, which undoes its
        division."""
        return dataclasses.replace(self, logits=self.logits * factor)

    def decisions(self) -> "Predictions":
        """Return the 'sigmoid' decisions as 'logit' predictions (photos * classes) of the classes
        'no' and 'yes', photo by photo."""
        truth = self.targets.astype(np.int64).ravel()
        return Predictions(self.logits.reshape(-1, 1), truth, ("no", "yes"), "logit")

    def parts(self) -> Iterator[tuple[slice, NDArray]]:
        """Yield (rows, float64 :func:`class_scores`) of some photos at a time.

        Several float64 copies of all logits would need many gigabytes.
        """
        count, classes = self.logits.shape
        rows = max(1, AT_ONCE // max(1, classes))
        for start in range(0, count, rows):
            part = slice(start, min(start + rows, count))
            yield part, class_scores(self.logits[part].astype(np.float64), self.outputs)


def class_scores(logits: NDArray, outputs: Outputs) -> NDArray:
    """Return a score for each class: the logits, or (-z, z) of a single logit z."""
    return np.hstack([-logits, logits]) if outputs == "logit" else logits


def best_classes(logits: NDArray, outputs: Outputs) -> NDArray:
    """Return the class with the highest score of each photo, int (photos,)."""
    return np.asarray(class_scores(logits, outputs).argmax(1))


def largest_difference(found: NDArray, expected: NDArray) -> float:
    """Return the largest |difference| of any logit; infinite where one is not a number."""
    difference = float(np.abs(found.astype(np.float64) - expected).max())
    return difference if math.isfinite(difference) else math.inf


@dataclass(frozen=True, slots=True)
class Answers:
    """The answer to each photo and its confidence; NaN where the logits are not finite.

    It has a few numbers for each photo, so that the probabilities of all classes are never held."""

    truth: NDArray
    """int (photos,): the true class."""
    classes: NDArray
    """int64 (photos,): the class with the highest score."""
    confidence: NDArray
    """float64 (photos,): the probability of the answer."""
    of_truth: NDArray
    """float64 (photos,): the probability of the true class."""
    distance: NDArray
    """float64 (photos,): squared distance of the probabilities from the truth, over all classes."""

    @property
    def right(self) -> NDArray:
        """bool (photos,): True where the answer is the true class."""
        return np.asarray(self.classes == self.truth)


def answers_of(predictions: Predictions) -> Answers:
    """Return the answers of predictions with one class a photo."""
    truth, count = predictions.truth, len(predictions.truth)
    classes = np.empty(count, np.int64)
    confidence, of_truth, distance = np.empty((3, count))
    for part, scores in predictions.parts():
        values = probabilities(predictions.logits[part], predictions.outputs)
        rows = np.arange(len(values))
        classes[part] = scores.argmax(1)
        confidence[part] = values[rows, classes[part]]
        of_truth[part] = values[rows, truth[part]]
        # In place, where a table of zeros and ones would be as large as the probabilities.
        values[rows, truth[part]] -= 1
        distance[part] = (values**2).sum(1)
    return Answers(truth, classes, confidence, of_truth, distance)
