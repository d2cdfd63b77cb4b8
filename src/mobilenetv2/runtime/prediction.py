"""Answers for any number of photos: the function ``mn.predict``, and the verb's."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from numpy.typing import NDArray

from mobilenetv2.data.photos import CollectedPhotos, Photos, collect
from mobilenetv2.errors import MobileNetV2Error, argument
from mobilenetv2.images.photo import Photo, network_picture_noted
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.networks.given_model import AnyModel
from mobilenetv2.progress import say
from mobilenetv2.runtime.answers import Answer, Features, Unreadable
from mobilenetv2.runtime.given_options import GivenLabels, GivenPreprocessing, given_options
from mobilenetv2.runtime.lasting import callers_of
from mobilenetv2.runtime.loading import TORCH, LoadedModel, features_of, load_for_many, settings_of
from mobilenetv2.runtime.predictor import require_threads
from mobilenetv2.runtime.stream import Answers, FirstPhoto, Sinks, stream
from mobilenetv2.spec.records import Preprocessing, Resize
from mobilenetv2.spec.standard import EMBEDDED
from mobilenetv2.text import counted

if TYPE_CHECKING:
    from mobilenetv2.runtime.fastest import Allowed
    from mobilenetv2.runtime.on_ray import Cluster
    from mobilenetv2.runtime.output.rows import Kind


THRESHOLD = 0.5
"""Smallest probability of a photo that is not for review, by default."""


@overload
def predict(
    photos: Photos, model: AnyModel = EMBEDDED, *, runtime: str | None = None,
    device: str = "cpu", threads: int | None = None, batch: int | None = None, flips: bool = False,
    features: Literal[False] = False, progress: bool = False, ordered: bool = True,
    fast_decode: bool = False, precision: "Allowed" = "exact", verbose: bool = False,
    output: str | PathLike[str] | None = None, output_kind: "Kind | None" = None,
    top: int | None = None, resume: bool = False,
    overwrite: bool = False, copy_to: str | PathLike[str] | None = None,
    threshold: float = THRESHOLD, links: bool = False,
    labels: GivenLabels | None = None, preprocessing: GivenPreprocessing | None = None,
    resize: Resize | None = None, ignore: str | Sequence[str] = (),
    on: str | None = None, workers: int | None = None,
) -> Answers[Answer]: ...  # fmt: skip


@overload
def predict(
    photos: Photos, model: AnyModel = EMBEDDED, *, runtime: str | None = None,
    device: str = "cpu", threads: int | None = None, batch: int | None = None, flips: bool = False,
    features: Literal[True], progress: bool = False, ordered: bool = True,
    fast_decode: bool = False, precision: "Allowed" = "exact", verbose: bool = False,
    output: str | PathLike[str] | None = None, output_kind: "Kind | None" = None,
    top: int | None = None, resume: bool = False,
    overwrite: bool = False, copy_to: str | PathLike[str] | None = None,
    threshold: float = THRESHOLD, links: bool = False,
    labels: GivenLabels | None = None, preprocessing: GivenPreprocessing | None = None,
    resize: Resize | None = None, ignore: str | Sequence[str] = (),
    on: str | None = None, workers: int | None = None,
) -> Answers[Features]: ...  # fmt: skip


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
    precision: "Allowed" = "exact",
    verbose: bool = False,
    output: str | PathLike[str] | None = None,
    output_kind: "Kind | None" = None,
    top: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    copy_to: str | PathLike[str] | None = None,
    threshold: float = THRESHOLD,
    links: bool = False,
    labels: GivenLabels | None = None,
    preprocessing: GivenPreprocessing | None = None,
    resize: Resize | None = None,
    ignore: str | Sequence[str] = (),
    on: str | None = None,
    workers: int | None = None,
) -> Answers[Answer] | Answers[Features]:
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
            'torch', or 'auto' for the fastest one on this machine, which a short trial finds and
            the cache remembers. Default: ONNX Runtime; for an exported file, the runtime of its
            format; for another device than the CPU, PyTorch.
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
        precision: 'exact' (default) for answers that differ from float32's by rounding only, or
            'auto' for the fastest precision on this machine, with a word on how the answers differ.
        verbose: True to say on stderr which runtime answers, and the rates of those that 'auto' has
            tried.
        output: file for the answers: .csv, .jsonl or .parquet. It grows as NAME.unfinished while
            they are taken, and takes its place after the last one.
        output_kind: how the file is written, 'csv', 'jsonl' or 'parquet'; default: by its suffix.
        top: number of classes of a photo in the file; default: 5, or all of a multi-label model.
        resume: True to go on with a file that a stopped or killed run has left unfinished; photos
            that are done are not predicted again. They are known by name, size and time.
        overwrite: True to start anew where a run was stopped.
        copy_to: folder into which the photos are copied, one folder a class; those whose
            probability is below ``threshold`` go into 'review'.
        threshold: smallest probability of a photo that is not for review.
        links: True for symbolic links instead of copies.
        progress: True for a progress bar on stderr.
        labels: for a .tflite or .onnx file of another program: names of the classes, or the path of
            a file with them. Default: those in the file, or in a file beside it.
        preprocessing: for such a file: a :class:`mobilenetv2.Preprocessing`, the name of a range
            ('0..1', '-1..1', '0..255', 'imagenet') or of a publisher, or the path of a JSON file.
            Default: the file's metadata, or an assumption, which is told on stderr.
        resize: for such a file: 'stretch', 'cover' (central square) or 'none'. Default: the file's
            metadata, else 'stretch'.
        ignore: patterns of names in folders that are passed over, such as "raw*".
        on: 'ray' for a Ray of this machine, started and stopped here, or 'ray://HOST:PORT' for a
            Ray cluster, whose workers read and compute the photos; the answers are the same. It is
            connected to when the first answer is taken.
        workers: number of workers of the cluster, each of ``threads`` threads, by default one.
            Default: as many as it has CPUs for.

    Returns:
        An iterator over :class:`Answer` (with ``features``, :class:`Features`) and
        :class:`Unreadable`, which counts them.

    Raises:
        DataError: a path does not exist, or a folder has no photos.
        WeightsError, ArtifactError, SpecError: the model cannot be downloaded, read or run.
        MissingExtra: the runtime is not installed.
        MobileNetV2Error: ``output`` has another suffix, a run was stopped there, or it was one of
            other settings.
        All but the last are raised before the first answer.
        Stopped: Ctrl-C while a file is written; ``resume`` goes on.

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
    found = collect(photos, ignore, ordered, None if copy_to is None else Path(copy_to))
    before = None
    if output is not None and resume:
        from mobilenetv2.runtime.fastest import Before
        from mobilenetv2.runtime.output.file import settings_before

        if settings := settings_before(Path(output)):
            before = Before(str(settings.get("runtime")), settings.get("int8 file"))
    outputs: Literal["features", "logits"] = "features" if features else "logits"
    cluster = _cluster(on, workers, threads, runtime, device)
    if cluster is not None:
        threads = cluster.threads
    first = FirstPhoto(found.alone if cluster is None else None)
    loaded = load_for_many(
        model, outputs, runtime=runtime, device=device, threads=threads, precision=precision,
        sample=partial(_sample_of, found), before=before, flips=flips, fast_decode=fast_decode,
        verbose=verbose, given=given_options(labels, preprocessing, resize), ready=first.begin,
    )  # fmt: skip
    if verbose:
        say(f"{loaded.name}: {loaded.runtime}, {counted(callers_of(loaded.predict), 'thread')}")
    wanted = None
    if output is not None:
        from mobilenetv2.runtime.output.file import AnswerFile  # most calls write none
        from mobilenetv2.runtime.output.rows import Rows, kind_of

        path = Path(output)
        rows = Rows(output_kind or kind_of(path), features_of(loaded.config) if features else None)
        settings = settings_of(loaded, rows=repr(rows), top=top, flips=flips, device=device)
        wanted = AnswerFile(path, rows, settings, resume, overwrite)
    elif resume or overwrite:
        name = "resume" if resume else "overwrite"
        raise MobileNetV2Error(f"{argument(name, True)} is for a file; give {argument('output')}")
    folders = None
    if copy_to is None and (links or threshold != THRESHOLD):
        given = argument("links", True) if links else argument("threshold", threshold)
        raise MobileNetV2Error(f"{given} is for photos in folders; give {argument('copy_to')}")
    if copy_to is not None:
        if features:
            raise MobileNetV2Error(f"{argument('copy_to')} needs classes, not features")
        from mobilenetv2.runtime.output.sorting import PhotoFolders

        folders = PhotoFolders(Path(copy_to), loaded.config.labels.names, threshold, links)
    sinks = Sinks(wanted, folders, top)
    if features:
        made = stream(loaded, found, Features, batch, ordered, sinks, progress, threads, first,
                      cluster)  # fmt: skip
        return Answers(made, sinks)
    make = _answer_of(loaded)
    answers = stream(loaded, found, make, batch, ordered, sinks, progress, threads, first, cluster)
    return Answers(answers, sinks)


def _cluster(
    on: str | None, workers: int | None, threads: int | None, runtime: str | None, device: str
) -> "Cluster | None":
    """Return where photos are computed; None for this process."""
    if on is None:
        if workers is not None:
            raise MobileNetV2Error(f"{argument('workers')} is for a cluster; give {argument('on')}")
        return None
    if runtime == TORCH or device != "cpu":
        named = argument("runtime", TORCH) if device == "cpu" else argument("device", device)
        raise MobileNetV2Error(
            f"{argument('on', on)} computes on CPUs with the other runtimes; leave out {named}"
        )
    from mobilenetv2.cluster.connection import package
    from mobilenetv2.runtime.on_ray import Cluster

    require_threads(threads)
    cluster = Cluster(on, workers, threads)
    package()  # a missing extra is told before the photos are looked for
    return cluster


def _sample_of(photos: CollectedPhotos, record: Preprocessing) -> NDArray:
    """Return photos for a trial of runtimes; none of those that come once."""
    from mobilenetv2.runtime.fastest import sample_of

    def read(photo: Photo) -> NDArray:
        return network_picture_noted(photo, record)[0]

    return sample_of(() if photos.once else photos.quietly(), read, record)


def answers(
    loaded: LoadedModel, photos: CollectedPhotos, batch: int | None = None
) -> Iterator[Answer | Unreadable]:
    """Return a stream of the answers of a loaded model."""
    return stream(loaded, photos, _answer_of(loaded), batch)


def _answer_of(loaded: LoadedModel) -> Callable[[NDArray, Path | None], Answer]:
    labels, outputs = loaded.config.labels, loaded.config.outputs
    return lambda logits, photo: Answer(probabilities(logits, outputs), labels, outputs, photo)
