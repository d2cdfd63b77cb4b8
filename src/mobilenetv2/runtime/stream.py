"""Stream of results for any number of photos, which may also go into a file and into folders."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Generic, TypeVar

from numpy.typing import NDArray

from mobilenetv2.data.batches import AHEAD
from mobilenetv2.data.photos import Found
from mobilenetv2.errors import DataError, ImageError, OutputError
from mobilenetv2.images.notes import Tally
from mobilenetv2.images.photo import PackedPhoto, Photo, network_picture_noted, path_of
from mobilenetv2.progress import say, track
from mobilenetv2.runtime.answers import Answer, Features, Unreadable
from mobilenetv2.runtime.bulk import compute
from mobilenetv2.runtime.loading import LoadedModel

if TYPE_CHECKING:  # what writes and sorts is imported where it is asked for
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
        if self.file is not None:
            row = answer.to_dict() if isinstance(answer, Features) else answer.to_dict(self.top)
            self.file.add(row, todo.identity)


@dataclass(frozen=True, slots=True)
class _Todo:
    photo: Photo
    identity: "Identity | None"


def stream(
    loaded: LoadedModel,
    photos: Found,
    make: Callable[[NDArray, Path | None], Made],
    batch: int | None = None,
    ordered: bool = True,
    sinks: Sinks = Sinks(),
    progress: bool = False,
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
    """
    record, noted = loaded.config.preprocessing, Tally()

    def load(todo: _Todo) -> tuple[str, NDArray]:
        name = str(path_of(todo.photo) or MEMORY)
        picture, notes = network_picture_noted(todo.photo, record)
        for note in notes:
            noted.add(name, note)
        return name, picture

    def results() -> Generator[Made | Unreadable, None, None]:
        # An iterator may be slow, such as a camera, so that few photos are awaited at a time.
        ahead = 1 if photos.slow else AHEAD
        todo = _left(photos, sinks.file)
        for one in compute(loaded.predict, todo, load, batch=batch, ahead=ahead, ordered=ordered):
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

    with sinks.file or nullcontext(), closing(results()) as found:
        if progress and not photos.slow:
            done = sinks.file.count if sinks.file is not None else 0
            yield from track(found, "predicting", Counted(photos, done))
        else:
            yield from found
    for sentence in noted.sentences():
        say(f"note: {sentence}")


def _left(photos: Iterable[Photo], file: "AnswerFile | None") -> Iterator[_Todo]:
    """Yield the photos whose answers are not in the file yet."""
    for photo in photos:
        path = path_of(photo) if file is not None else None
        if file is None or path is None:
            yield _Todo(photo, None)
            continue
        from mobilenetv2.runtime.output.journal import identity

        known = identity(path, photo.place if isinstance(photo, PackedPhoto) else None)
        if not file.is_done(known):
            yield _Todo(photo, known)


class Counted:
    """Number of photos, which a thread counts while the first ones are predicted.

    Args:
        photos: the photos.
        done: number of those that were done before.
    """

    def __init__(self, photos: Found, done: int = 0) -> None:
        self._photos, self._done = photos, done
        self._count: int | None = None
        Thread(target=self._look, daemon=True, name="count").start()

    def _look(self) -> None:
        with suppress(OSError, DataError):  # whoever takes the photos meets it, too, and says it
            self._count = self._photos.count()

    def __call__(self) -> int | None:
        """Return the number that is left; None as long as it is unknown."""
        return None if self._count is None else max(0, self._count - self._done)
