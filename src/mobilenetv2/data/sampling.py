"""Which photos an epoch takes, and in which order: a function of (seed, epoch)."""

import numpy as np
from numpy.typing import NDArray


def epoch_order(labels: NDArray, seed: int, epoch: int, balance: float = 0.0) -> NDArray:
    """Indices of an epoch, as many as there are photos: int64 (photos,).

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
        _in_turns(np.flatnonzero(labels == name), int(wanted), seed, epoch, place)
        for place, (name, wanted) in enumerate(zip(classes, whole, strict=True))
    ]
    return random.permutation(np.concatenate(parts))


def _in_turns(photos: NDArray, wanted: int, seed: int, epoch: int, place: int) -> NDArray:
    """An epoch's part of an endless row of rounds, each of which has every photo once."""
    first, start = divmod(epoch * wanted, len(photos))
    rounds = [
        np.random.default_rng([seed, number, place, 4]).permutation(photos)
        for number in range(first, first + -(-(start + wanted) // len(photos)))
    ]
    return np.concatenate([photos[:0], *rounds])[start : start + wanted]
