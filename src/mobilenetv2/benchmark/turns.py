"""Who runs when: short bursts in turns, so that a machine that slows down slows all of them."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mobilenetv2.errors import MobileNetV2Error

ROUNDS = 6
"""Into which each one's seconds are divided."""
SEED = 0
Burst = Callable[[int, float], dict[str, Any]]
"""(batch, seconds) -> 'seconds' of every run, and 'first_s', as ``running.Runner.burst`` has it."""


@dataclass(slots=True)
class Turn:
    """One contestant with one size of batch, and what it has shown so far."""

    key: int
    """Of its contestant."""
    batch: int
    burst: Burst
    seconds: list[float] = field(default_factory=list)
    """Of each counted run, in the order in which they were."""
    first: float | None = None
    """Seconds of the very first run."""
    last: dict[str, Any] = field(default_factory=dict)
    """What the last burst said."""
    busy: bool = False
    """Whether it went on computing when it was no more its turn."""

    def share(self, seconds: float, rounds: int) -> int:
        """How many of so many parts of its seconds are over."""
        return min(rounds, int(rounds * sum(self.seconds) / seconds + 1e-9))


def interleave(
    turns: Sequence[Turn], seconds: float, failed: dict[int, str], rounds: int = ROUNDS
) -> Iterator[Turn]:
    """Measure until each has run for that long, in an order that is another one every round.

    Args:
        seconds: of counted runs for each turn.
        failed: key -> error. Whoever fails is entered and left out from then on.

    Yields:
        Each turn ``rounds`` times, as that share of its seconds is over: for a bar of progress.
    """
    order = random.Random(SEED)
    told = {id(turn): 0 for turn in turns}
    open_ = list(turns)
    while open_:
        order.shuffle(open_)
        for turn in open_:
            if turn.key not in failed:
                _one(turn, seconds / rounds, failed)
            done = rounds if turn.key in failed else turn.share(seconds, rounds)
            yield from [turn] * (done - told[id(turn)])
            told[id(turn)] = done
        open_ = [turn for turn in open_ if told[id(turn)] < rounds]


def _one(turn: Turn, seconds: float, failed: dict[int, str]) -> None:
    """A burst, and what it showed."""
    try:
        found = turn.burst(turn.batch, seconds)
    except MobileNetV2Error as error:
        failed[turn.key] = str(error)
        return
    turn.seconds += found["seconds"]
    turn.first = found["first_s"] if turn.first is None else turn.first
    turn.busy |= bool(found["busy"])
    turn.last = found
