"""Predictions for any number of photos, as a stream: decoded ahead in threads, run in batches."""

from collections.abc import Callable, Iterator
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.batches import AHEAD, in_parallel
from mobilenetv2.data.photos import Photos, collect
from mobilenetv2.errors import ImageError, MobileNetV2Error
from mobilenetv2.hub.catalogue import EMBEDDED
from mobilenetv2.images.photo import Photo, network_picture, path_of
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.progress import track
from mobilenetv2.runtime.answers import Answer, Features, Unreadable
from mobilenetv2.runtime.loading import LoadedModel, load_model

BATCH = 8
"""Photos that are run at once. On a CPU larger batches are slower: their activations leave the
caches."""
Made = TypeVar("Made")


@overload
def predict(
    photos: Photos, model: str | PathLike[str] = EMBEDDED, *, runtime: str | None = None,
    device: str = "cpu", threads: int | None = None, batch: int = BATCH, flips: bool = False,
    features: Literal[False] = False, progress: bool = False,
) -> Iterator[Answer | Unreadable]: ...  # fmt: skip


@overload
def predict(
    photos: Photos, model: str | PathLike[str] = EMBEDDED, *, runtime: str | None = None,
    device: str = "cpu", threads: int | None = None, batch: int = BATCH, flips: bool = False,
    features: Literal[True], progress: bool = False,
) -> Iterator[Features | Unreadable]: ...  # fmt: skip


def predict(
    photos: Photos,
    model: str | PathLike[str] = EMBEDDED,
    *,
    runtime: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    batch: int = BATCH,
    flips: bool = False,
    features: bool = False,
    progress: bool = False,
) -> Iterator[Answer | Unreadable] | Iterator[Features | Unreadable]:
    """Predict what is on photos, one answer a photo, in order.

    Answers come while later photos are still being read, so that any number of photos needs the
    memory of a few. A photo that cannot be read gets an :class:`Unreadable` and the stream goes on.

    Args:
        photos: a path, a folder, a file's bytes, a Pillow image, an array uint8 (height, width, 3),
            or any number of them. Folders are searched at any depth. Photos of an iterator are
            taken as they come. Arrays and Pillow images of exactly the network's own size are taken
            as they are, without resizing and cropping.
        model: a model folder, an exported file, a catalogue name, or ``hf://OWNER/NAME``; the
            default is the embedded model of CIFAR-10's ten classes.
        runtime: what computes: 'onnxruntime', 'openvino', 'litert', 'ncnn', 'mnn' or 'torch'; None
            is ONNX Runtime, or what runs such an exported file, or PyTorch for another device.
        device: 'cpu', or a device of PyTorch such as 'cuda' or 'mps'.
        threads: of the runtime; None leaves it to the runtime.
        batch: photos that are run at once.
        flips: answer each photo and its mirror image, and take the mean: surer, twice the time.
        features: give the pooled features instead of classes.
        progress: show the progress on stderr, where the number of photos is known.

    Returns:
        An iterator over :class:`Answer` (with ``features`` over :class:`Features`) and
        :class:`Unreadable`.

    Raises:
        DataError: a name that is not there, or a folder without photos.
        WeightsError, ArtifactError, SpecError: the model cannot be had, read or run.
        MissingExtra: what computes is not installed. All are raised before the first answer.

    Example:
        >>> import mobilenetv2 as mn
        >>> for answer in mn.predict(photos):
        ...     print(answer.photo.name, answer.label, f"{answer.probability:.0%}")
        0...
        >>> [answer.error for answer in mn.predict([b"no photo"])]
        [ImageError("the photo's bytes: not a picture...")]
    """
    if batch < 1:
        raise MobileNetV2Error(f"batch {batch} must be at least 1")
    found = collect(photos)
    outputs: Literal["features", "logits"] = "features" if features else "logits"
    loaded = load_model(
        model, outputs, runtime=runtime, device=device, threads=threads, flips=flips
    )
    total = len(found) if progress and isinstance(found, list) else None
    if features:
        return _tracked(stream(loaded, found, Features, batch), total)
    return _tracked(answers(loaded, found, batch), total)


def answers(
    loaded: LoadedModel, photos: list[Photo] | Iterator[Photo], batch: int = BATCH
) -> Iterator[Answer | Unreadable]:
    """Return a stream of the classes that a loaded model answers."""
    labels, outputs = loaded.config.labels, loaded.config.spec.classifier.outputs

    def answer(logits: NDArray, photo: Path | None) -> Answer:
        return Answer(probabilities(logits, outputs), labels, outputs, photo)

    return stream(loaded, photos, answer, batch)


def stream(
    loaded: LoadedModel,
    photos: list[Photo] | Iterator[Photo],
    make: Callable[[NDArray, Path | None], Made],
    batch: int = BATCH,
) -> Iterator[Made | Unreadable]:
    """Yield what is made of a loaded model's outputs, photo by photo.

    Args:
        make: (outputs of a photo, float32 (outputs,), its path) -> its answer.
    """
    record = loaded.config.preprocessing

    def load(photo: Photo) -> tuple[Path | None, NDArray | ImageError]:
        try:
            return path_of(photo), network_picture(photo, record)
        except ImageError as error:
            return path_of(photo), error

    # A camera's pictures come when they come: few of them are waited for.
    ahead = AHEAD if isinstance(photos, list) else 1
    pictures = in_parallel(load, photos, ahead=ahead)
    while group := list(islice(pictures, batch)):
        readable = [picture for _, picture in group if not isinstance(picture, ImageError)]
        outputs = iter(loaded.predict(np.stack(readable)) if readable else ())
        for path, picture in group:
            if isinstance(picture, ImageError):
                yield Unreadable(picture, path)
            else:
                yield make(next(outputs), path)


def _tracked(answers: Iterator[Made], total: int | None) -> Iterator[Made]:
    return answers if total is None else track(answers, "predicting", total)
