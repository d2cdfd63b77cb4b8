"""Which photos an epoch takes, and in which order: a function of (seed, epoch)."""

import numpy as np
from numpy.typing import NDArray


def epoch_order(labels: NDArray, seed: int, epoch: int, balance: float = 0.0) -> NDArray:
    """Indices of an epoch, as many as there are photos: int64 (photos,).

    Args:
        labels: int (photos,).
        balance: a class's part of the epoch is its count to the power of 1 - balance. 0: every
            photo once. 1: every class equally often, its photos taking turns.
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
        _in_turns(np.flatnonzero(labels == name), int(wanted), random)
        for name, wanted in zip(classes, whole, strict=True)
    ]
    return random.permutation(np.concatenate(parts))


def _in_turns(photos: NDArray, wanted: int, random: np.random.Generator) -> NDArray:
    rounds = [random.permutation(photos) for _ in range(-(-wanted // len(photos)))]
    return np.concatenate(rounds)[:wanted] if rounds else photos[:0]
