"""Issues of a set of photos in words: what is wrong, what to do, and which photos.

A new check is a function from :class:`Evidence` to issues in the table :data:`CHECKS`, at the end.
``on_photos`` makes a check from a condition on single photos, ``on_copies`` from one on copies, and
``on_set`` from titles about the whole set.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mobilenetv2.auditing.inspection import Copies, Entry, Facts, Inspection, LabelError
from mobilenetv2.images.notes import NoteKind
from mobilenetv2.text import counted, quoted

FEW = 10
"""Minimum number of photos in a class for training and measurement."""
NAMED = 5
"""Maximum number of skipped files that are named."""
UNEQUAL = 3.0
"""Ratio of the largest class to the smallest from which on it is an issue."""
SMALLEST = 64
"""Minimum length of the shorter side in pixels, if no model is given."""
LONGEST = 3.0
"""Ratio of the sides from which on a centre crop leaves less than a third of the photo."""

Level = Literal["grave", "look", "note"]
"""Severity: 'grave' spoils training or its figures, 'look' may do so, 'note' is information."""
LEVELS: dict[Level, str] = {
    "grave": "Fix these first", "look": "Check these", "note": "Information",
}  # fmt: skip
"""Headings by level, the most severe first."""


@dataclass(frozen=True, slots=True)
class Issue:
    """A fault of a set of photos, or information about it."""

    kind: str
    """Name of the kind for programs: 'leak', 'contradiction', 'suspicious' ..."""
    level: Level
    title: str
    """Description of the issue, with the number of photos."""
    advice: str
    """Advice in one sentence."""
    groups: tuple[tuple[int, ...], ...] = ()
    """Photos by their places in the inspection; those of one group belong together."""
    notes: dict[int, str] = field(default_factory=dict)
    """Notes on single photos, by their index."""

    def to_dict(self, seen: Inspection) -> dict[str, object]:
        """Return plain values for JSON."""
        names = [[seen.photos[place].name for place in group] for group in self.groups]
        return {
            "kind": self.kind, "level": self.level, "title": self.title, "advice": self.advice,
            "photos": names,
            "notes": {seen.photos[place].name: note for place, note in self.notes.items()},
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Evidence:
    """The input of a check: the photos as they were read, and a model's view of them, if any."""

    inspection: Inspection
    label_errors: Sequence[LabelError] = ()
    """Labels that contradict the model's predictions, the most confident prediction first."""
    size: tuple[int, int] | None = None
    """Input size (height, width) of the model."""
    learnt: int = 0
    """Number of photos of the set on which the model was trained."""
    same_set: bool = True
    """True if the model was trained on this set, False if photos only have the same names."""


Check = Callable[[Evidence], Iterator[Issue]]


def find_issues(evidence: Evidence) -> list[Issue]:
    """Return the issues of all checks, the most severe first, then in :data:`CHECKS`' order."""
    issues = [issue for check in CHECKS for issue in check(evidence)]
    return sorted(issues, key=lambda issue: list(LEVELS).index(issue.level))


def on_copies(
    kind: str, level: Level, chosen: Callable[[int, int], bool], where: str, advice: str
) -> Check:
    """Return a check for images that a set contains several times.

    Args:
        chosen: function of (number of splits, number of classes that contain copies of an image)
            that returns True for an issue.
    """

    def check_copies(evidence: Evidence) -> Iterator[Issue]:
        groups: list[Copies] = []
        for group in evidence.inspection.copies:
            photos = [evidence.inspection.photos[place] for place in group.photos]
            splits, labels = {photo.split for photo in photos}, {photo.label for photo in photos}
            # Files that are damaged alike are no copies; they are reported as unreadable.
            if any(photo.facts for photo in photos) and chosen(len(splits), len(labels)):
                groups.append(group)
        if groups:
            exact = sum(group.exact for group in groups)
            counts = ((exact, "exactly"), (len(groups) - exact, "nearly"))
            what = " and ".join(f"{count:,} {how}" for count, how in counts if count)
            title = f"{counted(len(groups), 'image')} {_be(len(groups))} {where} ({what} the same)"
            yield Issue(kind, level, title, advice, tuple(group.photos for group in groups))

    return check_copies


def on_photos(
    kind: str, level: Level, what: str, chosen: Callable[[Entry], bool], advice: str,
    note: Callable[[Entry], str] | None = None,
) -> Check:  # fmt: skip
    """Return a check of single photos, whose ``what`` completes '3 photos ...'."""

    def check_photos(evidence: Evidence) -> Iterator[Issue]:
        photos = evidence.inspection.photos
        places = [place for place, photo in enumerate(photos) if chosen(photo)]
        if places:
            title = f"{counted(len(places), 'photo')} {what.format(be=_be(len(places)))}"
            notes = {place: note(photos[place]) for place in places} if note else {}
            yield Issue(kind, level, title, advice, tuple((place,) for place in places), notes)

    return check_photos


def on_set(
    kind: str, level: Level, titles: Callable[[Inspection], Iterator[str]], advice: str
) -> Check:
    """Return a check of the whole set, for which each title is an issue."""

    def check_set(evidence: Evidence) -> Iterator[Issue]:
        for title in titles(evidence.inspection):
            yield Issue(kind, level, title, advice)

    return check_set


def _be(count: int, past: bool = False) -> str:
    return ("was", "were")[count != 1] if past else ("is", "are")[count != 1]


def _if_readable(chosen: Callable[[Facts], bool]) -> Callable[[Entry], bool]:
    return lambda photo: photo.facts is not None and chosen(photo.facts)


def _noted(kind: NoteKind) -> Callable[[Entry], bool]:
    return lambda photo: any(note.kind == kind for note in photo.notes)


def _notes(photo: Entry) -> str:
    return ", ".join(note.text for note in photo.notes)


def _size(photo: Entry) -> str:
    return f"{photo.facts.width} x {photo.facts.height}" if photo.facts else ""


def small_photos(evidence: Evidence) -> Iterator[Issue]:
    """Yield an issue if photos are smaller than the network's input."""
    least = min(evidence.size) if evidence.size else SMALLEST
    taker = ", which the model takes" if evidence.size else ""
    yield from on_photos(
        "small", "look", f"{{be}} smaller than {least} pixels on a side{taker}",
        _if_readable(lambda facts: min(facts.width, facts.height) < least),
        "Take larger ones, or train for a smaller input (the recipe's key size): enlarging adds "
        "nothing.",
        _size,
    )(evidence)  # fmt: skip


def doubted_labels(evidence: Evidence) -> Iterator[Issue]:
    """Yield an issue if the model doubts labels, or if it was trained on photos and doubts none."""
    doubts, learnt, names = evidence.label_errors, evidence.learnt, evidence.inspection.classes
    which = "of this set" if evidence.same_set else "of the same names as in this set"
    caution = (
        f"The model was trained on {counted(learnt, 'photo')} {which} and may have memorized "
        "their labels, so that it finds fewer errors."
        if learnt
        else ""
    )
    if not doubts:
        if learnt:
            yield Issue(
                "unquestioned", "note", "No label contradicts the model's predictions",
                f"{caution} A model that was trained without them would find more.",
            )  # fmt: skip
        return
    are = "label is" if len(doubts) == 1 else "labels are"
    yield Issue(
        "suspicious", "look", f"{len(doubts):,} {are} doubted by the model",
        f"Review them, the most confident first, and move what is misplaced. {caution}".strip(),
        tuple((doubt.photo,) for doubt in doubts),
        {
            doubt.photo: f"{names[doubt.answer]} {doubt.of_answer:.0%}, "
            f"{names[doubt.label]} {doubt.of_label:.0%}"
            + (" (trained on)" if doubt.trained_on else "")
            for doubt in doubts
        },
    )  # fmt: skip


def single_class(seen: Inspection) -> Iterator[str]:
    """Yield a title if there is only one class."""
    if len(seen.classes) == 1:
        yield f"There is only one class, {seen.classes[0]!r}"


def empty_classes(seen: Inspection) -> Iterator[str]:
    """Yield a title for each split in which classes have no photos."""
    for split in seen.splits:
        empty = [n for n, c in zip(seen.classes, seen.counts(split), strict=True) if not c]
        if empty:
            where = "" if split == "all" else f" in {split}"
            none = f"no photos that can be read{where}"
            yield f"{_classes_have(empty)} {none}: {quoted(empty)}"


def small_classes(seen: Inspection) -> Iterator[str]:
    """Yield a title if classes have too few photos for training."""
    few = [n for n, c in zip(seen.classes, seen.counts(), strict=True) if 0 < c < FEW]
    if few:
        yield f"{_classes_have(few)} fewer than {FEW} photos: {quoted(few)}"


def _classes_have(names: Sequence[str]) -> str:
    return f"{counted(len(names), 'class')} {'has' if len(names) == 1 else 'have'}"


def imbalance(seen: Inspection) -> Iterator[str]:
    """Yield a title if the sizes of classes differ much."""
    counts = seen.counts()
    if min(counts) and seen.imbalance() >= UNEQUAL:
        smallest, largest = (seen.classes[counts.index(x)] for x in (min(counts), max(counts)))
        yield (
            f"The largest class has {seen.imbalance():.1f} times the photos of the smallest: "
            f"{largest!r} {max(counts):,}, {smallest!r} {min(counts):,}"
        )


def unsearched(seen: Inspection) -> Iterator[str]:
    """Yield a title if the search for near duplicates is not complete."""
    if seen.unsearched:
        pairs = counted(seen.unsearched, "pair")
        yield f"{pairs} of photos may be near copies and were not compared"


def found(seen: Inspection) -> Iterator[str]:
    """Yield what was found, followed and left out in the folders, as titles."""
    for note in seen.notes:
        yield f"{note[0].upper()}{note[1:]}"


def ignored(seen: Inspection) -> Iterator[str]:
    """Yield a title if files are not photos by their suffix."""
    if names := seen.ignored:
        named = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        yield f"{counted(len(names), 'file')} {_be(len(names), past=True)} skipped: {named}"


CHECKS: tuple[Check, ...] = (
    on_copies(
        "leak", "grave", lambda splits, classes: splits > 1, "in more than one split",
        "Keep each in one split, since photos of the training split cannot measure a model's "
        "accuracy. 'train' leaves out exact copies, but not near ones.",
    ),
    on_copies(
        "contradiction", "grave", lambda splits, classes: classes > 1, "in more than one class",
        "Decide which class is right and remove the other copies.",
    ),
    on_copies(
        "copies", "look", lambda splits, classes: splits == classes == 1,
        "more than once in a class",
        "Keep one of each; otherwise it counts several times in training and in the figures.",
    ),
    doubted_labels,
    on_set(
        "classes", "grave", single_class,
        "Add a folder with photos that are not of this class: a classifier needs two classes.",
    ),
    on_set(
        "empty", "grave", empty_classes,
        "Add photos or remove the folders: 'train' refuses a class that has none to learn from, "
        "and figures say nothing of a class that their split lacks.",
    ),
    on_set(
        "few", "look", small_classes,
        "Add photos of other objects, in other places and with other light.",
    ),
    on_set(
        "imbalance", "look", imbalance,
        "Add photos of the small classes, or train with data.balance = 1 in the recipe, so that "
        "every class is seen equally often.",
    ),
    on_photos(
        "unreadable", "grave", "cannot be read", lambda photo: photo.facts is None,
        "Repair, convert or remove them: 'train' leaves them out, and stops if they are more than "
        "1% of the photos.",
        lambda photo: photo.problem,
    ),
    on_photos(
        "cut", "look", "{be} cut off at the end, with hardly anything missing", _noted("cut"),
        "Copy them again from where they come: what is missing is grey here.",
        _notes,
    ),
    on_photos(
        "dark", "look", "{be} nearly black", _noted("dark"),
        "Look at them: they may be masks, or have fewer bits than their files can hold; save those "
        "with 8 bits.",
        _notes,
    ),
    on_photos(
        "depth", "look", "{be} grey in fewer bits than the file can hold, or in other numbers",
        _noted("depth"),
        "Compare the thumbnails with your own program: the whitest level was inferred from the "
        "largest. If it is wrong, save them with 8 bits.",
        _notes,
    ),
    on_photos(
        "flat", "look", "{be} of one colour all over", _if_readable(lambda facts: facts.flat),
        "Remove those that show nothing: the network cannot learn a class from them.",
    ),
    small_photos,
    on_photos(
        "long", "look", f"{{be}} more than {LONGEST:g} times as long as wide",
        _if_readable(
            lambda facts: max(facts.width, facts.height) > LONGEST * min(facts.width, facts.height)
        ),
        "Crop them to the object, since the network sees the middle of a photo only.",
        _size,
    ),
    on_photos(
        "grey", "note", "{be} without colours",
        _if_readable(
            lambda facts: facts.mode in ("1", "L", "LA", "F") or facts.mode.startswith("I")
        ),
        "No action is needed if every class has some. If only one class has, the network learns to "
        "detect grey photos instead of the class.",
    ),
    on_photos(
        "transparent", "note", "{be} transparent in places",
        _if_readable(lambda facts: facts.transparent),
        "No action is needed if a white background is right: the network sees white there.",
    ),
    on_photos(
        "turned", "note", "{be} stored rotated or mirrored, with an EXIF orientation",
        _if_readable(lambda facts: facts.turned),
        "No action is needed: they are rotated here, but other programs may not do so.",
    ),
    on_set(
        "unsearched", "note", unsearched,
        "Remove the listed copies and run the audit again: too many photos are similar.",
    ),
    on_set(
        "found", "note", found,
        "No action is needed if this is what you mean: 'train' takes the folders in the same way.",
    ),
    on_set(
        "ignored", "note", ignored,
        "No action is needed, unless some are photos with a wrong file name ending: give those the "
        "ending of their format.",
    ),
)  # fmt: skip
"""All checks; issues of one level are reported in this order."""
