"""Reading ahead: parts of files are fetched in a thread before their turn, in bounded memory.

The next parts, a window of them, are fetched together, and those that lie close to each other as
one. They wait in a buffer until they are taken; the next window is fetched when the buffer holds no
more than one, or when somebody waits for it. A part that was not announced, or that comes long
before its turn, is read by itself.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mobilenetv2.data.remote.transports import Part
from mobilenetv2.errors import DataError

WINDOW = 32 * 1024**2
"""Bytes of parts that are fetched together; the buffer holds up to three times as many."""
MOST_PARTS = 16384
"""Largest number of parts that are fetched together."""
GAP = 32 * 1024
"""Bytes between two parts up to which they are fetched as one."""
LONGEST = 4 * 1024**2
"""Bytes up to which parts are joined, so that several requests run at once."""
BEHIND = 256
"""Number of parts after its turn at which a part that nobody has taken is given up."""

Fetch = Callable[[Sequence[Part]], list[bytes | Exception]]
"""Function from parts to their bytes, or to the error of each."""


def window(parts: Sequence[Part], start: int) -> range:
    """Return the next parts that are fetched together: one, or up to :data:`WINDOW` bytes."""
    total, at = 0, start
    while at < len(parts) and at - start < MOST_PARTS:
        total += parts[at][2]
        if total > WINDOW and at > start:
            break
        at += 1
    return range(start, at)


@dataclass(slots=True)
class Range:
    """A part of a file that is fetched at once, and the parts in it."""

    file: str
    start: int
    size: int
    parts: list[Part]

    def joins(self, part: Part) -> bool:
        """Return whether a part that does not begin before this one is fetched with it."""
        file, start, size = part
        end = self.start + self.size
        near = start - end <= GAP and max(end, start + size) - self.start <= LONGEST
        return file == self.file and (near or start + size <= end)


def joined(parts: Iterable[Part]) -> list[Range]:
    """Return fewer and longer parts that hold all of the given ones, by file and place."""
    found: list[Range] = []
    for part in sorted({*parts}):
        if found and found[-1].joins(part):
            last = found[-1]
            last.size = max(last.size, part[1] + part[2] - last.start)
            last.parts.append(part)
        else:
            found.append(Range(*part, [part]))
    return found


def grouped(ranges: Sequence[Range]) -> Iterator[list[Range]]:
    """Yield ranges in groups of at most :data:`WINDOW` bytes, or single ones."""
    group, total = list[Range](), 0
    for one in ranges:
        if group and total + one.size > WINDOW:
            yield group
            group, total = [], 0
        group.append(one)
        total += one.size
    if group:
        yield group


class ReadAhead:
    """Parts that are fetched ahead of their turn.

    Args:
        parts: the parts in about the order in which they will be taken; one may come again.
        fetch: function that fetches some.
    """

    def __init__(self, parts: Sequence[Part], fetch: Fetch) -> None:
        self._parts, self._fetch = parts, fetch
        self._turns: dict[Part, list[int]] = {}
        """Places in ``parts`` at which parts of a begun window are still to be taken."""
        self._held: dict[int, bytes] = {}
        self._coming: set[int] = set()
        self._bytes = self._next = self._oldest = 0
        self._awaited: set[int] = set()
        self._ended = False
        self._changed = threading.Condition()
        first = self._announce()
        threading.Thread(target=self._run, args=(first,), daemon=True, name="read-ahead").start()

    @property
    def held(self) -> int:
        """Number of bytes in the buffer."""
        return self._bytes

    def take(self, part: Part) -> bytes | None:
        """Return a part that was fetched ahead; None for one that is to be read by itself."""
        with self._changed:
            turns = self._turns.get(part)
            if not turns:
                return None
            at = turns.pop(0)
            if not turns:
                del self._turns[part]
            self._give_up(at - BEHIND)
            while at in self._coming:
                self._awaited.add(at)
                self._changed.notify_all()
                self._changed.wait()
                self._awaited.discard(at)
            data = self._held.pop(at, None)
            self._bytes -= len(data or b"")
            self._changed.notify_all()
            return data

    def close(self) -> None:
        """End the fetching; a part that is waited for is then read by itself."""
        with self._changed:
            self._ended = True
            self._held.clear()
            self._coming.clear()
            self._turns.clear()
            self._bytes = 0
            self._changed.notify_all()

    def _give_up(self, before: int) -> None:
        """Drop what was to be taken long ago, so that it takes no room for ever."""
        while self._oldest < before:
            self._bytes -= len(self._held.pop(self._oldest, b""))
            self._oldest += 1

    def _announce(self) -> range:
        """Return the next window, whose parts are coming from now on."""
        places = window(self._parts, self._next)
        self._next = places.stop
        self._coming |= {*places}
        for at in places:
            self._turns.setdefault(self._parts[at], []).append(at)
        return places

    def _run(self, places: range) -> None:
        """Fetch one window after the other; the next one is announced before one is fetched."""
        while places:
            with self._changed:
                following = self._announce()
                # Whoever waits for a part that was announced has no use for what is held.
                while self._bytes > WINDOW and not self._ended:
                    if any(at in places or at in following for at in self._awaited):
                        break
                    self._changed.wait()
                if self._ended:
                    return
            self._fetch_window(places, following)
            places = following

    def _fetch_window(self, places: range, following: range) -> None:
        """Fetch the parts of a window, and those of the next one that lie between them."""
        with self._changed:
            left = [at for at in (*places, *following) if at in self._coming]
        by_part: dict[Part, list[int]] = {}
        for at in left:
            by_part.setdefault(self._parts[at], []).append(at)
        needed = {part for part, turns in by_part.items() if turns[0] in places}
        wanted = [one for one in joined(by_part) if not needed.isdisjoint(one.parts)]
        for group in grouped(wanted):
            if self._ended:
                return
            try:
                found = self._fetch([(one.file, one.start, one.size) for one in group])
            except Exception:  # whoever takes a part reads it again, and meets the error
                found = [DataError("not fetched")] * len(group)
            for one, data in zip(group, found, strict=True):
                for part in one.parts:
                    at = part[1] - one.start
                    own = None if isinstance(data, Exception) else data[at : at + part[2]]
                    self._put(by_part[part], own)

    def _put(self, places: Sequence[int], data: bytes | None) -> None:
        with self._changed:
            if self._ended:
                return
            for at in places:
                self._coming.discard(at)
                if data is not None and at >= self._oldest:
                    self._held[at] = data
                    self._bytes += len(data)
            self._changed.notify_all()
