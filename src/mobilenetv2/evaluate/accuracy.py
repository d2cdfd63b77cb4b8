"""Run a predictor over a split and measure it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.batches import batches
from mobilenetv2.data.dataset import Split
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.progress import track
from mobilenetv2.spec.records import Preprocessing

Predictor = Callable[[NDArray], NDArray]
"""uint8 pictures (batch, height, width, channels) at the network's size -> float logits or
features (batch, outputs). Normalising is the predictor's own work."""

BATCH = 8
"""On a CPU larger batches are slower: their activations leave the caches."""


def run(
    predictor: Predictor, split: Split, record: Preprocessing, label: str = "evaluating"
) -> tuple[NDArray, NDArray]:
    """Every photo of a split through a predictor, in order.

    Returns:
        (outputs float32 (photos, outputs), labels int64 (photos,)): labels as in the split.

    Raises:
        ImageError: a photo that cannot be read.
    """

    def load(index: int) -> NDArray:
        photo = split.photos[index]
        return preprocess(split.image(photo), record, split.full_name(photo))

    order = np.arange(len(split))
    outputs = [
        predictor(pictures)
        for pictures, _ in track(batches(load, order, BATCH), label, len(split), BATCH)
    ]
    labels = np.array([photo.label for photo in split.photos], np.int64)
    return np.concatenate(outputs).astype(np.float32), labels
