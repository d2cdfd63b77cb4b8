"""Photos that stand out by themselves: unreadable, small, long, flat, grey, transparent, lying."""

from collections.abc import Callable

from mobilenetv2.audit.audit import Audit, Entry, Facts
from mobilenetv2.audit.finding import Finding, Level, number

SMALLEST = 64
"""Pixels of the shorter side, where no model says what it takes."""
LONGEST = 3.0
"""Times as long as wide: of more, a centre crop leaves less than a third."""


def photo_findings(audit: Audit, size: tuple[int, int] | None = None) -> list[Finding]:
    """What is worth saying of single photos.

    Args:
        size: (height, width) that the model takes.
    """
    least = min(size) if size else SMALLEST
    small = f"smaller than {least} pixels on a side" + (", which the model takes" if size else "")
    found = [
        _photos(
            audit, "unreadable", "grave", "cannot be read", lambda photo: photo.facts is None,
            "Mend, convert or remove them: 'train' leaves them out, and refuses a set with more "
            "than 1% of them.",
            lambda photo: photo.problem,
        ),
        _photos(
            audit, "flat", "look", "of one colour all over",
            _that(lambda facts: facts.flat),
            "Remove those that show nothing, which teach a class to mean nothing.",
        ),
        _photos(
            audit, "small", "look", small,
            _that(lambda facts: min(facts.width, facts.height) < least),
            "Take larger ones, or train for a smaller input with --set size=N: enlarging adds "
            "nothing.",
            _size,
        ),
        _photos(
            audit, "long", "look", f"more than {LONGEST:g} times as long as wide",
            _that(lambda facts: _length(facts) > LONGEST),
            "Crop them to what matters, for the network sees the middle of a photo.",
            _size,
        ),
        _photos(
            audit, "grey", "note", "without colours",
            _that(lambda facts: facts.mode in ("1", "L", "LA") or facts.mode.startswith("I")),
            "Nothing to do if every class has some; if only one has, a network learns the missing "
            "colours in place of the class.",
        ),
        _photos(
            audit, "transparent", "note", "transparent in places",
            _that(lambda facts: facts.transparent),
            "Nothing to do if white behind them is right; it is what a network sees there.",
        ),
        _photos(
            audit, "turned", "note", "stored lying or mirrored, with a mark (EXIF) that says so",
            _that(lambda facts: facts.turned),
            "Nothing to do: they are turned upright here, but other programs may not turn them.",
        ),
    ]  # fmt: skip
    return [finding for finding in found if finding is not None]


def _photos(
    audit: Audit, kind: str, level: Level, what: str, chosen: Callable[[Entry], bool], advice: str,
    note: Callable[[Entry], str] | None = None,
) -> Finding | None:  # fmt: skip
    places = [place for place, photo in enumerate(audit.photos) if chosen(photo)]
    if not places:
        return None
    verb = "" if what.startswith("cannot") else "is " if len(places) == 1 else "are "
    notes = {place: note(audit.photos[place]) for place in places} if note else {}
    return Finding(
        kind, level, f"{number(len(places), 'photo')} {verb}{what}", advice,
        tuple((place,) for place in places), notes,
    )  # fmt: skip


def _that(chosen: Callable[[Facts], bool]) -> Callable[[Entry], bool]:
    return lambda photo: photo.facts is not None and chosen(photo.facts)


def _size(photo: Entry) -> str:
    return f"{photo.facts.width} x {photo.facts.height}" if photo.facts else ""


def _length(facts: Facts) -> float:
    return max(facts.width, facts.height) / min(facts.width, facts.height)
