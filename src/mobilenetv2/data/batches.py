"""The order of an epoch, and its batches, loaded ahead by threads.

The order is a function of (seed, epoch), so a run can go on at any batch. Threads, not processes:
Pillow and NumPy release the interpreter's lock where the time goes, and nothing has to be copied
between processes.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Job = TypeVar("Job")
Result = TypeVar("Result")
Batches = Iterator[tuple[NDArray, NDArray]]
"""(uint8 (batch, height, width, channels) or other inputs of a step, int64 indices (batch,))."""

AHEAD = 64
"""Jobs in flight for each worker: enough to ride out a slow photo, bounded in memory."""
BATCHES_AHEAD = 4
"""The same where a job is a whole batch."""


def epoch_order(labels: NDArray, seed: int, epoch: int, balance: float = 0.0) -> NDArray:
    """Return the photos of an epoch in order, as many as there are: int64 (photos,).

    Args:
        labels: int (photos,).
        balance: a class's part of the epoch is its count to the power of 1 - balance. 0: every
            photo once. 1: every class equally often. A class's photos take turns, and where an
            epoch ends within a round of turns the next one goes on: after any number of epochs
            no photo has come more than once more often than another of its class.
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
    """Take an epoch's part of an endless row of rounds, each of which has every photo once."""
    first, start = divmod(epoch * quota, len(photos))
    rounds = [
        np.random.default_rng([seed, number, place, 4]).permutation(photos)
        for number in range(first, first + -(-(start + quota) // len(photos)))
    ]
    return np.concatenate([photos[:0], *rounds])[start : start + quota]


def workers() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_parallel(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    threads: int | None = None,
    ahead: int = AHEAD,
) -> Iterator[Result]:
    """Yield results in the order of the jobs, computed ahead; the first error is raised."""
    threads = threads or workers()
    pending: deque[Future[Result]] = deque()
    remaining = iter(jobs)
    with ThreadPoolExecutor(threads, thread_name_prefix="photos") as pool:
        try:
            for job in remaining:
                pending.append(pool.submit(function, job))
                if len(pending) >= ahead * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def chunked(
    order: Sequence[int] | NDArray, batch_size: int, start: int = 0, drop_last: bool = False
) -> list[NDArray]:
    """Return the int64 indices of each batch from batch ``start`` on.

    Args:
        order: indices in the order in which they come.
        drop_last: leave out a last batch that is not full.
    """
    indices = np.asarray(order, np.int64)[start * batch_size :]
    if drop_last:
        indices = indices[: len(indices) // batch_size * batch_size]
    return [indices[at : at + batch_size] for at in range(0, len(indices), batch_size)]


def batches(load: Callable[[int], NDArray], chunks: Sequence[NDArray]) -> Batches:
    """Yield the pictures of each chunk of indices, stacked, and the chunk.

    ``load`` is called in threads and gives uint8 (height, width, channels), all of one size.
    """
    pictures = in_parallel(load, [int(index) for chunk in chunks for index in chunk])
    for chunk in chunks:
        yield np.stack([next(pictures) for _ in chunk]), chunk


def whole_batches(load: Callable[[NDArray], NDArray], chunks: Sequence[NDArray]) -> Batches:
    """Yield the same as :func:`batches`; ``load`` makes a batch of int64 indices (batch,)."""
    yield from zip(in_parallel(load, chunks, ahead=BATCHES_AHEAD), chunks, strict=True)
