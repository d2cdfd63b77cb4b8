"""From photos to names, in Python: ``mn.Classifier("shoes")("photo.jpg").top(5)``."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.errors import ImageError
from mobilenetv2.hub.catalogue import EMBEDDED
from mobilenetv2.hub.models import locate
from mobilenetv2.images.decode import decode, read_photo
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.runtime.predictor import load_predictor
from mobilenetv2.spec.records import Labels

BATCH = 8
Photo = str | PathLike[str] | bytes | Image.Image | NDArray
"""A path, a file's bytes, a Pillow image, or an array uint8 (height, width, 3), red first."""
Photos = list[Any] | tuple[Any, ...]
"""Several photos, each a :data:`Photo`."""


@dataclass(frozen=True, slots=True)
class Guess:
    """One class with its probability."""

    index: int
    label: str
    probability: float


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """The network's answer for one photo."""

    probabilities: NDArray
    """float64 (classes,): they sum to 1, but for a network whose outputs are 'sigmoid', where each
    class has its own."""
    labels: Labels

    def __repr__(self) -> str:
        best = ", ".join(f"{guess.label} {guess.probability:.1%}" for guess in self.top(3))
        return f"Answer({best})"

    def top(self, count: int = 5) -> list[Guess]:
        """Return the most probable classes, best first."""
        best = np.argsort(-self.probabilities, kind="stable")[:count]
        return [
            Guess(int(i), self.labels.names[i], float(self.probabilities[i])) for i in best.tolist()
        ]


class Classifier:
    """A model that names what is on photos. No training framework is needed.

    Args:
        model: a model folder, an exported file, a catalogue name, or ``hf://OWNER/NAME``; left out,
            the embedded model of CIFAR-10's ten classes.
        runtime: the engine; None is ONNX Runtime, or what runs such an exported file.
        threads: of one operator; None leaves it to the engine.

    Raises:
        WeightsError, ArtifactError: the model cannot be had, read or run.
    """

    def __init__(
        self,
        model: str | PathLike[str] = EMBEDDED,
        runtime: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.config, self._predict = load_predictor(
            locate(fspath(model)), runtime=runtime, threads=threads
        )

    @overload
    def __call__(self, photos: Photo) -> Answer: ...

    @overload
    def __call__(self, photos: Photos) -> list[Answer]: ...

    def __call__(self, photos: Photo | Photos) -> Answer | list[Answer]:
        """Return one answer for one photo, a list for a list of photos.

        Raises:
            ImageError: a photo that cannot be read.
        """
        if isinstance(photos, list | tuple):
            parts = [photos[i : i + BATCH] for i in range(0, len(photos), BATCH)]
            return [answer for part in parts for answer in self._answers(part)]
        return self._answers([photos])[0]

    def _answers(self, photos: Sequence[Photo]) -> list[Answer]:
        record = self.config.preprocessing
        images = [preprocess(open_photo(photo), record, "photo") for photo in photos]
        logits = self._predict(np.stack(images))
        rows = probabilities(logits, self.config.spec.classifier.outputs)
        return [Answer(row, self.config.labels) for row in rows]


def open_photo(photo: Photo) -> Image.Image:
    """Return a photo as an RGB image, in whichever form it comes.

    Raises:
        ImageError: it cannot be read, or is no image.
    """
    if isinstance(photo, Image.Image):
        return photo.convert("RGB")
    if isinstance(photo, bytes):
        return decode(photo, "the photo's bytes")
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
            raise ImageError(
                f"an array {photo.dtype} of shape {list(photo.shape)} is no picture: uint8 "
                "(height, width, 3) is"
            )
        return Image.fromarray(photo)
    return read_photo(Path(photo))
