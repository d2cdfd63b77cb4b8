"""Check of a dataset before training: every photo is read and decoded once, in threads.

Auditing and training start with it. A fault that would make training or its result meaningless is
an error. Other faults are reported and corrected: unreadable photos are left out, up to a limit,
and photos in two splits are left out of training.
"""

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from mobilenetv2.data.batches import in_parallel
from mobilenetv2.data.dataset import Dataset, Photo, Split
from mobilenetv2.errors import DataError, ImageError, argument
from mobilenetv2.images.decode import Decoded, Least, decode_noted
from mobilenetv2.images.memory import SHARED
from mobilenetv2.images.notes import Note, summaries
from mobilenetv2.progress import track
from mobilenetv2.text import SHOWN, counted, quoted

MOST_UNREADABLE = 0.01
HELD_OUT_FIRST = ("test", "validation", "train", "all")

Seen = TypeVar("Seen")
See = Callable[[str, Decoded], Seen]
"""Function from a full name and a decoded photo to a result.

The result is kept for the photo. The function is called in threads. An :class:`ImageError` that it
raises marks the photo as unreadable.
"""


@dataclass(frozen=True, slots=True)
class Scanned(Generic[Seen]):
    """Result for one photo."""

    split: str
    photo: Photo
    digest: str
    """SHA-256 of the photo's bytes, equal for identical copies; its name if there are no bytes."""
    problem: str
    """Reason why the photo cannot be read, beginning with its full name; '' if it can."""
    seen: Seen | None
    """Result of the function; None if there is a problem."""
    notes: tuple[Note, ...] = ()
    """Notes on how the file was read."""


def scan_photos(
    splits: Sequence[Split], see: See[Seen], least: Least | None = None
) -> Iterator[Scanned[Seen]]:
    """Scan all photos of some splits in their order, and show the progress.

    Args:
        splits: the splits.
        see: function that is called with every photo.
        least: size of the pictures that is enough, as for :func:`mobilenetv2.images.decode.decode`.
    """
    jobs = [(split, photo) for split in splits for photo in split.photos]
    return track(_scanned(jobs, see, least), "checking photos", len(jobs))


def _scanned(
    jobs: Sequence[tuple[Split, Photo]], see: See[Seen], least: Least | None
) -> Iterator[Scanned[Seen]]:
    """Scan photos in their order, read ahead where that is faster."""
    with ExitStack() as stack:
        for split in {id(split.source): split for split, _ in jobs}.values():
            names = [photo.name for other, photo in jobs if other.source is split.source]
            stack.enter_context(split.source.ahead(names))
        yield from in_parallel(lambda job: scan_photo(*job, see, least), jobs)


def _scanned_as_stored(
    splits: Sequence[Split], see: See[Seen], least: Least | None
) -> list[Scanned[Seen]]:
    """Return what :func:`scan_photos` yields, scanned in the order in which it is read fastest."""
    jobs = [(split, photo) for split in splits for photo in split.photos]
    if not jobs:
        return []
    order = splits[0].source.stored([photo.name for _, photo in jobs])
    found: list[Scanned[Seen]] = []
    stored = [jobs[at] for at in order]
    found += track(_scanned(stored, see, least), "checking photos", len(jobs))
    return [found[at] for at in np.argsort(order)]


def scan_photo(
    split: Split, photo: Photo, see: See[Seen], least: Least | None = None
) -> Scanned[Seen]:
    """Scan one photo; a problem is returned, not raised."""
    digest = photo.name
    try:
        # Not Split.image: the bytes are needed, too.
        with SHARED.work():
            data, name = split.source.read(photo.name), split.full_name(photo)
            digest = hashlib.sha256(data).hexdigest()
            decoded = decode_noted(data, name, least=least)
            seen = see(name, decoded)
            return Scanned(split.name, photo, digest, "", seen, decoded.notes)
    except ImageError as error:
        return Scanned(split.name, photo, digest, str(error), None)


@dataclass(frozen=True, slots=True)
class CheckedDataset:
    """A dataset in which every photo can be read, and notes for the user."""

    dataset: Dataset
    digests: dict[str, str]
    """SHA-256 of each photo's bytes by photo name; equal for identical copies."""
    notes: list[str] = field(default_factory=list)
    """Notes for the user, one sentence each."""


def check_dataset(
    dataset: Dataset, most_unreadable: float = MOST_UNREADABLE, least: Least | None = None
) -> CheckedDataset:
    """Scan every photo of every split; leave out unreadable ones and copies between splits.

    Args:
        dataset: the photos.
        most_unreadable: largest fraction of unreadable photos that is not an error.
        least: size of the pictures that is enough later. Default: whole pictures.

    Raises:
        DataError: fewer than two classes, a class without photos to train on, or more unreadable
            photos than the fraction ``most_unreadable``.
    """
    check_classes(dataset)
    splits = list(dataset.splits.values())
    readable, digests, notes = _readable(splits, dataset.place, most_unreadable, least)
    kept, more = _without_copies(readable, digests)
    cleaned = dataclasses.replace(dataset, splits=kept)
    try:
        lacking = check_classes(cleaned)
    except DataError as error:  # the classes had photos before: what took them is said, too
        raise DataError("; ".join([str(error), *more[:1]])) from None
    return CheckedDataset(cleaned, digests, _skipped(dataset) + notes + more + lacking)


def check_classes(dataset: Dataset) -> list[str]:
    """Raise unless there are two classes or more, each with photos to train on; reads no photo.

    Returns:
        Notes on classes that other splits lack.

    Raises:
        DataError: a class or its photos are missing.
    """
    if len(dataset.classes) < 2:
        raise DataError(
            f"{dataset.place}: only one class ({dataset.classes[0]!r}); a classifier needs at "
            "least two folders of photos"
        )
    lacking, notes = [], []
    learnt = [name for name in ("train", "all") if name in dataset.splits]
    for split in dataset.splits.values():
        empty = [c for c, n in zip(split.classes, split.counts(), strict=True) if n == 0]
        if not empty:
            continue
        if learnt and split.name not in learnt:
            notes.append(
                f"{split.name} has no photos of {counted(len(empty), 'class')}: {quoted(empty)}; "
                "its figures say nothing of them"
            )
            continue
        others = [
            other.name
            for other in dataset.splits.values()
            if other.counts()[split.classes.index(empty[0])]
        ]
        have = f" ({' and '.join(others)} has some)" if others else ""
        lacking.append(f"class {quoted(empty)}{_inside(split)}{have}")
    if lacking:
        raise DataError(
            f"{dataset.place}: no readable photos of {', nor of '.join(lacking)}; a network learns "
            "a class from its photos, so add some, or remove the class from every split, or leave "
            f"its folder out with {argument('ignore')}"
        )
    return notes


def readable_photos(
    split: Split, most_unreadable: float = MOST_UNREADABLE, least: Least | None = None
) -> tuple[Split, list[str]]:
    """Return a split without unreadable photos, and a note on each of those.

    Args:
        split: the photos.
        most_unreadable: largest fraction of unreadable photos that is not an error.
        least: size of the pictures that is enough later. Default: whole pictures.

    Raises:
        DataError: more photos than the fraction ``most_unreadable`` are unreadable, or all are.
    """
    readable, _, notes = _readable([split], split.source.place, most_unreadable, least)
    kept = readable[split.name]
    if not kept.photos:
        raise DataError(f"{split.source.place}: no readable photos{_inside(split)}; add some")
    return kept, notes


def _inside(split: Split) -> str:
    return "" if split.name == "all" else f" in {split.name}"


def _readable(
    splits: Sequence[Split], place: str, most: float, least: Least | None
) -> tuple[dict[str, Split], dict[str, str], list[str]]:
    """Return the splits without unreadable photos, the digest of every photo, and notes."""
    scanned = _scanned_as_stored(splits, lambda name, decoded: None, least)
    digests = {one.photo.name: one.digest for one in scanned}
    unreadable = {one.photo.name: one.problem for one in scanned if one.problem}
    require_few([*unreadable.values()], len(scanned), place, most)
    kept = {
        split.name: split.with_photos(tuple(p for p in split.photos if p.name not in unreadable))
        for split in splits
    }
    notes = [f"left out, unreadable: {text}" for text in unreadable.values()]
    noted = summaries((one.photo.name, note) for one in scanned for note in one.notes)
    return kept, digests, notes + [f"note: {text}" for text in noted]


def require_few(
    problems: Sequence[str], count: int, place: str, most: float = MOST_UNREADABLE
) -> None:
    """Raise DataError if too many photos cannot be read.

    Args:
        problems: reason of each photo that cannot.
        count: number of all photos.
        place: the data's name.
        most: largest fraction that is not an error.
    """
    if len(problems) > most * count:
        shown = "; ".join(problems[:SHOWN])
        rest = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise DataError(
            f"{place}: {len(problems)} of {count} photos cannot be read, more than "
            f"{most:.0%}; mend or remove: {shown}{rest}"
        )


def _skipped(dataset: Dataset) -> list[str]:
    notes = list(dataset.notes)
    if dataset.ignored:
        files = counted(len(dataset.ignored), "file")
        notes.append(f"skipped: {files} of other kinds than photos (first: {dataset.ignored[0]})")
    return notes


def _without_copies(
    splits: Mapping[str, Split], digests: Mapping[str, str]
) -> tuple[dict[str, Split], list[str]]:
    """Remove photos of a held-out split from the splits before it."""
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
                f"left out of {name}: {counted(len(copies), 'picture')} also in a held-out split "
                f"(first: {first.name} is {seen[digests[first.name]]})"
            )
            gone = {photo.name for photo in copies}
            kept[name] = splits[name].with_photos(tuple(p for p in photos if p.name not in gone))
        labels = defaultdict(set)
        for photo in photos:
            labels[digests[photo.name]].add(photo.label)
        several = sum(len(found) > 1 for found in labels.values())
        if several:
            notes.append(f"{name}: {counted(several, 'picture')} in more than one class")
        seen |= {digests[photo.name]: photo.name for photo in photos}
    return kept, notes
