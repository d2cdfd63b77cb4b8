"""Predictors that outlive a fork and a pickle, and how many threads may call one.

An engine's threads do not exist in a forked process, and an engine cannot be pickled. A lasting
predictor knows how to start its engine anew.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

Predictor = Callable[[NDArray], NDArray]
"""Function from uint8 images (batch, height, width, channels) of the network's input size to
float32 outputs (batch, outputs)."""


class LastingPredictor:
    """Predictor that can be pickled, and that starts its engine anew in a forked process.

    An engine's threads do not exist in a forked process, so that most engines would wait for them
    for ever. A copy that arrives in a process several times, with each task of a pool, starts its
    engine once.

    Args:
        start: function that starts an engine and returns its predictor; it can be pickled.
        callers: number of threads that may call the predictor at once.
    """

    def __init__(self, start: Callable[[], Predictor], callers: int = 1) -> None:
        self._start, self._token, self.callers = start, os.urandom(16), callers
        self._run, self._process = start(), os.getpid()

    def __call__(self, pictures: NDArray) -> NDArray:
        """Return the outputs for uint8 images (batch, height, width, channels)."""
        if self._process != os.getpid():
            with _starting:
                if self._process != os.getpid():  # else another thread was faster
                    run = self._start()
                    _LEFT.append(self._run)
                    # The process last: it lets other threads pass without the lock.
                    self._run, self._process = run, os.getpid()
        return self._run(pictures)

    @property
    def batch(self) -> int | None:
        """Batch size of the engine's graph; None for any."""
        return batch_of(self._run)

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self._token, self._start, self.callers)


_LEFT: list[Predictor] = []
"""Engines of the process before a fork: their destructors would wait for threads that are gone."""
_ARRIVED: "OrderedDict[bytes, LastingPredictor]" = OrderedDict()
_MOST_ARRIVED = 4


def callers_of(predictor: Predictor) -> int:
    """Return how many threads may call a predictor at once; 1 for any function."""
    return int(getattr(predictor, "callers", 1))


def batch_of(predictor: Predictor) -> int | None:
    """Return the only batch size that a predictor's graph computes; None for any."""
    found: int | None = getattr(predictor, "batch", None)
    return found


def _arrived(token: bytes, start: Callable[[], Predictor], callers: int) -> LastingPredictor:
    """Return the predictor that was pickled, or the one that its last copy has become."""
    with _starting:
        found = _ARRIVED.get(token)
        if found is None:
            found = _ARRIVED[token] = LastingPredictor(start, callers)
            found._token = token
            while len(_ARRIVED) > _MOST_ARRIVED:
                _ARRIVED.popitem(last=False)
        return found


_forked = False
_starting = threading.RLock()
"""Lock, so that of several threads in a new process one starts the engine."""


def _note_fork() -> None:
    global _forked, _starting
    # A thread that held the lock at the fork does not exist here, and would never release it.
    _forked, _starting = True, threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def usable_threads(threads: int | None, forks: bool) -> int | None:
    """Return the number of threads that a runtime may have: in a forked process perhaps only one.

    Args:
        threads: number of threads that was asked for.
        forks: False for a runtime whose threads do not survive a fork.
    """
    return 1 if _forked and not forks else threads
