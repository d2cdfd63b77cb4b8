"""Batches in an order that can be resumed, decoded ahead by threads.

Threads, not processes: Pillow and NumPy release the interpreter's lock where the time goes, and
nothing has to be copied between processes. The order is given (:mod:`mobilenetv2.data.sampling`),
so a run can go on at any batch.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Job = TypeVar("Job")
Result = TypeVar("Result")

AHEAD = 64
"""Jobs in flight for each worker: enough to ride out a slow photo, bounded in memory."""
BATCHES_AHEAD = 4
"""The same where a job is a whole batch."""


def workers() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_parallel(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    threads: int | None = None,
    ahead: int = AHEAD,
) -> Iterator[Result]:
    """Results in the order of the jobs, computed ahead of their use; the first error is raised."""
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


def batches(
    load: Callable[[int], NDArray],
    order: Sequence[int] | NDArray,
    batch_size: int,
    start: int = 0,
    drop_last: bool = False,
) -> Iterator[tuple[NDArray, NDArray]]:
    """Stacked pictures and their indices.

    Args:
        load: index -> uint8 picture (height, width, channels), all of one size. Called in threads.
        order: indices in the order in which they come.
        start: the first batch to give; those before it are not loaded.
        drop_last: leave out a last batch that is not full.

    Yields:
        (uint8 (batch, height, width, channels), int64 (batch,)).
    """  # fmt: skip
    chunks = _chunks(order, batch_size, start, drop_last)
    pictures = in_parallel(load, [int(index) for chunk in chunks for index in chunk])
    for chunk in chunks:
        yield np.stack([next(pictures) for _ in chunk]), chunk


def whole_batches(
    load: Callable[[NDArray], NDArray],
    order: Sequence[int] | NDArray,
    batch_size: int,
    start: int = 0,
    drop_last: bool = False,
) -> Iterator[tuple[NDArray, NDArray]]:
    """As :func:`batches`, but ``load`` makes a batch at a time of int64 indices (batch,)."""
    chunks = _chunks(order, batch_size, start, drop_last)
    yield from zip(in_parallel(load, chunks, ahead=BATCHES_AHEAD), chunks, strict=True)


def _chunks(
    order: Sequence[int] | NDArray, batch_size: int, start: int, drop_last: bool
) -> list[NDArray]:
    indices = np.asarray(order, np.int64)[start * batch_size :]
    if drop_last:
        indices = indices[: len(indices) // batch_size * batch_size]
    return [indices[at : at + batch_size] for at in range(0, len(indices), batch_size)]
