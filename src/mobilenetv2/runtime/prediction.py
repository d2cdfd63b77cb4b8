"""Stream of predictions for any number of photos, decoded ahead in threads, run in batches."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.batches import AHEAD, in_parallel
from mobilenetv2.data.photos import Photos, collect
from mobilenetv2.errors import ImageError, MobileNetV2Error, OutputError
from mobilenetv2.hub.catalogue import EMBEDDED
from mobilenetv2.images.notes import Note, summaries
from mobilenetv2.images.photo import Photo, network_picture_noted, path_of
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.networks.given_model import AnyModel
from mobilenetv2.progress import say, track
from mobilenetv2.runtime.answers import Answer, Features, Unreadable, outputs_of
from mobilenetv2.runtime.given_options import GivenLabels, GivenPreprocessing, given_options
from mobilenetv2.runtime.loading import LoadedModel, load_model
from mobilenetv2.spec.records import Resize

BATCH = 8
"""Batch size. On a CPU, larger batches are slower, since their activations exceed the caches."""
MEMORY = "a photo in memory"
"""Name of a photo without a path, in notes and errors."""
Made = TypeVar("Made")


@overload
def predict(
    photos: Photos, model: AnyModel = EMBEDDED, *, runtime: str | None = None,
    device: str = "cpu", threads: int | None = None, batch: int = BATCH, flips: bool = False,
    features: Literal[False] = False, progress: bool = False,
    labels: GivenLabels | None = None, preprocessing: GivenPreprocessing | None = None,
    resize: Resize | None = None, ignore: str | Sequence[str] = (),
) -> Iterator[Answer | Unreadable]: ...  # fmt: skip


@overload
def predict(
    photos: Photos, model: AnyModel = EMBEDDED, *, runtime: str | None = None,
    device: str = "cpu", threads: int | None = None, batch: int = BATCH, flips: bool = False,
    features: Literal[True], progress: bool = False,
    labels: GivenLabels | None = None, preprocessing: GivenPreprocessing | None = None,
    resize: Resize | None = None, ignore: str | Sequence[str] = (),
) -> Iterator[Features | Unreadable]: ...  # fmt: skip


def predict(
    photos: Photos,
    model: AnyModel = EMBEDDED,
    *,
    runtime: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    batch: int = BATCH,
    flips: bool = False,
    features: bool = False,
    progress: bool = False,
    labels: GivenLabels | None = None,
    preprocessing: GivenPreprocessing | None = None,
    resize: Resize | None = None,
    ignore: str | Sequence[str] = (),
) -> Iterator[Answer | Unreadable] | Iterator[Features | Unreadable]:
    """Predict the classes of photos, with one answer for each photo, in order.

    Answers are available while later photos are read, so that the memory does not grow with the
    number of photos. An :class:`Unreadable` stands for a photo that cannot be read.

    Args:
        photos: path, folder, bytes of a file, Pillow image, uint8 array (height, width, 3), or any
            number of these. Folders are searched at any depth. '@list.txt' has a path on each line
            ('@-': standard input), and a table (.csv) has a column of paths; a path that leads
            nowhere is an :class:`Unreadable`. Iterators are read one photo at a time. Arrays and
            Pillow images of exactly the network's input size are not resized or cropped.
        model: model folder, exported file, catalogue name, ``hf://OWNER/NAME``, a network of any
            edition, or the run of ``train``. Default: the embedded model of CIFAR-10's ten classes.
        runtime: runtime of the computation: 'onnxruntime', 'openvino', 'litert', 'ncnn', 'mnn' or
            'torch'. Default: ONNX Runtime; for an exported file, the runtime of its format; for
            another device than the CPU, PyTorch.
        device: 'cpu' (default), or a device of PyTorch such as 'cuda' or 'mps'.
        threads: number of threads; default: the runtime's own choice.
        batch: number of photos in a batch; default: 8.
        flips: True to average the predictions for each photo and its mirror image, which takes
            twice as long.
        features: True for the pooled features instead of classes.
        progress: True for a progress bar on stderr, if the number of photos is known.
        labels: for a .tflite or .onnx file of another program: names of the classes, or the path of
            a file with them. Default: those in the file, or in a file beside it.
        preprocessing: for such a file: a :class:`mobilenetv2.Preprocessing`, the name of a range
            ('0..1', '-1..1', '0..255', 'imagenet') or of a publisher, or the path of a JSON file.
            Default: the file's metadata, or an assumption, which is told on stderr.
        resize: for such a file: 'stretch', 'cover' (central square) or 'none'. Default: the file's
            metadata, else 'stretch'.
        ignore: patterns of names in folders that are passed over, such as "raw*".

    Returns:
        An iterator over :class:`Answer` (with ``features``, :class:`Features`) and
        :class:`Unreadable`.

    Raises:
        DataError: a path does not exist, or a folder has no photos.
        WeightsError, ArtifactError, SpecError: the model cannot be downloaded, read or run.
        MissingExtra: the runtime is not installed.
        All are raised before the first answer.

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
    found = collect(photos, ignore)
    outputs: Literal["features", "logits"] = "features" if features else "logits"
    loaded = load_model(
        model, outputs, runtime=runtime, device=device, threads=threads, flips=flips,
        given=given_options(labels, preprocessing, resize),
    )  # fmt: skip
    total = len(found) if progress and isinstance(found, list) else None
    if features:
        return _tracked(stream(loaded, found, Features, batch), total)
    return _tracked(answers(loaded, found, batch), total)


def answers(
    loaded: LoadedModel, photos: list[Photo] | Iterator[Photo], batch: int = BATCH
) -> Iterator[Answer | Unreadable]:
    """Return a stream of the answers of a loaded model."""
    labels, outputs = loaded.config.labels, loaded.config.outputs

    def answer(logits: NDArray, photo: Path | None) -> Answer:
        return Answer(probabilities(logits, outputs), labels, outputs, photo)

    return stream(loaded, photos, answer, batch)


def stream(
    loaded: LoadedModel,
    photos: list[Photo] | Iterator[Photo],
    make: Callable[[NDArray, Path | None], Made],
    batch: int = BATCH,
) -> Iterator[Made | Unreadable]:
    """Yield a result for each photo, made of the outputs of a loaded model.

    Notes on how photos were read are said at the end, on stderr.

    Args:
        loaded: the model.
        photos: list or iterator of photos.
        make: function from the float32 outputs (outputs,) of a photo and its path to the result.
        batch: number of photos in a batch.
    """
    record = loaded.config.preprocessing
    noted: list[tuple[str, Note]] = []

    def load(photo: Photo) -> tuple[Path | None, NDArray | ImageError]:
        try:
            picture, notes = network_picture_noted(photo, record)
            noted.extend((str(path_of(photo) or MEMORY), note) for note in notes)
            return path_of(photo), picture
        except ImageError as error:
            return path_of(photo), error

    # An iterator may be slow, such as a camera, so that few photos are awaited at a time.
    ahead = AHEAD if isinstance(photos, list) else 1
    pictures = in_parallel(load, photos, ahead=ahead)
    while group := list(islice(pictures, batch)):
        readable = [
            (str(path or MEMORY), picture)
            for path, picture in group
            if not isinstance(picture, ImageError)
        ]
        outputs: Iterator[NDArray | OutputError] = iter(())
        if readable:
            names, stacked = zip(*readable, strict=True)
            outputs = iter(outputs_of(loaded.predict, np.stack(stacked), names))
        for path, picture in group:
            found = picture if isinstance(picture, ImageError) else next(outputs)
            if isinstance(found, ImageError | OutputError):
                yield Unreadable(found, path)
            else:
                yield make(found, path)
    for sentence in summaries(sorted(noted, key=lambda one: one[0])):
        say(f"note: {sentence}")


def _tracked(answers: Iterator[Made], total: int | None) -> Iterator[Made]:
    return answers if total is None else track(answers, "predicting", total)
