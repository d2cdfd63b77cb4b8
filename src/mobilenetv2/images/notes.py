"""Notes on photos that were read, but not as their files say: cut off, brightened, nearly black."""

from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Literal

import numpy as np
from PIL import Image

from mobilenetv2.text import counted

DARK = 31
"""Highest level of 255 in a photo that is called nearly black, such as 13-bit colour in 16 bits."""

NoteKind = Literal["cut", "depth", "dark"]


@dataclass(frozen=True, slots=True)
class Note:
    """Peculiarity of one photo that was read all the same."""

    kind: NoteKind
    """Kind of the note. 'cut': the file ends early. 'depth': the level that is white was inferred.
    'dark': the photo is nearly black."""
    text: str
    """The photo's own figures, such as '12 of 16 bits'."""


_SUMMARY: dict[NoteKind, tuple[str, str]] = {
    "cut": ("ends early and is read as far as it goes", "end early and are read as far as they go"),
    "depth": (
        "holds numbers whose white had to be inferred from the largest",
        "hold numbers whose white had to be inferred from the largest",
    ),
    "dark": ("is nearly black", "are nearly black"),
}
"""Verb phrases for one photo and for several, by kind."""


def darkness(image: Image.Image) -> Note | None:
    """Return a note on an RGB image in which every level is at most :data:`DARK`; else None."""
    # Few pixels tell of most photos that they are bright.
    for seen in (image.resize((8, 8), Image.Resampling.NEAREST), image):
        highest = int(np.max(seen.getextrema()))  # (lowest, highest) of each channel
        if highest > DARK:
            return None
    return Note("dark", f"no level above {highest} of 255")


class Tally:
    """Notes on any number of photos: for each kind their number, and the first photo by name.

    Threads may add notes at once.
    """

    def __init__(self) -> None:
        self._found: dict[NoteKind, tuple[int, str, Note]] = {}
        self._lock = Lock()

    def add(self, name: str, note: Note) -> None:
        """Add a note on a photo."""
        with self._lock:
            count, first, of_first = self._found.get(note.kind, (0, name, note))
            if name < first:
                first, of_first = name, note
            self._found[note.kind] = count + 1, first, of_first

    def sentences(self) -> list[str]:
        """Return a sentence for each kind, with the number of photos and the first of them."""
        sentences = []
        for kind, (one, several) in _SUMMARY.items():
            if kind in self._found:
                count, name, note = self._found[kind]
                what = one if count == 1 else several
                first = "" if count == 1 else "first: "
                sentences.append(f"{counted(count, 'photo')} {what} ({first}{name}, {note.text})")
        return sentences


def summaries(notes: Iterable[tuple[str, Note]]) -> list[str]:
    """Return a sentence for each kind of note.

    Args:
        notes: names of photos, each with a note.

    Returns:
        The sentences, with the number of photos and the first of them by name.
    """
    tally = Tally()
    for name, note in notes:
        tally.add(name, note)
    return tally.sentences()
