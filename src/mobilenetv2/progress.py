"""Progress of long work, on stderr: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 15.0


def say(line: str) -> None:
    """One line for the person watching; stdout stays free for results."""
    print(line, file=sys.stderr, flush=True)


def track(items: Iterable[Item], label: str, total: int, weight: int = 1) -> Iterator[Item]:
    """Yield ``items`` while showing how far it is, at what rate, and the time left.

    Args:
        label: what is being done, e.g. "epoch 3/10".
        total: how many units of work there are in all.
        weight: units (pictures, say) that each item stands for; the last item may have fewer.
    """
    if sys.stderr.isatty():
        yield from _bar(items, label, total, weight)
    else:
        yield from _lines(items, label, total, weight)


def _bar(items: Iterable[Item], label: str, total: int, weight: int) -> Iterator[Item]:
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[rate]}/s"),
        progress.TimeRemainingColumn(),
    )
    # transient: the bar makes way for the summary line that follows it.
    # A stdout that is piped into a file must stay what it is: results are printed under the bar.
    piped = not sys.stdout.isatty()
    with progress.Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=not piped
    ) as bar:
        task = bar.add_task(label, total=total, rate="-")
        start, done = time.monotonic(), 0
        for item in items:
            yield item
            done = min(done + weight, total)
            rate = done / max(time.monotonic() - start, 1e-9)
            bar.update(task, completed=done, rate=f"{rate:.0f}")


def _lines(items: Iterable[Item], label: str, total: int, weight: int) -> Iterator[Item]:
    start = said = time.monotonic()
    done = 0
    for item in items:
        yield item
        done = min(done + weight, total)
        now = time.monotonic()
        if now - said >= SECONDS_BETWEEN_LINES and done < total:
            rate = done / (now - start)
            left = (total - done) / rate
            say(f"{label}: {done} of {total}, {rate:.0f}/s, {left:.0f} s left")
            said = now
