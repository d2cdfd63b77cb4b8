"""What was answered to each photo, and how surely: taken from the logits once, some rows at a time.

Everything that a report says of single photos and of confidence is made of these few numbers a
photo, so that the probabilities of all classes are never held for all photos.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.evaluate.metrics import row_parts, softmax


@dataclass(frozen=True, slots=True)
class Answers:
    """By photo, in the split's order; probabilities are NaN where the network gave no numbers."""

    truth: NDArray
    """int (photos,)."""
    classes: NDArray
    """int64 (photos,): what was answered."""
    sure: NDArray
    """float64 (photos,): the probability of the answer."""
    of_truth: NDArray
    """float64 (photos,): the probability of the true class."""
    distance: NDArray
    """float64 (photos,): squared, of the probabilities from the truth, summed over classes."""

    @property
    def right(self) -> NDArray:
        """bool (photos,)."""
        return np.asarray(self.classes == self.truth)


def answers(logits: NDArray, truth: NDArray, scale: float = 1.0) -> Answers:
    """Of a classifier's logits.

    Args:
        logits: float (photos, classes).
        truth: int (photos,).
        scale: that the logits are multiplied by: a temperature takes its own division back.
    """
    count = len(truth)
    classes = np.empty(count, np.int64)
    sure, of_truth, distance = np.empty((3, count))
    for part in row_parts(logits):
        values = scale * logits[part].astype(np.float64)
        probabilities = softmax(values)
        rows = np.arange(len(values))
        classes[part] = values.argmax(1)
        sure[part] = probabilities[rows, classes[part]]
        of_truth[part] = probabilities[rows, truth[part]]
        # In place, where a table of zeros and ones would be as large as the probabilities.
        probabilities[rows, truth[part]] -= 1
        distance[part] = (probabilities**2).sum(1)
    return Answers(truth, classes, sure, of_truth, distance)
