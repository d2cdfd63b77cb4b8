"""Sentences about a result, for readers without experience in machine learning."""

import numpy as np

from mobilenetv2.evaluation.metrics import Metrics
from mobilenetv2.text import counted, listed

SPOKEN = {
    "train": "training split", "selection": "validation split", "validation": "test split",
    "test": "test split", "all": "all photos",
}  # fmt: skip
"""Name of a split in files -> its role; a folder ``validation/`` is the test split."""
WIDE = 0.2
"""Width of a 95% interval above which more test photos are advised."""
NAMED = 3
"""Largest number of classes in advice."""


def split_words(name: str) -> str:
    """Return the role of a split by its name in files: 'test split' for 'validation'."""
    return SPOKEN.get(name, name)


def right_of(metrics: Metrics, photos: str = "new photo") -> str:
    """Return the accuracy in words: '29 of 30 new photos were classified correctly'.

    Args:
        metrics: the metrics.
        photos: name of one photo. Default: 'new photo'.
    """
    right = round(metrics.accuracy * metrics.images)
    verb = "was" if metrics.images == 1 else "were"
    return f"{right:,} of {counted(metrics.images, photos)} {verb} classified correctly"


def first_sentence(metrics: Metrics, photos: str = "new photo") -> str:
    """Return the accuracy as a sentence: '29 of 30 new photos were classified correctly (96.7%).'.

    Args:
        metrics: the metrics.
        photos: name of one photo. Default: 'new photo'.
    """
    return f"{right_of(metrics, photos)} ({metrics.accuracy:.1%})."


def expectation(metrics: Metrics) -> str:
    """Return the 95% interval of the accuracy as a sentence, with advice if it is wide."""
    low, high = metrics.accuracy_interval
    text = (
        f"On other photos of the same kind, expect an accuracy between {low:.1%} and {high:.1%} "
        "(95% interval)."
    )
    if high - low > WIDE:
        text += " The range is wide because the test split is small; more test photos narrow it."
    return text


def class_advice(metrics: Metrics) -> str:
    """Return advice on the classes that need more photos, with their most frequent confusions."""
    found = [(row.recall, row.photos, i) for i, row in enumerate(metrics.classes) if row.photos]
    weak = [place for place in sorted(found) if place[0] < 1]
    if not weak:
        return (
            "All test photos were classified correctly. Also try photos from another day, place or "
            "camera, which may be harder."
        )
    names = [_weak_class(metrics, index) for _, _, index in weak[:NAMED]]
    return (
        f"Add photos of the classes with the lowest recall: {'; '.join(names)}. Photos that differ "
        "from the existing ones help most."
    )


def _weak_class(metrics: Metrics, index: int) -> str:
    """Return a class with its recall and confusion: 'bee (1 of 4 correct, mostly confused with
    cat)'."""
    row = metrics.classes[index]
    text = f"{row.name} ({round(row.recall * row.photos):,} of {row.photos:,} correct"
    if not metrics.confusion.size:
        return f"{text})"
    answers = metrics.confusion[index].copy()
    answers[index] = 0
    most = np.flatnonzero(answers == answers.max())
    others = listed([metrics.classes[i].name for i in most], 2)
    missed = int(answers.sum())
    how = "" if missed == 1 else "mostly " if 2 * answers.max() > missed else "most often "
    return f"{text}, {how}confused with {others})"
