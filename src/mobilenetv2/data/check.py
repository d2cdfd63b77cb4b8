"""The check before the first step: what would make training or its result meaningless.

Every photo is decoded once. Errors are raised, the rest is reported and mended: unreadable photos
are left out, up to a limit, and photos that stand in two splits are left out of training.
"""

import dataclasses
from collections import defaultdict
from dataclasses import dataclass, field

from mobilenetv2.data.dataset import Dataset, Split
from mobilenetv2.data.look import look_at
from mobilenetv2.errors import DataError

MOST_UNREADABLE = 0.01
SHOWN = 5
HELD_OUT_FIRST = ("test", "validation", "train", "all")


@dataclass(frozen=True, slots=True)
class Checked:
    """A dataset whose every photo can be read, and what was found on the way."""

    dataset: Dataset
    digests: dict[str, str]
    """Photo name -> digest of its bytes: equal for exact copies."""
    notes: list[str] = field(default_factory=list)
    """What a person should know, one sentence each."""


def check(dataset: Dataset, most_unreadable: float = MOST_UNREADABLE) -> Checked:
    """Look at every photo of every split.

    Raises:
        DataError: fewer than two classes, an empty class, splits whose classes differ, or more
            than ``most_unreadable`` (a fraction) of the photos cannot be read.
    """
    check_classes(dataset)
    splits = list(dataset.splits.values())
    digests, unreadable = _look_at(splits)
    count = sum(map(len, splits))
    notes = _unreadable(dataset.place, unreadable, count, most_unreadable)
    kept = {
        split.name: split.with_photos(tuple(p for p in split.photos if p.name not in unreadable))
        for split in splits
    }
    kept, more = _without_copies(kept, digests)
    cleaned = dataclasses.replace(dataset, splits=kept)
    check_classes(cleaned)
    return Checked(cleaned, digests, _passed_over(dataset) + notes + more)


def check_classes(dataset: Dataset) -> None:
    """At least two classes, every class with photos in every split. Reads no photo.

    Raises:
        DataError: it is not so.
    """
    if len(dataset.classes) < 2:
        raise DataError(
            f"{dataset.place}: only one class ({dataset.classes[0]!r}); a classifier needs at "
            "least two folders of photos"
        )
    for split in dataset.splits.values():
        empty = [c for c, n in zip(split.classes, split.counts(), strict=True) if n == 0]
        if not empty:
            continue
        where = "" if split.name == "all" else f" in {split.name}"
        others = [
            other.name
            for other in dataset.splits.values()
            if other.counts()[split.classes.index(empty[0])]
        ]
        have = f" ({' and '.join(others)} has some)" if others else ""
        shown = ", ".join(map(repr, empty[:SHOWN])) + (" ..." if len(empty) > SHOWN else "")
        raise DataError(
            f"{dataset.place}: no readable photos of class {shown}{where}{have}; every split "
            "needs photos of every class, so add some or remove the class"
        )


def look_through(split: Split, most_unreadable: float = MOST_UNREADABLE) -> tuple[Split, list[str]]:
    """One split without the photos that cannot be read, and a note on each of those.

    Raises:
        DataError: more than ``most_unreadable`` of them, or none is left.
    """
    _, unreadable = _look_at([split])
    notes = _unreadable(split.source.place, unreadable, len(split), most_unreadable)
    kept = split.with_photos(tuple(p for p in split.photos if p.name not in unreadable))
    if not kept.photos:
        where = "" if split.name == "all" else f" in {split.name}"
        raise DataError(f"{split.source.place}: no readable photos{where}; add some")
    return kept, notes


def _look_at(splits: list[Split]) -> tuple[dict[str, str], dict[str, str]]:
    """(digest of every photo, what is wrong with the unreadable ones), by name."""
    looks = list(look_at(splits, lambda name, data, image: None))
    digests = {look.photo.name: look.digest for look in looks}
    return digests, {look.photo.name: look.problem for look in looks if look.problem}


def _passed_over(dataset: Dataset) -> list[str]:
    notes = []
    if dataset.ignored:
        found = _number(len(dataset.ignored), "file")
        notes.append(
            f"passed over: {found} of other kinds than photos (first: {dataset.ignored[0]})"
        )
    if dataset.links:
        notes.append(f"passed over: {_number(dataset.links, 'link')}, which are not followed")
    return notes


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _unreadable(place: str, unreadable: dict[str, str], count: int, most: float) -> list[str]:
    if not unreadable:
        return []
    shown = list(unreadable.values())[:SHOWN]
    rest = f" and {len(unreadable) - SHOWN} more" if len(unreadable) > SHOWN else ""
    if len(unreadable) > most * count:
        raise DataError(
            f"{place}: {len(unreadable)} of {count} photos cannot be read, more than "
            f"{most:.0%}; mend or remove: {'; '.join(shown)}{rest}"
        )
    return [f"left out, unreadable: {text}" for text in unreadable.values()]


def _without_copies(
    splits: dict[str, Split], digests: dict[str, str]
) -> tuple[dict[str, Split], list[str]]:
    """Leave pictures that stand in a held-out split out of the splits before it."""
    notes = []
    seen: dict[str, str] = {}
    kept = dict(splits)
    for name in HELD_OUT_FIRST:
        if name not in splits:
            continue
        photos = splits[name].photos
        copies = [photo for photo in photos if digests[photo.name] in seen]
        if copies:
            first = copies[0]
            notes.append(
                f"left out of {name}: {_number(len(copies), 'picture')} also in a held-out split "
                f"(first: {first.name} is {seen[digests[first.name]]})"
            )
            gone = {photo.name for photo in copies}
            kept[name] = splits[name].with_photos(tuple(p for p in photos if p.name not in gone))
        labels = defaultdict(set)
        for photo in photos:
            labels[digests[photo.name]].add(photo.label)
        twice = sum(len(found) > 1 for found in labels.values())
        if twice:
            notes.append(f"{name}: {_number(twice, 'picture')} in more than one class")
        seen |= {digests[photo.name]: photo.name for photo in photos}
    return kept, notes
