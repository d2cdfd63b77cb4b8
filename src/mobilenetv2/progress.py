"""Progress of long work: a bar on a terminal and in a notebook, a line now and then elsewhere."""

import contextlib
import importlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TextIO, TypeVar

from mobilenetv2.text import duration, line

Item = TypeVar("Item")
Known = Callable[[], int | None]

SECONDS_BETWEEN_LINES = 15.0
SECONDS_BETWEEN_UPDATES = 0.5
"""Seconds between two states of a bar in a notebook: each is a message to the browser."""

_muted = False
"""True in a process whose work another one tells of."""


@contextlib.contextmanager
def muted(silent: bool = True) -> Iterator[None]:
    """Print nothing, in any thread of this process, in the block of a ``with`` statement.

    Args:
        silent: False to print as always. Default: True.
    """
    global _muted
    before, _muted = _muted, _muted or silent
    try:
        yield
    finally:
        _muted = before


def say(sentence: str) -> None:
    """Print one line for the person watching, on stderr: stdout is for results.

    What a terminal would obey is replaced, such as in a file's name.

    In a notebook it goes to stdout, for there lines on stderr look like errors.
    """
    stream = sys.stdout if notebook() else sys.stderr
    if _muted or stream is None:  # without a console, print would take stdout instead
        return
    said = line(sentence)
    # The work goes on where nobody listens any more: a closed stream, a pipe without a reader.
    with contextlib.suppress(OSError, ValueError):
        try:
            print(said, file=stream, flush=True)
        except UnicodeEncodeError:  # a program's own stream; the command's take any text
            print(said.encode("ascii", "backslashreplace").decode(), file=stream, flush=True)


Total = int | Known
"""Units of work in all, or a function that returns them, or None while they are unknown."""


def track(items: Iterable[Item], label: str, total: Total, weight: int = 1) -> Iterator[Item]:
    """Yield ``items`` while showing how far the work is, at what rate, and the time left.

    Args:
        label: the work, such as "epoch 3/10".
        total: units of work in all.
        weight: units (photos, say) that each item stands for; the last item may have fewer.
    """
    label = line(label)
    known = total if callable(total) else lambda: total
    if _muted:
        yield from items
    elif shell := notebook():
        yield from _status(items, label, known, weight, shell)
    elif terminal(sys.stderr):
        yield from _bar(items, label, known, weight)
    else:
        yield from _lines(items, label, known, weight)


def terminal(stream: TextIO | None) -> bool:
    """Return True if a stream is an open terminal."""
    return stream is not None and not stream.closed and stream.isatty()


def notebook() -> Any:
    """Return the shell of the notebook that this process serves; None where it serves none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython and hasattr(ipython, "get_ipython") else None
    return shell if hasattr(shell, "kernel") else None


@dataclass(slots=True)
class Status:
    """The line of a notebook's cell that shows what is going on; a cell has one, which is reused.

    Bars of rich would need ipywidgets, and one bar for each epoch would leave gaps in the output.
    """

    cell: tuple[int, int] = (0, 0)
    handle: Any = None

    def show(self, shell: Any, text: str, share: float) -> None:
        """Show a bar, its share done from 0 to 1, and text."""
        import html  # in notebooks only

        bar = f'<progress value="{share:.3f}"></progress> <code>{html.escape(text)}</code>'
        cell, data = self._cell_of(shell), {"text/plain": text, "text/html": bar}
        if self.handle is None or cell != self.cell:
            display = importlib.import_module("IPython.display").display
            self.cell, self.handle = cell, display(data, raw=True, display_id=True)
        else:
            self.handle.update(data, raw=True)

    def clear(self, shell: Any) -> None:
        """Empty the line, if this cell has one."""
        if self.handle is not None and self.cell == self._cell_of(shell):
            self.handle.update({"text/plain": "", "text/html": ""}, raw=True)

    @staticmethod
    def _cell_of(shell: Any) -> tuple[int, int]:
        return id(shell), shell.execution_count


_status_line = Status()


def _status(
    items: Iterable[Item], label: str, known: Known, weight: int, shell: Any
) -> Iterator[Item]:
    start = shown = time.monotonic()
    done = 0
    try:
        for item in items:
            yield item
            done, total = _counted(done + weight, known())
            now = time.monotonic()
            if now - shown >= SECONDS_BETWEEN_UPDATES:
                text = describe(label, done, total, now - start)
                _status_line.show(shell, text, done / max(1, total or 0) if total else 0.0)
                shown = now
    finally:
        _status_line.clear(shell)


def _bar(items: Iterable[Item], label: str, known: Known, weight: int) -> Iterator[Item]:
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[pace]}"),
        progress.TimeRemainingColumn(),
    )
    # transient: the bar disappears before the summary line that follows it.
    # Rich redirects stdout to print results above the bar; a piped stdout must not be redirected.
    piped = not terminal(sys.stdout)
    with progress.Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=not piped
    ) as bar:
        task = bar.add_task(label, total=known(), pace="-")
        start, done = time.monotonic(), 0
        for item in items:
            yield item
            done, total = _counted(done + weight, known())
            seconds = time.monotonic() - start
            bar.update(task, completed=done, total=total, pace=pace(done, seconds))


def _lines(items: Iterable[Item], label: str, known: Known, weight: int) -> Iterator[Item]:
    start = said = time.monotonic()
    done = 0
    for item in items:
        yield item
        done, total = _counted(done + weight, known())
        now = time.monotonic()
        if now - said >= SECONDS_BETWEEN_LINES and done != total:
            say(describe(label, done, total, now - start))
            said = now


def _counted(done: int, total: int | None) -> tuple[int, int | None]:
    """Return what is done, at most the total, and the total."""
    return (done if total is None else min(done, total)), total


def describe(label: str, done: int, total: int | None, seconds: float) -> str:
    """Return 'epoch 1/2: 64 of 170, 4/s, 26 s left', or without an end if it is unknown."""
    if total is None:
        return f"{label}: {done}, {pace(done, seconds)}"
    left = (total - done) * seconds / max(done, 1e-9)
    time_left = f"{left:.0f} s" if left < 90 else duration(left)
    return f"{label}: {done} of {total}, {pace(done, seconds)}, {time_left} left"


def pace(done: int, seconds: float) -> str:
    """Return '4/s', or '12 s each' for fewer than one unit of work a second."""
    if not 0 < done < seconds:
        return f"{done / max(seconds, 1e-9):.0f}/s"
    return f"{seconds / done:.0f} s each"
