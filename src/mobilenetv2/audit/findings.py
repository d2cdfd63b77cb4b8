"""What an audit means for whoever brings the photos: sentences, the worst first, with advice."""

from collections.abc import Iterable, Sequence

from mobilenetv2.audit.audit import Audit, Copies
from mobilenetv2.audit.finding import LEVELS, Finding, listed, number
from mobilenetv2.audit.photo_findings import photo_findings
from mobilenetv2.audit.suspicion import Suspicion

FEW = 10
"""A class with fewer photos than this is hard to learn, and harder to judge."""
NAMED = 5
"""Files passed over that are named."""
UNEQUAL = 3.0
"""Photos of the largest class for each of the smallest, from which it is worth saying."""


def findings(
    audit: Audit,
    doubts: Sequence[Suspicion] = (),
    names: Sequence[str] = (),
    size: tuple[int, int] | None = None,
    learnt: int = 0,
    here: bool = True,
) -> list[Finding]:
    """Everything worth saying, the worst first.

    Args:
        doubts: the labels that a model doubts, the surest first.
        names: of the classes that ``doubts`` speak of.
        size: (height, width) that the model takes.
        learnt: photos of the set that the model was trained on.
        here: whether it was trained on this set; else the photos only have the same names.
    """
    found = [
        *_copies(audit),
        *_doubted(doubts, names, learnt, here),
        *_classes(audit),
        *photo_findings(audit, size),
        *_passed_over(audit),
    ]
    return sorted(found, key=lambda finding: list(LEVELS).index(finding.level))


def _copies(audit: Audit) -> Iterable[Finding]:
    leaks, torn, twice = [], [], []
    for group in audit.copies:
        photos = [audit.photos[place] for place in group.photos]
        if all(photo.facts is None for photo in photos):
            continue  # files that are damaged alike: no pictures, and said to be unreadable
        splits, labels = {p.split for p in photos}, {p.label for p in photos}
        leaks += [group] if len(splits) > 1 else []
        torn += [group] if len(labels) > 1 else []
        twice += [group] if len(splits) == len(labels) == 1 else []
    if leaks:
        yield Finding(
            "leak", "grave", _how_many(leaks, "in more than one split"),
            "Keep each in one split, for a model that has seen a photo in training is not judged "
            "by it: 'train' leaves exact copies out, near ones it does not know.",
            tuple(group.photos for group in leaks),
        )  # fmt: skip
    if torn:
        yield Finding(
            "contradiction", "grave", _how_many(torn, "in more than one class"),
            "Decide which class is right and remove the other copies.",
            tuple(group.photos for group in torn),
        )  # fmt: skip
    if twice:
        yield Finding(
            "copies", "look", _how_many(twice, "more than once in a class"),
            "Keep one of each, or it counts several times in training and in the figures.",
            tuple(group.photos for group in twice),
        )  # fmt: skip


def _how_many(groups: Sequence[Copies], where: str) -> str:
    exact = sum(group.exact for group in groups)
    counts = ((exact, "exactly"), (len(groups) - exact, "nearly"))
    what = " and ".join(f"{count:,} {how}" for count, how in counts if count)
    are = "is" if len(groups) == 1 else "are"
    return f"{number(len(groups), 'picture')} {are} {where} ({what} the same)"


def _classes(audit: Audit) -> Iterable[Finding]:
    if len(audit.classes) == 1:
        yield Finding(
            "classes", "grave", f"There is only one class, {audit.classes[0]!r}",
            "Add a folder with photos of what is not of this class: a classifier needs two.",
        )  # fmt: skip
    for split in audit.splits:
        empty = [n for n, c in zip(audit.classes, audit.counts(split), strict=True) if not c]
        if empty:
            where = "" if split == "all" else f" in {split}"
            have = "has" if len(empty) == 1 else "have"
            yield Finding(
                "empty", "grave",
                f"{number(len(empty), 'class')} {have} no photos that can be read{where}: "
                f"{listed(empty)}",
                "Add photos or remove the folders: 'train' refuses a set with an empty class.",
            )  # fmt: skip
    counts = audit.counts()
    few = [n for n, c in zip(audit.classes, counts, strict=True) if 0 < c < FEW]
    if few:
        have = "has" if len(few) == 1 else "have"
        yield Finding(
            "few", "look",
            f"{number(len(few), 'class')} {have} fewer than {FEW} photos: {listed(few)}",
            "Add photos of other things of the kind, in other places and light.",
        )  # fmt: skip
    if min(counts) and audit.imbalance() >= UNEQUAL:
        smallest, largest = (audit.classes[counts.index(x)] for x in (min(counts), max(counts)))
        yield Finding(
            "imbalance", "look",
            f"The largest class has {audit.imbalance():.1f} times the photos of the smallest: "
            f"{largest!r} {max(counts):,}, {smallest!r} {min(counts):,}",
            "Add photos of the small classes, or train with --set balance=1, so that every class "
            "is seen equally often.",
        )  # fmt: skip


def _doubted(
    doubts: Sequence[Suspicion], names: Sequence[str], learnt: int, here: bool
) -> Iterable[Finding]:
    which = "of this set" if here else "of the same names as in this set"
    caution = (
        f"The model was trained on {number(learnt, 'photo')} {which} and may know their "
        "labels by heart, so that its word on them counts less."
        if learnt
        else ""
    )
    if not doubts:
        if learnt:
            yield Finding(
                "unquestioned", "note", "No label is doubted by the model",
                f"{caution} One that was trained without them would say more.",
            )  # fmt: skip
        return
    are = "label is" if len(doubts) == 1 else "labels are"
    yield Finding(
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


def _passed_over(audit: Audit) -> Iterable[Finding]:
    if audit.unsearched:
        yield Finding(
            "unsearched", "note",
            f"{number(audit.unsearched, 'pair')} of photos may be near copies and were not looked "
            "at closer",
            "Remove the copies that are named and look again: these photos are too much alike.",
        )  # fmt: skip
    if audit.links:
        yield Finding(
            "links", "note",
            f"{number(audit.links, 'link')} {'was' if audit.links == 1 else 'were'} not followed",
            "Copy what they lead to if it belongs to the set.",
        )  # fmt: skip
    if audit.ignored:
        count = len(audit.ignored)
        named = ", ".join(audit.ignored[:NAMED]) + (", ..." if count > NAMED else "")
        yield Finding(
            "ignored", "note",
            f"{number(count, 'file')} {'was' if count == 1 else 'were'} passed over: {named}",
            "Nothing to do, unless photos are among them, whose names end unlike a photo's: give "
            "those the ending of their format.",
        )  # fmt: skip
