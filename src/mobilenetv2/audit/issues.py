"""The issues of a set of photos, in words: what is wrong, what to do, which photos.

A new check is a function from :class:`Evidence` to issues, and a line in :data:`CHECKS` at the end.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mobilenetv2.audit.inspection import Audit, Copies, Entry, Facts
from mobilenetv2.audit.label_errors import LabelError
from mobilenetv2.text import counted, quoted

FEW = 10
"""A class with fewer photos than this is hard to learn, and harder to judge."""
NAMED = 5
"""Skipped files that are named."""
UNEQUAL = 3.0
"""Photos of the largest class for each of the smallest, from which it is worth saying."""
SMALLEST = 64
"""Pixels of the shorter side, where no model says what it takes."""
LONGEST = 3.0
"""Times as long as wide: of more, a centre crop leaves less than a third."""

Level = Literal["grave", "look", "note"]
"""'grave' spoils the training or its figures, 'look' may, 'note' is good to know."""
LEVELS: dict[Level, str] = {
    "grave": "Mend these first", "look": "Worth a look", "note": "Good to know",
}  # fmt: skip
"""The worst first, with their headings."""


@dataclass(frozen=True, slots=True)
class Issue:
    """Something that is wrong with a set of photos, or good to know."""

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
        """Return plain values for JSON."""
        names = [[audit.photos[place].name for place in group] for group in self.groups]
        return {
            "kind": self.kind, "level": self.level, "title": self.title, "advice": self.advice,
            "photos": names,
            "notes": {audit.photos[place].name: note for place, note in self.notes.items()},
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the checks look at: the audit, and a model's view of the photos where one is given."""

    audit: Audit
    label_errors: Sequence[LabelError] = ()
    """The labels that the model doubts, the most confident doubt first."""
    size: tuple[int, int] | None = None
    """(height, width) that the model takes."""
    learnt: int = 0
    """Photos of the set that the model was trained on."""
    same_set: bool = True
    """The model was trained on this set; else the photos only have the same names."""


Check = Callable[[Evidence], Iterator[Issue]]


def find_issues(evidence: Evidence) -> list[Issue]:
    """Return what all checks find, the worst level first, then in the order of :data:`CHECKS`."""
    found = [issue for check in CHECKS for issue in check(evidence)]
    return sorted(found, key=lambda issue: list(LEVELS).index(issue.level))


def leaks(evidence: Evidence) -> Iterator[Issue]:
    """Find pictures in several splits."""
    yield from _copies(
        evidence, lambda splits, labels: splits > 1, "leak", "grave", "in more than one split",
        "Keep each in one split, for a model that has seen a photo in training is not judged by "
        "it: 'train' leaves exact copies out, near ones it does not know.",
    )  # fmt: skip


def contradictions(evidence: Evidence) -> Iterator[Issue]:
    """Find pictures in several classes."""
    yield from _copies(
        evidence, lambda splits, labels: labels > 1, "contradiction", "grave",
        "in more than one class", "Decide which class is right and remove the other copies.",
    )  # fmt: skip


def copies(evidence: Evidence) -> Iterator[Issue]:
    """Find pictures that a class has more than once."""
    yield from _copies(
        evidence, lambda splits, labels: splits == labels == 1, "copies", "look",
        "more than once in a class",
        "Keep one of each, or it counts several times in training and in the figures.",
    )  # fmt: skip


def _copies(
    evidence: Evidence, chosen: Callable[[int, int], bool], kind: str, level: Level, where: str,
    advice: str,
) -> Iterator[Issue]:  # fmt: skip
    """Yield one issue on the copies that are chosen by their numbers of splits and classes."""
    groups: list[Copies] = []
    for group in evidence.audit.copies:
        photos = [evidence.audit.photos[place] for place in group.photos]
        if all(photo.facts is None for photo in photos):
            continue  # files that are damaged alike: no pictures, and said to be unreadable
        if chosen(len({photo.split for photo in photos}), len({photo.label for photo in photos})):
            groups.append(group)
    if groups:
        exact = sum(group.exact for group in groups)
        counts = ((exact, "exactly"), (len(groups) - exact, "nearly"))
        what = " and ".join(f"{count:,} {how}" for count, how in counts if count)
        are = "is" if len(groups) == 1 else "are"
        yield Issue(
            kind, level, f"{counted(len(groups), 'picture')} {are} {where} ({what} the same)",
            advice, tuple(group.photos for group in groups),
        )  # fmt: skip


def doubted_labels(evidence: Evidence) -> Iterator[Issue]:
    """Find labels that the model doubts; one that doubts none of those it learnt says little."""
    doubts, learnt, names = evidence.label_errors, evidence.learnt, evidence.audit.classes
    which = "of this set" if evidence.same_set else "of the same names as in this set"
    caution = (
        f"The model was trained on {counted(learnt, 'photo')} {which} and may know their "
        "labels by heart, so that its word on them counts less."
        if learnt
        else ""
    )
    if not doubts:
        if learnt:
            yield Issue(
                "unquestioned", "note", "No label is doubted by the model",
                f"{caution} One that was trained without them would say more.",
            )  # fmt: skip
        return
    are = "label is" if len(doubts) == 1 else "labels are"
    yield Issue(
        "suspicious", "look", f"{len(doubts):,} {are} doubted by the model",
        f"Look at each, the surest first, and move what lies in a wrong folder. {caution}".strip(),
        tuple((doubt.photo,) for doubt in doubts),
        {
            doubt.photo: f"{names[doubt.answer]} {doubt.of_answer:.0%}, "
            f"{names[doubt.label]} {doubt.of_label:.0%}"
            + (" (trained on)" if doubt.trained_on else "")
            for doubt in doubts
        },
    )  # fmt: skip


def single_class(evidence: Evidence) -> Iterator[Issue]:
    """Find that there is nothing to tell apart."""
    if len(evidence.audit.classes) == 1:
        yield Issue(
            "classes", "grave", f"There is only one class, {evidence.audit.classes[0]!r}",
            "Add a folder with photos of what is not of this class: a classifier needs two.",
        )  # fmt: skip


def empty_classes(evidence: Evidence) -> Iterator[Issue]:
    """Find classes without photos, in each split."""
    audit = evidence.audit
    for split in audit.splits:
        empty = [n for n, c in zip(audit.classes, audit.counts(split), strict=True) if not c]
        if empty:
            where = "" if split == "all" else f" in {split}"
            have = "has" if len(empty) == 1 else "have"
            yield Issue(
                "empty", "grave",
                f"{counted(len(empty), 'class')} {have} no photos that can be read{where}: "
                f"{quoted(empty)}",
                "Add photos or remove the folders: 'train' refuses a set with an empty class.",
            )  # fmt: skip


def small_classes(evidence: Evidence) -> Iterator[Issue]:
    """Find classes with too few photos to learn from."""
    audit = evidence.audit
    few = [n for n, c in zip(audit.classes, audit.counts(), strict=True) if 0 < c < FEW]
    if few:
        have = "has" if len(few) == 1 else "have"
        yield Issue(
            "few", "look",
            f"{counted(len(few), 'class')} {have} fewer than {FEW} photos: {quoted(few)}",
            "Add photos of other things of the kind, in other places and light.",
        )  # fmt: skip


def imbalance(evidence: Evidence) -> Iterator[Issue]:
    """Find classes of very different sizes."""
    audit, counts = evidence.audit, evidence.audit.counts()
    if min(counts) and audit.imbalance() >= UNEQUAL:
        smallest, largest = (audit.classes[counts.index(x)] for x in (min(counts), max(counts)))
        yield Issue(
            "imbalance", "look",
            f"The largest class has {audit.imbalance():.1f} times the photos of the smallest: "
            f"{largest!r} {max(counts):,}, {smallest!r} {min(counts):,}",
            "Add photos of the small classes, or train with --set balance=1, so that every class "
            "is seen equally often.",
        )  # fmt: skip


def unreadable(evidence: Evidence) -> Iterator[Issue]:
    """Find photos that cannot be decoded."""
    yield from _photos(
        evidence, "unreadable", "grave", "cannot be read",
        "Mend, convert or remove them: 'train' leaves them out, and refuses a set with more than "
        "1% of them.",
        lambda photo: photo.facts is None, lambda photo: photo.problem,
    )  # fmt: skip


def flat(evidence: Evidence) -> Iterator[Issue]:
    """Find photos that show nothing."""
    yield from _photos(
        evidence, "flat", "look", "of one colour all over",
        "Remove those that show nothing, which teach a class to mean nothing.",
        _by_facts(lambda facts: facts.flat),
    )  # fmt: skip


def small(evidence: Evidence) -> Iterator[Issue]:
    """Find photos that the network would see enlarged."""
    least = min(evidence.size) if evidence.size else SMALLEST
    yield from _photos(
        evidence, "small", "look",
        f"smaller than {least} pixels on a side"
        + (", which the model takes" if evidence.size else ""),
        "Take larger ones, or train for a smaller input with --set size=N: enlarging adds nothing.",
        _by_facts(lambda facts: min(facts.width, facts.height) < least), _size,
    )  # fmt: skip


def long(evidence: Evidence) -> Iterator[Issue]:
    """Find photos of which the network sees a small part."""

    def length(facts: Facts) -> float:
        return max(facts.width, facts.height) / min(facts.width, facts.height)

    yield from _photos(
        evidence, "long", "look", f"more than {LONGEST:g} times as long as wide",
        "Crop them to what matters, for the network sees the middle of a photo.",
        _by_facts(lambda facts: length(facts) > LONGEST), _size,
    )  # fmt: skip


def grey(evidence: Evidence) -> Iterator[Issue]:
    """Find photos without colours."""
    yield from _photos(
        evidence, "grey", "note", "without colours",
        "Nothing to do if every class has some; if only one has, a network learns the missing "
        "colours in place of the class.",
        _by_facts(lambda facts: facts.mode in ("1", "L", "LA") or facts.mode.startswith("I")),
    )  # fmt: skip


def transparent(evidence: Evidence) -> Iterator[Issue]:
    """Find photos whose background is not in the file."""
    yield from _photos(
        evidence, "transparent", "note", "transparent in places",
        "Nothing to do if white behind them is right; it is what a network sees there.",
        _by_facts(lambda facts: facts.transparent),
    )  # fmt: skip


def turned(evidence: Evidence) -> Iterator[Issue]:
    """Find photos that are only upright for programs that read EXIF."""
    yield from _photos(
        evidence, "turned", "note", "stored lying or mirrored, with a mark (EXIF) that says so",
        "Nothing to do: they are turned upright here, but other programs may not turn them.",
        _by_facts(lambda facts: facts.turned),
    )  # fmt: skip


def _photos(
    evidence: Evidence, kind: str, level: Level, what: str, advice: str,
    chosen: Callable[[Entry], bool], note: Callable[[Entry], str] | None = None,
) -> Iterator[Issue]:  # fmt: skip
    """Yield one issue on the chosen photos, each a group of its own."""
    photos = evidence.audit.photos
    places = [place for place, photo in enumerate(photos) if chosen(photo)]
    if places:
        verb = "" if what.startswith("cannot") else "is " if len(places) == 1 else "are "
        yield Issue(
            kind, level, f"{counted(len(places), 'photo')} {verb}{what}", advice,
            tuple((place,) for place in places),
            {place: note(photos[place]) for place in places} if note else {},
        )  # fmt: skip


def _by_facts(chosen: Callable[[Facts], bool]) -> Callable[[Entry], bool]:
    return lambda photo: photo.facts is not None and chosen(photo.facts)


def _size(photo: Entry) -> str:
    return f"{photo.facts.width} x {photo.facts.height}" if photo.facts else ""


def unsearched(evidence: Evidence) -> Iterator[Issue]:
    """Find that the search for near copies is not complete."""
    if evidence.audit.unsearched:
        yield Issue(
            "unsearched", "note",
            f"{counted(evidence.audit.unsearched, 'pair')} of photos may be near copies and were "
            "not looked at closer",
            "Remove the copies that are named and look again: these photos are too much alike.",
        )  # fmt: skip


def links(evidence: Evidence) -> Iterator[Issue]:
    """Find links, which lead out of the set."""
    count = evidence.audit.links
    if count:
        yield Issue(
            "links", "note",
            f"{counted(count, 'link')} {'was' if count == 1 else 'were'} not followed",
            "Copy what they lead to if it belongs to the set.",
        )  # fmt: skip


def ignored(evidence: Evidence) -> Iterator[Issue]:
    """Find files that are no photos by their suffix."""
    names = evidence.audit.ignored
    if names:
        named = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        yield Issue(
            "ignored", "note",
            f"{counted(len(names), 'file')} {'was' if len(names) == 1 else 'were'} passed over: "
            f"{named}",
            "Nothing to do, unless photos are among them, whose names end unlike a photo's: give "
            "those the ending of their format.",
        )  # fmt: skip


CHECKS: tuple[Check, ...] = (
    leaks, contradictions, copies, doubted_labels,
    single_class, empty_classes, small_classes, imbalance,
    unreadable, flat, small, long, grey, transparent, turned,
    unsearched, links, ignored,
)  # fmt: skip
"""All checks; issues of one level are told in this order."""
