"""Order of the photos in an epoch, and batches that threads load ahead.

The order depends only on (seed, epoch), so a run can continue at any batch. Threads are used
instead of processes: Pillow and NumPy release the interpreter's lock during the slow work, and
nothing has to be copied between processes.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.images.memory import SHARED
from mobilenetv2.machine import workers

Job = TypeVar("Job")
Result = TypeVar("Result")
Batches = Iterator[tuple[NDArray, NDArray]]
"""Batches of inputs, uint8 or maps (batch, ...), with their int64 indices (batch,)."""

AHEAD = 64
"""Jobs in flight for each worker: enough to bridge a slow photo, with bounded memory."""
PATIENCE = 0.5
"""Seconds between two looks for a result while jobs come with pauses."""
GROUP = 16
"""Most photos of a job of :func:`batches`: each job has a cost of its own."""
BATCHES_AHEAD = 4
"""Jobs in flight for each worker if a job is a whole batch."""


def epoch_order(labels: NDArray, seed: int, epoch: int, balance: float = 0.0) -> NDArray:
    """Return the indices of an epoch's photos in order: int64 (photos,).

    Args:
        labels: class index of each photo, int (photos,).
        balance: exponent of class balancing. A class's part of the epoch is proportional to its
            number of photos to the power of 1 - balance. With 0 every photo comes once; with 1
            every class has the same part. The photos of a class take turns, and the next epoch
            continues where the last one ended. So after any number of epochs, no photo has come
            more than once more often than another of its class.
    """
    random = np.random.default_rng([seed, epoch, 0])
    count = len(labels)
    if not balance:
        return random.permutation(count)
    classes, counts = np.unique(labels, return_counts=True)
    share = counts ** (1.0 - balance)
    exact = count * share / share.sum()
    whole = np.floor(exact).astype(np.int64)
    rest = np.argsort(whole - exact, kind="stable")[: count - int(whole.sum())]
    whole[rest] += 1
    parts = [
        _in_turns(np.flatnonzero(labels == name), int(quota), seed, epoch, place)
        for place, (name, quota) in enumerate(zip(classes, whole, strict=True))
    ]
    return random.permutation(np.concatenate(parts))


def _in_turns(photos: NDArray, quota: int, seed: int, epoch: int, place: int) -> NDArray:
    """Return an epoch's part of an endless sequence in which each round has every photo once."""
    first, start = divmod(epoch * quota, len(photos))
    rounds = [
        np.random.default_rng([seed, number, place, 4]).permutation(photos)
        for number in range(first, first + -(-(start + quota) // len(photos)))
    ]
    return np.concatenate([photos[:0], *rounds])[start : start + quota]


def in_parallel(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    threads: int | None = None,
    ahead: int = AHEAD,
    ordered: bool = True,
    awaited: bool = False,
) -> Generator[Result, None, None]:
    """Yield results in the order of the jobs, computed ahead; the first error is raised.

    The photos that a job reads share the memory of :mod:`mobilenetv2.images.memory` until it ends.

    Args:
        function: function from a job to its result, called in threads.
        jobs: the jobs, which are taken one by one.
        threads: number of threads. Default: one for each core.
        ahead: jobs in flight for each thread.
        ordered: False to yield each result as soon as it is there.
        awaited: True for jobs that come with pauses. A thread takes them, so that results do not
            wait for later jobs.
    """
    threads = threads or workers()
    if awaited:
        yield from _while_jobs_come(function, jobs, threads, ahead, ordered)
        return
    pending: deque[Future[Result]] = deque()
    done: SimpleQueue[Future[Result]] = SimpleQueue()

    def next_result() -> Result:
        future = pending[0] if ordered else done.get()
        pending.remove(future)
        return future.result()

    def is_ready() -> bool:
        return pending[0].done() if ordered else not done.empty()

    with ThreadPoolExecutor(threads, thread_name_prefix="photos") as pool:
        try:
            for job in jobs:
                future = pool.submit(_work, function, job)
                pending.append(future)
                if not ordered:
                    future.add_done_callback(done.put)
                while pending and (len(pending) >= ahead * threads or is_ready()):
                    yield next_result()
            while pending:
                yield next_result()
        finally:
            for future in pending:
                future.cancel()


def _work(function: Callable[[Job], Result], job: Job) -> Result:
    with SHARED.work():
        return function(job)


def _while_jobs_come(
    function: Callable[[Job], Result], jobs: Iterable[Job], threads: int, ahead: int, ordered: bool
) -> Iterator[Result]:
    """Yield results as :func:`in_parallel` does, while a thread waits for the next job."""
    found: SimpleQueue[Future[Result] | None] = SimpleQueue()
    room, given, ended = Semaphore(ahead * threads), 0, False
    failed: list[Exception] = []

    def feed() -> None:
        nonlocal given
        try:
            for job in jobs:
                room.acquire()
                if ended:
                    return
                future = pool.submit(_work, function, job)
                given += 1
                if ordered:
                    found.put(future)
                else:
                    future.add_done_callback(found.put)
        except Exception as error:  # of the jobs; it is raised after all results
            failed.append(error)
        finally:
            found.put(None)

    with ThreadPoolExecutor(threads, thread_name_prefix="photos") as pool:
        # It may wait for ever, such as for standard input, and does not keep the process alive.
        Thread(target=copy_context().run, args=(feed,), daemon=True, name="jobs").start()
        taken, all_given = 0, False
        try:
            while not (all_given and taken == given):
                try:
                    future = found.get(timeout=PATIENCE)
                except Empty:  # Windows takes Ctrl-C only between two looks
                    continue
                if future is None:
                    all_given = True
                    continue
                taken += 1
                room.release()
                yield future.result()
            if failed:
                raise failed[0]
        finally:
            ended = True
            room.release()
            pool.shutdown(cancel_futures=True)


def chunked(
    order: Sequence[int] | NDArray, batch_size: int, start: int = 0, drop_last: bool = False
) -> list[NDArray]:
    """Return the int64 indices of each batch, from batch ``start`` on.

    Args:
        order: indices in their order in the epoch.
        drop_last: leave out a last batch that is not full.
    """
    indices = np.asarray(order, np.int64)[start * batch_size :]
    if drop_last:
        indices = indices[: len(indices) // batch_size * batch_size]
    return [indices[at : at + batch_size] for at in range(0, len(indices), batch_size)]


def batches(load: Callable[[int], NDArray], chunks: Sequence[NDArray]) -> Batches:
    """Yield the stacked images of each chunk of indices, and the chunk.

    ``load`` is called in threads and returns uint8 (height, width, channels), all of one size.
    """
    # Each worker has several parts of every batch, so that a slow photo holds none up.
    each = min(max(1, max(map(len, chunks), default=1) // (4 * workers())), GROUP)
    parts = [chunk[at : at + each] for chunk in chunks for at in range(0, len(chunk), each)]
    loaded = in_parallel(
        lambda part: [load(int(index)) for index in part], parts, ahead=max(1, AHEAD // each)
    )
    for chunk in chunks:
        pictures = list[NDArray]()
        while len(pictures) < len(chunk):
            pictures += next(loaded)
        yield np.stack(pictures), chunk


def whole_batches(load: Callable[[NDArray], NDArray], chunks: Sequence[NDArray]) -> Batches:
    """Yield the same as :func:`batches`; ``load`` returns a batch for int64 indices (batch,)."""
    yield from zip(in_parallel(load, chunks, ahead=BATCHES_AHEAD), chunks, strict=True)
