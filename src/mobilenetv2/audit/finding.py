"""One thing that an audit found, in words for whoever brings the photos."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from mobilenetv2.audit.audit import Audit

SHOWN = 5

Level = Literal["grave", "look", "note"]
"""'grave' spoils the training or its figures, 'look' may, 'note' is good to know."""
LEVELS: dict[Level, str] = {
    "grave": "Mend these first", "look": "Worth a look", "note": "Good to know",
}  # fmt: skip
"""The worst first, with their headings."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found."""

    kind: str
    """A word for programs: 'leak', 'contradiction', 'suspicious' ..."""
    level: Level
    title: str
    """What, and how many."""
    advice: str
    """What to do about it: one sentence."""
    groups: tuple[tuple[int, ...], ...] = ()
    """Photos by their places in the audit; those of one group belong together."""
    notes: dict[int, str] = field(default_factory=dict)
    """On single photos."""

    def to_dict(self, audit: Audit) -> dict[str, object]:
        """Plain values for JSON."""
        names = [[audit.photos[place].name for place in group] for group in self.groups]
        return {
            "kind": self.kind, "level": self.level, "title": self.title, "advice": self.advice,
            "photos": names,
            "notes": {audit.photos[place].name: note for place, note in self.notes.items()},
        }  # fmt: skip


def number(count: int, noun: str) -> str:
    """'1 photo', '2 photos', '3 classes'."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{ending}"


def listed(names: Sequence[str]) -> str:
    """The first few names, quoted."""
    return ", ".join(map(repr, names[:SHOWN])) + (" ..." if len(names) > SHOWN else "")
