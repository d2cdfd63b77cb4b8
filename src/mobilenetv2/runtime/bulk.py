"""Outputs of a network for any number of photos, computed by threads that share nothing.

Each thread takes a few photos from their files to the network's outputs: it reads, decodes and
resizes them, and runs them in an engine that computes in one thread. So every core is busy all the
time, whatever part of the work the photos or the network cause, and no thread waits for another.
A predictor that several threads cannot call at once computes in the caller's thread, while the
others decode.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.batches import AHEAD, in_parallel
from mobilenetv2.errors import ImageError, OutputError
from mobilenetv2.images.memory import SHARED
from mobilenetv2.runtime.answers import outputs_of
from mobilenetv2.runtime.lasting import Predictor, batch_of, callers_of

BATCH = 8
"""Batch size of a predictor that only one thread calls."""
SMALL_BATCH = 2
"""Batch size of threads that compute side by side: their activations share the caches."""
Item = TypeVar("Item")
Picture = tuple[str, NDArray]
"""Name of a photo, and its picture, uint8 (height, width, channels)."""


@dataclass(frozen=True, slots=True)
class Computed(Generic[Item]):
    """A photo with its outputs, or with the reason why it has none."""

    item: Item
    outputs: NDArray | ImageError | OutputError
    """Outputs, float32 (outputs,), or the error."""


def compute(
    predictor: Predictor,
    items: Iterable[Item],
    load: Callable[[Item], Picture],
    *,
    batch: int | None = None,
    ahead: int = AHEAD,
    ordered: bool = True,
    awaited: bool = False,
    threads: int | None = None,
) -> Iterator[Computed[Item]]:
    """Yield each photo with its outputs, computed ahead of the caller.

    As many threads as the predictor has callers compute. Photos that are read at once share the
    memory of :mod:`mobilenetv2.images.memory`.

    Args:
        predictor: predictor of the network.
        items: the photos, which are taken one by one.
        load: function that reads one, called in threads. It raises ImageError.
        batch: number of photos that are computed together. Default: what is fast on a CPU.
        ahead: photos in flight for each thread; 1 for photos that come slowly.
        ordered: False to yield each photo as soon as it is there.
        awaited: True for photos whose names come with pauses; outputs do not wait for later names.
        threads: number of threads that read photos for a predictor of one caller. Default: one for
            each core.
    """
    callers = callers_of(predictor)
    size = batch or batch_of(predictor) or (SMALL_BATCH if callers > 1 else BATCH)
    if ahead == 1 or awaited:  # photos that come slowly do not wait for each other
        size = 1

    def read(group: list[Item]) -> list[tuple[Item, Picture | ImageError]]:
        found: list[tuple[Item, Picture | ImageError]] = []
        for item in group:
            try:
                found.append((item, load(item)))
            except ImageError as error:
                found.append((item, error))
            SHARED.claim(0)  # the large picture is gone
        return found

    def finish(
        read_ones: list[tuple[Item, Picture | ImageError]],
    ) -> list[Computed[Item]]:
        readable = [taken for _, taken in read_ones if not isinstance(taken, ImageError)]
        outputs: Iterator[NDArray | OutputError] = iter(())
        if readable:
            names, pictures = zip(*readable, strict=True)
            outputs = iter(outputs_of(predictor, np.stack(pictures), names))
        return [
            Computed(item, taken if isinstance(taken, ImageError) else next(outputs))
            for item, taken in read_ones
        ]

    groups = _grouped(items, size)
    each = max(1, ahead // size)
    if callers > 1:
        done = in_parallel(
            lambda group: finish(read(group)), groups, callers, each, ordered, awaited
        )
        yield from chain.from_iterable(done)
    else:
        read_groups = in_parallel(read, groups, threads, each, ordered, awaited)
        yield from chain.from_iterable(map(finish, read_groups))


def _grouped(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    remaining = iter(items)
    while group := list(islice(remaining, size)):
        yield group
