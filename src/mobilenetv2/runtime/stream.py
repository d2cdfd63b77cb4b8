"""Stream of results for any number of photos, which may also go into a file and into folders."""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Generic, TypeVar

from numpy.typing import NDArray

from mobilenetv2.data.batches import AHEAD
from mobilenetv2.data.photos import CollectedPhotos
from mobilenetv2.errors import ImageError, MobileNetV2Error, OutputError
from mobilenetv2.images.notes import Note, Tally
from mobilenetv2.images.photo import Photo, network_picture_noted, path_of
from mobilenetv2.progress import say, track
from mobilenetv2.runtime.answers import Answer, Features, Unreadable
from mobilenetv2.runtime.bulk import Computed, compute
from mobilenetv2.runtime.loading import LoadedModel
from mobilenetv2.spec.records import Preprocessing

if TYPE_CHECKING:  # what writes and sorts is imported where it is asked for
    from mobilenetv2.runtime.on_ray import Cluster
    from mobilenetv2.runtime.output.file import AnswerFile
    from mobilenetv2.runtime.output.journal import Identity
    from mobilenetv2.runtime.output.sorting import PhotoFolders

MEMORY = "a photo in memory"
"""Name of a photo without a path, in notes and errors."""
Made = TypeVar("Made", bound=Answer | Features)


class Answers(Iterator[Made | Unreadable], Generic[Made]):
    """Answers as they come, with the number of them.

    Args:
        results: the answers.
        sinks: where they go, too.
    """

    def __init__(self, results: Generator[Made | Unreadable, None, None], sinks: "Sinks") -> None:
        self._results, self._file, self._folders = results, sinks.file, sinks.folders
        self._count = self._failed = 0

    def __next__(self) -> Made | Unreadable:
        """Return the next answer.

        Raises:
            Stopped: Ctrl-C while a file is written.
        """
        found = next(self._results)
        self._count += 1
        self._failed += found.error is not None
        return found

    def close(self) -> None:
        """End the stream; what a file has is kept, to be resumed."""
        self._results.close()

    @property
    def count(self) -> int:
        """Number of photos so far; with a file, those of resumed runs are among them."""
        return self._count if self._file is None else self._file.count

    @property
    def sorted(self) -> dict[str, int]:
        """Number of photos that were sorted into each folder so far, where there are some."""
        counts = {} if self._folders is None else self._folders.counts
        return {name: count for name, count in counts.items() if count}

    @property
    def failed(self) -> int:
        """Number of photos without an answer so far, counted as ``count``."""
        return self._failed if self._file is None else self._file.failed


@dataclass(frozen=True, slots=True)
class Sinks:
    """Places for answers, beside the caller: a file, folders of photos."""

    file: "AnswerFile | None" = None
    folders: "PhotoFolders | None" = None
    top: int | None = None
    """Number of classes of a photo in the file."""

    def take(self, answer: Answer | Features | Unreadable, todo: "_Todo") -> None:
        """Sort a photo, and write its answer: in this order, since what is written is done."""
        if self.folders is not None and isinstance(answer, Answer):
            self.folders.add(answer, todo.photo)
        if self.file is not None and todo.identity is not None:
            row = answer.to_dict() if isinstance(answer, Features) else answer.to_dict(self.top)
            self.file.add(row, todo.identity)


@dataclass(frozen=True, slots=True)
class _Todo:
    photo: Photo
    identity: "Identity | None" = None
    """Identity of the photo, where answers go into a file."""


class FirstPhoto:
    """Reader of photos that reads the only photo of a call while the engine starts.

    Args:
        photo: the photo; None for several ones, each of which is read in its turn.
    """

    def __init__(self, photo: Photo | None) -> None:
        self._photo = photo
        self._read: Future[tuple[NDArray, tuple[Note, ...]]] | None = None
        self._record: Preprocessing | None = None

    def begin(self, record: Preprocessing) -> None:
        """Begin to read the photo in a thread."""
        if self._photo is not None:
            self._record, self._read = record, Future()
            Thread(target=self._look, args=(self._photo, record, self._read), daemon=True).start()

    @staticmethod
    def _look(
        photo: Photo, record: Preprocessing, found: "Future[tuple[NDArray, tuple[Note, ...]]]"
    ) -> None:
        try:
            found.set_result(network_picture_noted(photo, record))
        except BaseException as error:  # it is raised where the photo is used
            found.set_exception(error)

    def __call__(self, photo: Photo, record: Preprocessing) -> tuple[NDArray, tuple[Note, ...]]:
        """Return a photo as :func:`network_picture_noted` does."""
        if self._read is not None and record == self._record:  # there is no other photo
            return self._read.result()
        return network_picture_noted(photo, record)


def stream(
    loaded: LoadedModel,
    photos: CollectedPhotos,
    make: Callable[[NDArray, Path | None], Made],
    batch: int | None = None,
    ordered: bool = True,
    sinks: Sinks = Sinks(),
    progress: bool = False,
    threads: int | None = None,
    read: Callable[[Photo, Preprocessing], tuple[NDArray, tuple[Note, ...]]] = (
        network_picture_noted
    ),
    cluster: "Cluster | None" = None,
) -> Generator[Made | Unreadable, None, None]:
    """Yield a result for each photo, made of the outputs of a loaded model.

    Notes on how photos were read are said at the end, on stderr.

    Args:
        loaded: the model.
        photos: the photos.
        make: function from the float32 outputs (outputs,) of a photo and its path to the result.
        batch: number of photos in a batch. Default: what is fast on a CPU.
        ordered: False to yield each result as soon as it is there.
        sinks: where results go, too.
        progress: True to show how far the work is.
        threads: number of threads that read photos, where one computes. Default: one for each core.
        read: function that reads a photo for the network, called in threads.
        cluster: what reads and computes the photos instead of this process.
    """
    record, noted = loaded.config.preprocessing, Tally()

    def load(todo: _Todo) -> tuple[str, NDArray]:
        name = str(path_of(todo.photo) or MEMORY)
        picture, notes = read(todo.photo, record)
        take(todo.photo, notes)
        return name, picture

    def take(photo: Photo, notes: tuple[Note, ...]) -> None:
        for note in notes:
            noted.add(str(path_of(photo) or MEMORY), note)

    def computed() -> Iterator[Computed[_Todo]]:
        todos = _left(photos, sinks.file)
        if cluster is not None:
            return cluster.compute(
                loaded.predict, record, todos, lambda todo: todo.photo, take, batch=batch,
                one_by_one=photos.slow, ordered=ordered, awaited=photos.awaited,
            )  # fmt: skip
        # An iterator may be slow, such as a camera, so that few photos are awaited at a time.
        return compute(
            loaded.predict, todos, load, batch=batch, threads=threads,
            ahead=1 if photos.slow else AHEAD, ordered=ordered, awaited=photos.awaited,
        )  # fmt: skip

    def results() -> Generator[Made | Unreadable, None, None]:
        for one in computed():
            path = path_of(one.item.photo)
            result: Made | Unreadable
            if isinstance(one.outputs, ImageError | OutputError):
                result = Unreadable(one.outputs, path)
            else:
                result = make(one.outputs, path)
            sinks.take(result, one.item)
            yield result
            if sinks.file is not None and sinks.file.closed:
                return

    if sinks.file is not None:
        sinks.file.at_once = photos.slow or photos.awaited
    with sinks.file or nullcontext(), closing(results()) as found:
        if progress and not photos.slow:
            before = sinks.file.count if sinks.file is not None else 0
            with closing(Counted(photos, before)) as known:
                yield from track(found, "predicting", known)
        else:
            yield from found
    for sentence in noted.sentences():
        say(f"note: {sentence}")
    if sinks.folders is not None:
        for note in sinks.folders.notes():
            say(note)


def _left(photos: Iterable[Photo], file: "AnswerFile | None") -> Iterator[_Todo]:
    """Yield the photos whose answers are not in the file yet."""
    if file is None:
        yield from map(_Todo, photos)
        return
    from mobilenetv2.runtime.output.journal import identity

    in_memory = 0
    for photo in photos:
        known = identity(photo, in_memory)
        in_memory += path_of(photo) is None
        if not file.is_done(known):
            yield _Todo(photo, known)


class Counted:
    """Number of photos, which a thread counts while the first ones are predicted.

    The count stays unknown for photos that can be taken only once.

    Args:
        photos: the photos.
        done: number of those that were done before.
    """

    def __init__(self, photos: CollectedPhotos, done: int = 0) -> None:
        self._photos, self._done = photos, done
        self._count: int | None = None
        self._closed = False
        if not photos.once:
            Thread(target=self._look, daemon=True, name="count").start()

    def _look(self) -> None:
        count = 0
        # Whoever takes the photos meets the same error, and says it.
        with suppress(OSError, MobileNetV2Error):
            for _ in self._photos.quietly(ordered=False):
                count += 1
                if self._closed:
                    return
            self._count = count

    def close(self) -> None:
        """Stop counting."""
        self._closed = True

    def __call__(self) -> int | None:
        """Return the number that is left; None as long as it is unknown."""
        return None if self._count is None else max(0, self._count - self._done)
