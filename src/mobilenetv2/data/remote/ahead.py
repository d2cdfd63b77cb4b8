"""Reading ahead: parts of files are fetched in a thread before their turn, in bounded memory.

The next parts, a window of them, are fetched together, and those that lie close to each other as
one. They wait in a buffer until they are taken; the next window is fetched when the buffer holds no
more than one, or when somebody waits for it. A part that was not announced, or that comes long
before its turn, is read by itself.
"""

import threading
from collections.abc import Callable, Iterator, Sequence

from mobilenetv2.data.remote.transports import Part
from mobilenetv2.errors import DataError

WINDOW = 32 * 1024**2
"""Bytes of parts that are fetched together; the buffer holds twice as many."""
MOST_PARTS = 8192
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


def joined(parts: Sequence[Part]) -> list[Part]:
    """Return fewer and longer parts that hold all of the given ones, by file and place."""
    found: list[Part] = []
    for file, start, size in sorted({*parts}):
        if found:
            before, first, length = found[-1]
            end = max(first + length, start + size)
            near = start - first - length <= GAP and end - first <= LONGEST
            if file == before and (near or end == first + length):
                found[-1] = file, first, end - first
                continue
        found.append((file, start, size))
    return found


def grouped(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Yield joined parts in groups of at most :data:`WINDOW` bytes, or single ones."""
    group, total = list[Part](), 0
    for part in parts:
        if group and total + part[2] > WINDOW:
            yield group
            group, total = [], 0
        group.append(part)
        total += part[2]
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
        """Fetch one window after the other; the next one is announced while one is fetched."""
        while places:
            with self._changed:
                following = self._announce()
            self._fetch_window(places)
            with self._changed:
                # Whoever waits for a part of the next window has no use for what is held.
                while self._bytes > WINDOW and not self._ended:
                    if any(at in following for at in self._awaited):
                        break
                    self._changed.wait()
                if self._ended:
                    return
            places = following

    def _fetch_window(self, places: range) -> None:
        by_part: dict[Part, list[int]] = {}
        for at in places:
            by_part.setdefault(self._parts[at], []).append(at)
        inside = sorted(by_part)
        for group in grouped(joined(inside)):
            if self._ended:
                return
            try:
                found = self._fetch(group)
            except Exception:  # whoever takes a part reads it again, and meets the error
                found = [DataError("not fetched")] * len(group)
            for (file, first, length), data in zip(group, found, strict=True):
                while inside and inside[0][0] == file and inside[0][1] < first + max(length, 1):
                    part = inside.pop(0)
                    start = part[1] - first
                    own = None if isinstance(data, Exception) else data[start : start + part[2]]
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
