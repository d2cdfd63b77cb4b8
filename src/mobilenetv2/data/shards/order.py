"""Order of the photos of an epoch in which shards are read in large parts.

A whole shuffle reads each photo by itself. Here shards are cut into runs of some 4 MiB of photos
that lie behind one another, at other places in each epoch. The runs of all shards are shuffled, and
their photos go through a buffer of 32 MiB, which is filled, shuffled and emptied. So a reader needs
one request for a run, and never more memory than the buffer.

The order is a function of (seed, epoch) and of the index, whoever reads it, so that any batch can
be made again, by any number of processes. It differs from a whole shuffle in this: photos of one
run come within one buffer of each other. Since photos lie in the shards in an order that is mixed,
a run is a random sample of the split, and a buffer one of some eight runs.
"""

import numpy as np
from numpy.typing import NDArray

RUN = 4 * 1024**2
"""Bytes of photos that lie behind one another and are read together."""
BUFFER = 32 * 1024**2
"""Bytes of photos that are shuffled together."""


def buffered_order(
    shards: NDArray, offsets: NDArray, sizes: NDArray, seed: int, epoch: int
) -> NDArray:
    """Return the indices of an epoch's photos in order, int64 (photos,); each comes once.

    Args:
        shards: number of each photo's shard, int (photos,).
        offsets: place of each photo in its shard, int (photos,).
        sizes: bytes of each photo, int (photos,).
        seed: seed of the run.
        epoch: the epoch.
    """
    random = np.random.default_rng([seed, epoch, 6])
    stored = np.lexsort((offsets, shards))
    if not len(stored):
        return stored
    numbers, files = np.unique(shards[stored], return_inverse=True)
    # Bytes before each photo in its shard, of the photos that are read at all.
    before = np.cumsum(sizes[stored]) - sizes[stored]
    before -= before[np.searchsorted(files, np.arange(len(numbers)))][files]
    cut = (before + random.integers(0, RUN, len(numbers))[files]) // RUN
    begins = np.ones(len(stored), bool)
    begins[1:] = (files[1:] != files[:-1]) | (cut[1:] != cut[:-1])
    run = np.cumsum(begins) - 1
    turn = random.permutation(int(run[-1]) + 1)[run]
    queue = stored[np.lexsort((np.arange(len(stored)), turn))]
    buffer = (np.cumsum(sizes[queue]) - sizes[queue]) // BUFFER
    return queue[np.lexsort((random.random(len(queue)), buffer))]
