"""Files and folders that are passed over: those that systems leave, and those that a user names.

Hidden files and folders, and those in :data:`mobilenetv2.data.names.JUNK`, are nobody's photos:
thumbnails of a NAS (``@eaDir``), bins (``#recycle``, ``$RECYCLE.BIN``), checkpoints of notebooks,
caches of Python.
Nothing is passed over in silence: :class:`PassedOver` counts, and its notes name the first.
"""

import fnmatch
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from mobilenetv2.data.names import is_junk, is_photo
from mobilenetv2.errors import DataError, argument
from mobilenetv2.text import several

SYSTEM = "hidden or made by a system"
IGNORED = "as a pattern says"
BROKEN = "links that lead nowhere"
AGAIN = "links to folders that are read already"
IN_ARCHIVE = "links in an archive, which are not followed"
LEADING_OUT = "names that lead out of the archive"
TWICE = "twice in the archive, where the last one counts"
TOO_DEEP = "deeper than 64 folders"
SORTED = "where this run puts photos"
"""Reasons, as a note says them after the names."""

MOST_DEEP = 64
"""Largest number of folders above a photo."""


class PassedOver:
    """Names of what is not read, by the reason; a folder's stands for all that is in it.

    Args:
        most: number of names of each reason that are kept; the others are counted. Default: all.

    Attributes:
        names: names by reason.
    """

    def __init__(self, most: int | None = None) -> None:
        self.names: dict[str, list[str]] = {}
        self._most, self._counts, self._of_photos = most, Counter[str](), set[str]()

    def add(self, reason: str, name: str) -> None:
        """Add a name."""
        names = self.names.setdefault(reason, [])
        self._counts[reason] += 1
        if name.endswith("/") or is_photo(name):
            self._of_photos.add(reason)
        if self._most is None or len(names) < self._most:
            names.append(name)

    def join(self, other: "PassedOver", folder: str = "") -> None:
        """Add all names of another, in a folder (which ends in '/')."""
        for reason, names in other.names.items():
            for name in names:
                self.add(reason, folder + name)
            self._counts[reason] += other.count(reason) - len(names)

    def count(self, *reasons: str) -> int:
        """Return the number of names with one of the reasons."""
        return sum(self._counts[reason] for reason in reasons)

    def notes(self) -> list[str]:
        """Return a sentence for each reason, for people.

        System files that are no photos by their suffix, such as ``.DS_Store``, are not worth one.
        """
        found = []
        for reason, names in self.names.items():
            if reason == SYSTEM and reason not in self._of_photos:
                continue
            found.append(f"passed over, {reason}: {self._counts[reason]:,} (first: {names[0]})")
        return found


class Ignore:
    """Patterns of names that a user wants to have passed over.

    A pattern has ``*``, ``?`` and ``[abc]`` as in a shell. Without a '/', it is matched with the
    name of each file and folder; with one, with the path below the data. A folder that matches is
    passed over with all that is in it.

    Args:
        patterns: one pattern, or several.
        without: folder that is passed over, too, by whatever name it is reached from outside.

    Raises:
        DataError: a pattern is empty.
    """

    def __init__(self, patterns: str | Iterable[str] = (), without: Path | None = None) -> None:
        self.without = None if without is None else Path(os.path.realpath(without))
        """The real path of the folder that is passed over."""
        self.patterns = tuple(pattern.strip("/") for pattern in several(patterns))
        if not all(self.patterns):
            raise DataError(f"{argument('ignore')}: a pattern is empty; give one such as 'raw*'")
        self._compiled = [
            ("/" in pattern, re.compile(fnmatch.translate(pattern)), pattern)
            for pattern in self.patterns
        ]
        self._used: set[str] = set()

    def matches(self, path: str) -> bool:
        """Return True if a pattern matches the last part of a path or the path itself."""
        name = path.rpartition("/")[2]
        for whole, compiled, pattern in self._compiled:
            if compiled.match(path if whole else name):
                self._used.add(pattern)
                return True
        return False

    def is_without(self, folder: Path) -> bool:
        """Return True for the folder that is passed over, and for those in it."""
        if self.without is None:
            return False
        return Path(os.path.realpath(folder)).is_relative_to(self.without)

    def unused(self) -> list[str]:
        """Return the patterns that have matched nothing."""
        return [pattern for pattern in self.patterns if pattern not in self._used]


def reason_of(path: str, ignore: Ignore) -> str | None:
    """Return why a path is passed over by its last part; None if it is not."""
    if is_junk(path.rpartition("/")[2]):
        return SYSTEM
    return IGNORED if ignore.matches(path) else None


def passed_folder(parts: Sequence[str], ignore: Ignore) -> tuple[str, str] | None:
    """Return the first part of a path that is passed over, as a path, and why; None for none."""
    for depth in range(1, len(parts) + 1):
        path = "/".join(parts[:depth])
        if why := reason_of(path, ignore):
            return path + ("/" if depth < len(parts) else ""), why
    return None
