"""A result in words for people who have never trained a network."""

import numpy as np

from mobilenetv2.evaluation.metrics import Metrics
from mobilenetv2.text import counted, listed

SPOKEN = {
    "train": "training split", "selection": "validation split", "validation": "test split",
    "test": "test split", "all": "all photos",
}  # fmt: skip
"""Name of a split in files -> what it is for; a folder ``validation/`` gives the final figures."""
WIDE = 0.2
"""Width of a 95% interval from which on more photos in the test split are advised."""
NAMED = 3
"""Classes that advice names."""


def split_words(name: str) -> str:
    """Return "test split ('validation')": what a split is for, and its name in files."""
    spoken = SPOKEN.get(name)
    if spoken is None:
        return name
    return spoken if name in ("train", "test", "all") else f"{spoken} ({name!r})"


def right_of(metrics: Metrics, photos: str = "new photo") -> str:
    """Return '29 of 30 new photos were right'.

    Args:
        photos: what one of the photos is called.
    """
    right = round(metrics.accuracy * metrics.images)
    verb = "was" if metrics.images == 1 else "were"
    return f"{right:,} of {counted(metrics.images, photos)} {verb} right"


def first_sentence(metrics: Metrics, photos: str = "new photo") -> str:
    """Return '29 of 30 new photos were right (96.7%).'"""
    return f"{right_of(metrics, photos)} ({metrics.accuracy:.1%})."


def expectation(metrics: Metrics) -> str:
    """Return the 95% interval of the accuracy as a sentence, with advice where it is wide."""
    low, high = metrics.accuracy_interval
    text = (
        f"On other photos of the same kind, expect between {low:.1%} and {high:.1%} to be right "
        "(95% interval)."
    )
    if high - low > WIDE:
        text += " The range is wide because there were few photos to test on; more narrow it."
    return text


def class_advice(metrics: Metrics) -> str:
    """Return for which classes more photos help, with what they were taken for."""
    found = [(row.recall, row.photos, i) for i, row in enumerate(metrics.classes) if row.photos]
    weak = [place for place in sorted(found) if place[0] < 1]
    if not weak:
        return (
            "Every photo of every class was found. Try photos of another day, place or camera, for "
            "they may be harder."
        )
    names = [_weak_class(metrics, index) for _, _, index in weak[:NAMED]]
    return (
        f"Add photos of the classes that were found least often: {'; '.join(names)}. Photos "
        "that differ from those that you have help most."
    )


def _weak_class(metrics: Metrics, index: int) -> str:
    """Return 'bee (1 of 4 found, mostly taken for cat)'."""
    row = metrics.classes[index]
    text = f"{row.name} ({round(row.recall * row.photos):,} of {row.photos:,} found"
    if not metrics.confusion.size:
        return f"{text})"
    answers = metrics.confusion[index].copy()
    answers[index] = 0
    most = np.flatnonzero(answers == answers.max())
    others = listed([metrics.classes[i].name for i in most], 2)
    missed = int(answers.sum())
    how = "" if missed == 1 else "mostly " if 2 * answers.max() > missed else "most often "
    return f"{text}, {how}taken for {others})"
