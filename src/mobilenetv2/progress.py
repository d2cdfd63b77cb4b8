"""Progress of long work on stderr: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 15.0


def say(line: str) -> None:
    """Print one line to stderr; stdout is for results only."""
    print(line, file=sys.stderr, flush=True)


def track(items: Iterable[Item], label: str, total: int, weight: int = 1) -> Iterator[Item]:
    """Yield ``items`` and show the progress, the rate and the time left.

    Args:
        label: name of the work, e.g. "epoch 3/10".
        total: number of units of work in all.
        weight: units (photos, say) for which each item stands; the last item may have fewer.
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
    # transient: the bar disappears before the summary line that follows it.
    # Rich redirects stdout to print results above the bar; a piped stdout must not be redirected.
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
