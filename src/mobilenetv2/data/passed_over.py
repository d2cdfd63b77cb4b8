"""Files and folders that are passed over: those that systems leave, and those that a user names.

Hidden files and folders, and those in :data:`mobilenetv2.data.names.JUNK`, are nobody's photos:
thumbnails of a NAS (``@eaDir``), bins (``#recycle``, ``$RECYCLE.BIN``), checkpoints of notebooks,
caches of Python.
Nothing is passed over in silence: :class:`PassedOver` counts, and its notes name the first.
"""

import fnmatch
import re
from collections.abc import Iterable, Sequence

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
"""Reasons, as a note says them after the names."""

MOST_DEEP = 64
"""Largest number of folders above a photo."""


class PassedOver:
    """Names of what is not read, by the reason; a folder's stands for all that is in it."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}

    def add(self, reason: str, name: str) -> None:
        """Add a name."""
        self.names.setdefault(reason, []).append(name)

    def join(self, other: "PassedOver", folder: str = "") -> None:
        """Add all names of another, in a folder (which ends in '/')."""
        for reason, names in other.names.items():
            self.names.setdefault(reason, []).extend(folder + name for name in names)

    def count(self, *reasons: str) -> int:
        """Return the number of names with one of the reasons."""
        return sum(len(self.names.get(reason, ())) for reason in reasons)

    def notes(self) -> list[str]:
        """Return a sentence for each reason, for people.

        System files that are no photos by their suffix, such as ``.DS_Store``, are not worth one.
        """
        found = []
        for reason, names in self.names.items():
            if reason == SYSTEM and not any(n.endswith("/") or is_photo(n) for n in names):
                continue
            found.append(f"passed over, {reason}: {len(names):,} (first: {names[0]})")
        return found


class Ignore:
    """Patterns of names that a user wants to have passed over.

    A pattern has ``*``, ``?`` and ``[abc]`` as in a shell. Without a '/', it is matched with the
    name of each file and folder; with one, with the path below the data. A folder that matches is
    passed over with all that is in it.

    Args:
        patterns: one pattern, or several.

    Raises:
        DataError: a pattern is empty.
    """

    def __init__(self, patterns: str | Iterable[str] = ()) -> None:
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
