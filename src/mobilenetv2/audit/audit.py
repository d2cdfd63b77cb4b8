"""What a set of labelled photos is made of: a record that the inspection fills."""

from collections import Counter
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Facts:
    """A photo that can be read."""

    width: int
    """Pixels, of the upright picture."""
    height: int
    mode: str
    """As in the file, in Pillow's words: 'RGB', 'L' (grey), 'P' (palette), 'CMYK' ..."""
    transparent: bool
    turned: bool
    """Its EXIF orientation says that it is stored lying or mirrored."""
    flat: bool
    """One colour all over."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One photo of the set."""

    name: str
    split: str
    label: int
    digest: str
    """SHA-256 of the file."""
    problem: str
    """Why it cannot be read; '' where it can."""
    facts: Facts | None
    """None where it cannot be read."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Photos that show the same, by their places in the audit, in order."""

    photos: tuple[int, ...]
    exact: bool
    """Every file has the same bytes."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found."""

    place: str
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    photos: tuple[Entry, ...]
    copies: tuple[Copies, ...]
    ignored: tuple[str, ...]
    """Files that are no photos by their suffix."""
    links: int
    """Links that were not followed."""
    unsearched: int = 0
    """Pairs that may be near copies and were not compared: there were too many."""

    def counts(self, split: str | None = None) -> tuple[int, ...]:
        """Readable photos of each class, of a split or of all."""
        found = Counter(
            photo.label for photo in self.photos
            if photo.facts is not None and split in (None, photo.split)
        )  # fmt: skip
        return tuple(found[label] for label in range(len(self.classes)))

    def imbalance(self) -> float:
        """Photos of the largest class for each of the smallest; infinite if that has none."""
        counts = self.counts()
        return max(counts) / min(counts) if min(counts) else float("inf")

    def sizes(self) -> dict[str, tuple[float, float, float]]:
        """(least, median, greatest) 'width' and 'height' in pixels, and 'aspect' (width / height).

        Empty where no photo can be read.
        """
        sides = np.array([(p.facts.width, p.facts.height) for p in self.photos if p.facts])
        if not len(sides):
            return {}
        named = {"width": sides[:, 0], "height": sides[:, 1], "aspect": sides[:, 0] / sides[:, 1]}
        return {
            name: (float(values.min()), float(np.median(values)), float(values.max()))
            for name, values in named.items()
        }

    def modes(self) -> dict[str, int]:
        """Photos of each mode, the most frequent first."""
        return dict(Counter(p.facts.mode for p in self.photos if p.facts).most_common())

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        imbalance, counts = self.imbalance(), self.counts()
        by_split = {split: self.counts(split) for split in self.splits}
        return {
            "data": self.place,
            "photos": len(self.photos),
            "readable": sum(counts),
            "classes": [
                {
                    "name": name,
                    "photos": counts[label],
                    "splits": {split: by_split[split][label] for split in self.splits},
                }
                for label, name in enumerate(self.classes)
            ],
            "imbalance": imbalance if imbalance < float("inf") else None,
            "sizes": {
                name: dict(zip(("min", "median", "max"), values, strict=True))
                for name, values in self.sizes().items()
            },
            "modes": self.modes(),
            "unreadable": [
                {"photo": photo.name, "reason": photo.problem}
                for photo in self.photos
                if photo.problem
            ],
            "copies": [
                {
                    "photos": [self.photos[place].name for place in group.photos],
                    "exact": group.exact,
                    "splits": sorted({self.photos[place].split for place in group.photos}),
                    "classes": sorted(
                        {self.classes[self.photos[place].label] for place in group.photos}
                    ),
                }
                for group in self.copies
            ],
            "ignored": list(self.ignored),
            "links": self.links,
            "unsearched": self.unsearched,
        }
