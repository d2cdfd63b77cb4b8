"""Outputs of a network for any number of photos, computed by the workers of a Ray cluster.

Each worker is an actor with the predictor, which came with its artifact's bytes, so that a machine
of the cluster needs neither the model nor this machine's files. A task is a group of photos: paths
that the worker reads where it finds the same file, else bytes. This machine keeps the order, gives
a task to another worker if its own dies, and takes each answer once.

Ray's own pool of ``map_batches`` is not used (docs/decisions/packages.md).
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from numpy.typing import NDArray

from mobilenetv2.cluster.connection import connected, parse
from mobilenetv2.data.batches import in_parallel
from mobilenetv2.errors import ImageError, MobileNetV2Error, OutputError, argument
from mobilenetv2.files import read_file
from mobilenetv2.images.decode import LIMITS
from mobilenetv2.images.notes import Note
from mobilenetv2.images.photo import PackedPhoto, Photo, network_picture_noted, path_of
from mobilenetv2.runtime.bulk import SMALL_BATCH, Computed, compute
from mobilenetv2.runtime.lasting import Predictor, batch_of
from mobilenetv2.spec.records import Preprocessing

Item = TypeVar("Item")

TASK = 32
"""Photos in a task: a message to a worker costs a few milliseconds."""
MOST_BYTES = 8 * 1024**2
"""Bytes of photos from which on a task goes out before it is full."""
IN_FLIGHT = 2
"""Tasks of each worker: one is computed, the next one waits there."""
AHEAD = 4
"""Tasks whose photos were taken, for each of those in flight, while an early one is awaited."""
TRIES = 3
"""Workers that may die of a task before its photos are tried one by one, and then of a photo."""
STARTS = 5
"""Workers in a row that may die before they are ready."""
START = 300.0
"""Seconds without any worker after which the work ends with an error."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A photo's file, which a worker reads itself."""

    path: Path
    state: tuple[int, int] | None = None
    """Size and time of the file, by which a machine of a cluster knows it; None on this machine."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """A photo's file that goes to a worker."""

    data: bytes
    path: Path | None
    """Name of the photo; None for one in memory."""


Sent: TypeAlias = Reference | Bytes | NDArray
"""Form in which a photo goes to a worker; an array is a picture for the network."""


class Elsewhere(NamedTuple):
    """Answer of a worker that does not see a photo's file."""


class Found(NamedTuple):
    """Answer of a worker for one photo."""

    outputs: NDArray | ImageError | OutputError | Elsewhere
    notes: tuple[Note, ...] = ()


class Worker:
    """Worker of a cluster, with a loaded model: the class of the actors.

    Args:
        predict: predictor of the network, which starts as it arrives.
        record: preprocessing of the photos.
        folder: current folder of the caller, from which relative paths count.
        batch: number of photos that are computed together.
        threads: number of threads.
    """

    def __init__(
        self, predict: Predictor, record: Preprocessing, folder: str, batch: int, threads: int
    ) -> None:
        self._predict, self._record, self._batch = predict, record, batch
        self._threads, self._there = threads, False
        with contextlib.suppress(OSError):  # it may not be there
            os.chdir(folder)
            self._there = True

    def ready(self) -> int:
        """Return the number of the process, once the model is loaded."""
        return os.getpid()

    def answer(self, photos: list[Sent]) -> list[Found]:
        """Return the outputs of photos, in order."""
        notes: dict[int, tuple[Note, ...]] = {}
        absent = {at for at, one in enumerate(photos) if not self._sees(one)}

        def load(at: int) -> tuple[str, NDArray]:
            name, picture, notes[at] = _read(photos[at], self._record)
            return name, picture

        left = [at for at in range(len(photos)) if at not in absent]
        done = {
            one.item: one.outputs
            for one in compute(
                self._predict, left, load, batch=self._batch, threads=self._threads, ordered=False
            )
        }
        return [Found(done.get(at, Elsewhere()), notes.get(at, ())) for at in range(len(photos))]

    def _sees(self, photo: Sent) -> bool:
        if not isinstance(photo, Reference) or photo.state is None:
            return True
        return self._there and _state(photo.path) == photo.state


def _read(photo: Sent, record: Preprocessing) -> tuple[str, NDArray, tuple[Note, ...]]:
    if isinstance(photo, Reference):
        return str(photo.path), *network_picture_noted(photo.path, record)
    if isinstance(photo, Bytes):
        data, path = photo.data, photo.path
        given: Photo = data if path is None else PackedPhoto(path, lambda: data, path)
        return str(path or "a photo in memory"), *network_picture_noted(given, record)
    return "a photo in memory", photo, ()


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


class Cluster:
    """Ray, as :func:`mobilenetv2.predict` computes on it.

    Args:
        on: 'ray' or 'ray://HOST:PORT', as :func:`mobilenetv2.cluster.connection.parse` takes it.
        workers: number of workers. Default: as many as the CPUs of the cluster have room for.
        threads: number of threads of each worker. Default: one.

    Raises:
        MobileNetV2Error: ``on`` names no Ray, or a number is below 1.

    Example:
        >>> from mobilenetv2.runtime.on_ray import Cluster
        >>> Cluster("ray", workers=2).threads
        1
    """

    def __init__(self, on: str, workers: int | None = None, threads: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise MobileNetV2Error(f"{argument('workers')} {workers} must be at least 1")
        self.on, self._here, self._workers = on, parse(on).address is None, workers
        self.threads = threads or 1

    def compute(
        self,
        predict: Predictor,
        record: Preprocessing,
        items: Iterable[Item],
        photo_of: Callable[[Item], Photo],
        noted: Callable[[Photo, tuple[Note, ...]], None],
        *,
        batch: int | None = None,
        one_by_one: bool = False,
        ordered: bool = True,
        awaited: bool = False,
    ) -> Iterator[Computed[Item]]:
        """Yield each photo with its outputs, computed ahead of the caller.

        Args:
            predict: predictor of the network, which can be pickled.
            record: preprocessing of the photos.
            items: the photos, which are taken one by one.
            photo_of: function from an item to its photo.
            noted: function that takes the notes on a photo; threads call it.
            batch: number of photos that are computed together; default: what is fast.
            one_by_one: True for photos that come slowly, each of which is a task.
            ordered: False to yield each photo as soon as it is there.
            awaited: True for photos whose names come with pauses.

        Raises:
            MobileNetV2Error: nobody answers at the address, its versions are others, or it has no
                room for the workers.

        Example:
            >>> from mobilenetv2.runtime.on_ray import Cluster
            >>> Cluster("ray").compute(predict, record, photos, id, print)  # doctest: +SKIP
        """
        size = batch or batch_of(predict) or SMALL_BATCH
        with connected(self.on) as ray:
            count = self._room(ray)
            made = (ray.put(predict), record, str(Path.cwd()), size, self.threads)
            with Team(ray, count, self.threads, made) as team:
                task = _Task(team, record, photo_of, noted, not self._here)
                alone = one_by_one or awaited
                groups = _grouped(items, 1 if alone else TASK)
                done = in_parallel(
                    task, groups, count * IN_FLIGHT, 1 if alone else AHEAD, ordered, awaited
                )
                with closing(done):  # its threads end before their workers do
                    for group in done:
                        yield from group

    def _room(self, ray: Any) -> int:
        """Return the number of workers; raise an error if the cluster has no room for them."""
        room = int(ray.cluster_resources().get("CPU", 0)) // self.threads
        count = self._workers or room
        if not 0 < count <= room:
            raise MobileNetV2Error(
                f"{argument('on', self.on)} has CPUs for {room} workers of {self.threads} threads, "
                f"not for {max(1, count)}; give fewer {argument('workers')} or "
                f"{argument('threads')}"
            )
        return count


def _grouped(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    remaining = iter(items)
    while group := list(islice(remaining, size)):
        yield group


class Team:
    """The workers, each of which has places for tasks while it lives; who dies is replaced.

    Args:
        ray: the package, connected.
        count: number of workers.
        threads: number of threads of each.
        made: arguments of :class:`Worker`.
    """

    def __init__(self, ray: Any, count: int, threads: int, made: tuple[Any, ...]) -> None:
        # Ray's own restarts would keep a worker's place on a machine that is gone.
        kind = ray.remote(num_cpus=threads, max_restarts=0, max_task_retries=0)(Worker)
        self.ray, self._make = ray, partial(kind.remote, *made)
        self._starting = [(actor, actor.ready.remote()) for actor in self._new(count)]
        self._ready: list[Any] = []
        self._places: SimpleQueue[Any] = SimpleQueue()
        self._lock, self._closed, self._died = threading.Lock(), False, 0
        self._failed: BaseException | None = None
        self._watch = threading.Thread(target=self._start, daemon=True, name="workers")

    def _new(self, count: int) -> list[Any]:
        return [self._make() for _ in range(count)]

    def __enter__(self) -> "Team":
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._watch.join()
        for actor in (*self._ready, *(one for one, _ in self._starting)):
            with contextlib.suppress(self.ray.exceptions.RayError, ConnectionError):
                self.ray.kill(actor)

    @contextmanager
    def place(self) -> Iterator[Any]:
        """Yield a worker that is ready, for one task."""
        actor = self._wait()
        try:
            yield actor
        finally:
            self._places.put(actor)

    def lost(self, actor: Any) -> None:
        """Put a new worker in the place of one, if nobody has done so."""
        with self._lock:
            if not any(actor is one for one in self._ready):
                return
            self._ready = [one for one in self._ready if one is not actor]
            with contextlib.suppress(self.ray.exceptions.RayError):
                self.ray.kill(actor)  # it may live, where only its network is gone
            self._add()

    def _add(self) -> None:
        (actor,) = self._new(1)
        self._starting.append((actor, actor.ready.remote()))

    def _wait(self) -> Any:
        last = time.monotonic()
        while True:
            if self._failed is not None:
                raise self._failed
            if self._closed:
                raise MobileNetV2Error("the work on the Ray cluster has ended")
            try:
                actor = self._places.get(timeout=0.2)
            except Empty:
                if self._ready:
                    last = time.monotonic()
                if time.monotonic() - last > START:
                    raise MobileNetV2Error(
                        f"no worker of the Ray cluster is ready after {START:.0f} s; 'ray status' "
                        "there says what it lacks"
                    ) from None
                continue
            if any(actor is one for one in self._ready):
                return actor

    def _start(self) -> None:
        """Give places to the workers that have started: the thread of the team."""
        try:
            while not self._closed:
                with self._lock:
                    asked = {ref: actor for actor, ref in self._starting}
                if not asked:
                    time.sleep(0.1)
                    continue
                for ref in self.ray.wait([*asked], num_returns=1, timeout=0.2)[0]:
                    self._started(asked[ref], ref)
        except BaseException as error:  # it is raised where a place is awaited
            self._failed = error

    def _started(self, actor: Any, ref: Any) -> None:
        """Take a worker that has started, or has died meanwhile."""
        why: BaseException | None = None
        try:
            self.ray.get(ref)
        except self.ray.exceptions.RayError as error:
            why = error
        with self._lock:
            self._starting = [one for one in self._starting if one[0] is not actor]
            if why is None:
                self._died = 0
                self._ready = [*self._ready, actor]
                for _ in range(IN_FLIGHT):
                    self._places.put(actor)
                return
            self._died += 1
            if self._died > STARTS:
                raise MobileNetV2Error(
                    f"the workers of the Ray cluster do not start: {_last_line(why)}"
                )
            self._add()

    @property
    def failures(self) -> tuple[type[BaseException], ...]:
        """Errors that say that a worker or its machine is gone, not that the work is wrong."""
        known = self.ray.exceptions
        return known.RayActorError, known.ObjectLostError, known.OutOfMemoryError

    def answer(self, photos: list[Sent]) -> list[Found] | None:
        """Return the answers of some worker; None if :data:`TRIES` workers have died meanwhile.

        Raises:
            MobileNetV2Error: the model or the runtime does not work there, or no worker is ready.
        """
        for _ in range(TRIES):
            with self.place() as actor:
                try:
                    found: list[Found] = self.ray.get(actor.answer.remote(photos))
                    return found
                except self.failures:
                    self.lost(actor)
                except self.ray.exceptions.RayTaskError as error:
                    if isinstance(error.cause, MobileNetV2Error):
                        raise error.cause from None
                    raise
        return None


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


class _Task(Generic[Item]):
    """Function from a group of photos to their outputs, called in threads."""

    def __init__(
        self, team: Team, record: Preprocessing, photo_of: Callable[[Item], Photo],
        noted: Callable[[Photo, tuple[Note, ...]], None], far: bool,
    ) -> None:  # fmt: skip
        self._team, self._record, self._photo_of, self._noted = team, record, photo_of, noted
        self._far, self._by_bytes = far, False

    def __call__(self, group: list[Item]) -> list[Computed[Item]]:
        done: list[Computed[Item] | None] = [None] * len(group)
        waiting: list[tuple[int, Sent]] = []
        size = 0
        for at, item in enumerate(group):
            photo = self._photo_of(item)
            try:
                sent, notes = self._sent(photo, self._by_bytes)
            except ImageError as error:
                done[at] = Computed(item, error)
                continue
            self._noted(photo, notes)
            waiting.append((at, sent))
            size += len(sent.data) if isinstance(sent, Bytes) else 0
            if size >= MOST_BYTES:
                self._answer(group, waiting, done)
                waiting, size = [], 0
        self._answer(group, waiting, done)
        return [one for one in done if one is not None]

    def _sent(self, photo: Photo, by_bytes: bool) -> tuple[Sent, tuple[Note, ...]]:
        """Return what goes to a worker; raise ImageError for a photo that cannot be read."""
        if isinstance(photo, PackedPhoto):
            return Bytes(photo.read(), photo.path), ()
        if isinstance(photo, bytes):
            return Bytes(photo, None), ()
        path = path_of(photo)
        if path is None:  # it is decoded already
            return network_picture_noted(photo, self._record)
        if not self._far:
            return Reference(path), ()
        state = None if by_bytes else _state(path)
        if state is not None:
            return Reference(path, state), ()
        try:
            if path.stat().st_size <= LIMITS.bytes:
                return Bytes(read_file(path, LIMITS.bytes), path), ()
        except (OSError, ValueError):
            pass  # the error of those who read it here says why
        return network_picture_noted(photo, self._record)

    def _answer(
        self, group: list[Item], waiting: list[tuple[int, Sent]], done: list[Computed[Item] | None]
    ) -> None:
        if not waiting:
            return
        answers = self._team.answer([sent for _, sent in waiting])
        if answers is None:
            if len(waiting) > 1:
                for one in waiting:
                    self._answer(group, [one], done)
                return
            (at, _) = waiting[0]
            name = path_of(self._photo_of(group[at])) or "a photo in memory"
            why = ImageError(
                f"{name}: {TRIES} workers of the Ray cluster died while they had it; try it alone, "
                "without the cluster"
            )
            done[at] = Computed(group[at], why)
            return
        for (at, _), (outputs, notes) in zip(waiting, answers, strict=True):
            photo = self._photo_of(group[at])
            if isinstance(outputs, Elsewhere):
                self._by_bytes = True
                self._again(group, at, done)
                continue
            self._noted(photo, notes)
            done[at] = Computed(group[at], outputs)

    def _again(self, group: list[Item], at: int, done: list[Computed[Item] | None]) -> None:
        """Send a photo's bytes, since the worker does not see its file."""
        try:
            sent, _ = self._sent(self._photo_of(group[at]), by_bytes=True)
        except ImageError as error:
            done[at] = Computed(group[at], error)
        else:
            self._answer(group, [(at, sent)], done)
