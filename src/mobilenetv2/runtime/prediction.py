"""Stream of predictions for any number of photos, decoded ahead in threads, run in batches."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, Literal, TypeVar, overload

from numpy.typing import NDArray

from mobilenetv2.data.batches import AHEAD, workers
from mobilenetv2.data.photos import Found, Photos, collect
from mobilenetv2.errors import DataError, ImageError, MobileNetV2Error, OutputError
from mobilenetv2.hub.catalogue import EMBEDDED
from mobilenetv2.images.notes import Tally
from mobilenetv2.images.photo import Photo, network_picture_noted, path_of
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.networks.given_model import AnyModel
from mobilenetv2.progress import say, track
from mobilenetv2.runtime.answers import Answer, Features, Unreadable
from mobilenetv2.runtime.bulk import compute
from mobilenetv2.runtime.given_options import GivenLabels, GivenPreprocessing, given_options
from mobilenetv2.runtime.loading import LoadedModel, load_model
from mobilenetv2.runtime.predictor import require_threads
from mobilenetv2.spec.records import Resize

MEMORY = "a photo in memory"
"""Name of a photo without a path, in notes and errors."""
Made = TypeVar("Made")


@overload
def predict(
    photos: Photos, model: AnyModel = EMBEDDED, *, runtime: str | None = None,
    device: str = "cpu", threads: int | None = None, batch: int | None = None, flips: bool = False,
    features: Literal[False] = False, progress: bool = False, ordered: bool = True,
    fast_decode: bool = False,
    labels: GivenLabels | None = None, preprocessing: GivenPreprocessing | None = None,
    resize: Resize | None = None, ignore: str | Sequence[str] = (),
) -> Iterator[Answer | Unreadable]: ...  # fmt: skip


@overload
def predict(
    photos: Photos, model: AnyModel = EMBEDDED, *, runtime: str | None = None,
    device: str = "cpu", threads: int | None = None, batch: int | None = None, flips: bool = False,
    features: Literal[True], progress: bool = False, ordered: bool = True,
    fast_decode: bool = False,
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
    batch: int | None = None,
    flips: bool = False,
    features: bool = False,
    progress: bool = False,
    ordered: bool = True,
    fast_decode: bool = False,
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
        threads: number of threads, each of which reads photos and computes; default: one a core.
        batch: number of photos in a batch; default: what is fast on a CPU.
        flips: True to average the predictions for each photo and its mirror image, which takes
            twice as long.
        features: True for the pooled features instead of classes.
        ordered: False to yield each answer as soon as it is there. Photos of a folder then come as
            the disk lists them, which starts at once even with a million of them.
        fast_decode: True to decode JPEG files no larger than the network needs, which is several
            times as fast for photos of phones and changes their pixels slightly. Default: as the
            model's preprocessing says (``preprocessing.decode``).
        progress: True for a progress bar on stderr.
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
    if batch is not None and batch < 1:
        raise MobileNetV2Error(f"batch {batch} must be at least 1")
    found = collect(photos, ignore, ordered)
    outputs: Literal["features", "logits"] = "features" if features else "logits"
    loaded = load_for_many(
        model, outputs, runtime=runtime, device=device, threads=threads, flips=flips,
        fast_decode=fast_decode, given=given_options(labels, preprocessing, resize),
    )  # fmt: skip
    total = Counted(found) if progress and not found.slow else None
    if features:
        return _tracked(stream(loaded, found, Features, batch, ordered), total)
    return _tracked(answers(loaded, found, batch, ordered), total)


def load_for_many(
    model: AnyModel, outputs: Literal["features", "logits"] = "logits", *,
    device: str = "cpu", threads: int | None = None, **options: Any,
) -> LoadedModel:  # fmt: skip
    """Load a model as :func:`load_model` does, to compute many photos.

    On a CPU, as many threads as there are cores call it at once, each of which computes by itself;
    ``threads`` is their number.
    """
    if device != "cpu":
        return load_model(model, outputs, device=device, threads=threads, **options)
    require_threads(threads)
    callers = threads or workers()
    return load_model(model, outputs, threads=1, callers=callers, **options)


def answers(
    loaded: LoadedModel, photos: Found, batch: int | None = None, ordered: bool = True
) -> Iterator[Answer | Unreadable]:
    """Return a stream of the answers of a loaded model."""
    labels, outputs = loaded.config.labels, loaded.config.outputs

    def answer(logits: NDArray, photo: Path | None) -> Answer:
        return Answer(probabilities(logits, outputs), labels, outputs, photo)

    return stream(loaded, photos, answer, batch, ordered)


def stream(
    loaded: LoadedModel,
    photos: Found,
    make: Callable[[NDArray, Path | None], Made],
    batch: int | None = None,
    ordered: bool = True,
) -> Iterator[Made | Unreadable]:
    """Yield a result for each photo, made of the outputs of a loaded model.

    Notes on how photos were read are said at the end, on stderr.

    Args:
        loaded: the model.
        photos: the photos.
        make: function from the float32 outputs (outputs,) of a photo and its path to the result.
        batch: number of photos in a batch. Default: what is fast on a CPU.
        ordered: False to yield each result as soon as it is there.
    """
    record, noted = loaded.config.preprocessing, Tally()

    def load(photo: Photo) -> tuple[str, NDArray]:
        name = str(path_of(photo) or MEMORY)
        picture, notes = network_picture_noted(photo, record)
        for note in notes:
            noted.add(name, note)
        return name, picture

    # An iterator may be slow, such as a camera, so that few photos are awaited at a time.
    ahead = 1 if photos.slow else AHEAD
    for one in compute(loaded.predict, photos, load, batch=batch, ahead=ahead, ordered=ordered):
        path = path_of(one.item)
        if isinstance(one.outputs, ImageError | OutputError):
            yield Unreadable(one.outputs, path)
        else:
            yield make(one.outputs, path)
    for sentence in noted.sentences():
        say(f"note: {sentence}")


class Counted:
    """Number of photos, which a thread counts while the first ones are predicted.

    Args:
        photos: the photos.
    """

    def __init__(self, photos: Found) -> None:
        self._photos = photos
        self._count: int | None = None
        Thread(target=self._look, daemon=True, name="count").start()

    def _look(self) -> None:
        with suppress(OSError, DataError):  # whoever takes the photos meets it, too, and says it
            self._count = self._photos.count()

    def __call__(self) -> int | None:
        """Return the number; None as long as it is unknown."""
        return self._count


def _tracked(answers: Iterator[Made], total: Counted | None) -> Iterator[Made]:
    return answers if total is None else track(answers, "predicting", total)
