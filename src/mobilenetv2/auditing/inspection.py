"""Inspection of a set of labelled photos: each is read once and compared with the others.

Label errors are found by confident learning (C. G. Northcutt, L. Jiang, I. L. Chuang 2021, JAIR 70,
arXiv 1911.00068, section 3.1). A model is confident of a class if its probability is at least the
class's threshold: the mean probability of the class on the photos with this label. A hard class has
a low threshold, so that not all of its photos are suspected. Beyond the article, the other class
must be more probable than the label, and the errors are sorted by this difference.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.auditing.near_duplicates import View, find_near_duplicates, view
from mobilenetv2.data.dataset import Dataset
from mobilenetv2.data.scan import scan_photos
from mobilenetv2.errors import OutputError
from mobilenetv2.images.decode import Decoded
from mobilenetv2.images.notes import Note
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.runtime.answers import outputs_of
from mobilenetv2.spec.records import Preprocessing

BATCH = 8
"""Batch size of the network."""
ENOUGH = 5
"""Minimum number of photos outside the training data for a class's threshold; a class with fewer
uses all its photos."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a readable photo."""

    width: int
    """Width in pixels, of the upright image."""
    height: int
    mode: str
    """Pillow's colour mode of the file: 'RGB', 'L' (grey), 'P' (palette), 'CMYK' ..."""
    transparent: bool
    turned: bool
    """True if it is stored rotated or mirrored, by its EXIF orientation."""
    flat: bool
    """True if it has one colour all over."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Photo of the set."""

    name: str
    split: str
    label: int
    digest: str
    """SHA-256 of the file."""
    problem: str
    """Reason why it cannot be read; '' if it can."""
    facts: Facts | None
    """Facts about the photo; None if it cannot be read."""
    notes: tuple[Note, ...] = ()
    """Notes on how its file was read."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Group of copies of an image, by the indices of the photos."""

    photos: tuple[int, ...]
    exact: bool
    """True if all files have the same bytes."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """Facts about all photos of a set."""

    place: str
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    photos: tuple[Entry, ...]
    copies: tuple[Copies, ...]
    ignored: tuple[str, ...]
    """Names of files without the suffix of a photo."""
    links: int
    """Number of links that were not followed."""
    unsearched: int = 0
    """Number of possible near copies (pairs) that were not compared, beyond the limit."""
    notes: tuple[str, ...] = ()
    """Notes on what was found, followed and left out, one sentence each."""
    left_out: tuple[str, ...] = ()
    """Names of photos that are in no class of a split."""

    def counts(self, split: str | None = None) -> tuple[int, ...]:
        """Count the readable photos of each class, in a split or in all."""
        found = Counter(
            photo.label for photo in self.photos
            if photo.facts is not None and split in (None, photo.split)
        )  # fmt: skip
        return tuple(found[label] for label in range(len(self.classes)))

    def imbalance(self) -> float:
        """Return the ratio of the largest to the smallest class; infinite if a class is empty."""
        counts = self.counts()
        return max(counts) / min(counts) if min(counts) else float("inf")

    def sizes(self) -> dict[str, tuple[float, float, float]]:
        """Return minimum, median and maximum of width, height (pixels) and aspect; {} if empty."""
        sides = np.array([(p.facts.width, p.facts.height) for p in self.photos if p.facts])
        if not len(sides):
            return {}
        named = {"width": sides[:, 0], "height": sides[:, 1], "aspect": sides[:, 0] / sides[:, 1]}
        return {
            name: (float(values.min()), float(np.median(values)), float(values.max()))
            for name, values in named.items()
        }

    def modes(self) -> dict[str, int]:
        """Count the photos of each mode, the most frequent first."""
        return dict(Counter(p.facts.mode for p in self.photos if p.facts).most_common())

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
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
            "left_out": list(self.left_out),
            "links": self.links,
            "notes": list(self.notes),
            "unsearched": self.unsearched,
        }


def inspect(
    dataset: Dataset,
    record: Preprocessing | None = None,
    predictor: Callable[[NDArray], NDArray] | None = None,
) -> tuple[Inspection, NDArray | None]:
    """Read every photo of every split, and find copies.

    Args:
        dataset: the photos.
        record: preprocessing of the network; a photo that it cannot convert is unreadable.
        predictor: function from uint8 images (batch, height, width, channels) to logits; it needs
            ``record``.

    Returns:
        The inspection, and the logits, float32 (photos, outputs), with NaN for unreadable photos.
        The logits are None without a predictor or a readable photo.

    Raises:
        OutputError: the predictor's outputs for a photo are not finite.
    """

    def see(name: str, decoded: Decoded) -> tuple[Facts, View, NDArray | None]:
        image, stored = decoded.image, decoded.stored
        taken = preprocess(image, record, name) if record is not None else None
        seen = view(image)
        facts = Facts(
            image.width, image.height, stored.mode, stored.transparent, stored.turned, seen.flat
        )
        return facts, seen, taken if predictor is not None else None

    photos: list[Entry] = []
    views: dict[int, View] = {}
    waiting: dict[int, NDArray] = {}
    answers: dict[int, NDArray] = {}

    def answer() -> None:
        if predictor is not None and waiting:
            names = [photos[place].name for place in waiting]
            found = outputs_of(predictor, np.stack(list(waiting.values())), names)
            for place, outputs in zip(waiting, found, strict=True):
                if isinstance(outputs, OutputError):
                    raise outputs
                answers[place] = outputs
            waiting.clear()

    for scanned in scan_photos(list(dataset.splits.values()), see):
        facts, seen, taken = scanned.seen or (None, None, None)
        if seen is not None:
            views[len(photos)] = seen
        if taken is not None:
            waiting[len(photos)] = taken
        prefix = f"{dataset.splits[scanned.split].full_name(scanned.photo)}: "
        photos.append(
            Entry(
                scanned.photo.name, scanned.split, scanned.photo.label, scanned.digest,
                scanned.problem.removeprefix(prefix), facts, scanned.notes,
            )
        )  # fmt: skip
        if len(waiting) == BATCH:
            answer()
    answer()
    copies, unsearched = _copies(photos, views)
    audit = Inspection(
        dataset.place, dataset.classes, tuple(dataset.splits), tuple(photos), copies,
        dataset.ignored, dataset.links, unsearched, dataset.notes,
        dataset.left_out,
    )  # fmt: skip
    if not answers:
        return audit, None
    logits = np.full((len(photos), len(next(iter(answers.values())))), np.nan, np.float32)
    logits[list(answers)] = list(answers.values())
    return audit, logits


def _copies(photos: list[Entry], views: dict[int, View]) -> tuple[tuple[Copies, ...], int]:
    """Return groups of exact and near copies, and the number of pairs that were not compared."""
    by_digest: dict[str, list[int]] = defaultdict(list)
    for place, photo in enumerate(photos):
        by_digest[photo.digest].append(place)
    pairs = [(same[0], other) for same in by_digest.values() for other in same[1:]]
    # One photo represents its exact copies: 100 copies would otherwise be 4,950 near pairs.
    firsts = [same[0] for same in by_digest.values() if same[0] in views]
    near, unsearched = find_near_duplicates([views[place] for place in firsts])
    pairs += [(firsts[one], firsts[other]) for one, other in near]
    groups = (
        Copies(group, len({photos[place].digest for place in group}) == 1)
        for group in connected(pairs)
    )
    return tuple(groups), unsearched


def connected(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Return the connected components of pairs, each sorted, in order of their least number."""
    group_of: dict[int, list[int]] = {}
    for one, other in pairs:
        first, second = group_of.setdefault(one, [one]), group_of.setdefault(other, [other])
        if first is not second:
            larger, smaller = (first, second) if len(first) >= len(second) else (second, first)
            larger += smaller
            for member in smaller:
                group_of[member] = larger
    return sorted(tuple(sorted(group)) for group in {id(g): g for g in group_of.values()}.values())


@dataclass(frozen=True, slots=True)
class LabelError:
    """Photo whose label contradicts the prediction, by its index."""

    photo: int
    label: int
    answer: int
    of_label: float
    """Probability of the label."""
    of_answer: float
    trained_on: bool
    """True if the model was trained on this photo with this label."""


def find_label_errors(
    probabilities: NDArray, labels: NDArray, trained_on: NDArray | None = None
) -> list[LabelError]:
    """Return the label errors, the most confident prediction first.

    Args:
        probabilities: float (photos, classes); rows with NaN are skipped.
        labels: int (photos,).
        trained_on: bool (photos,), True for photos that the model was trained on. Their
            probabilities are too high, so that thresholds use other photos if there are enough.
    """
    seen = np.zeros(len(labels), bool) if trained_on is None else trained_on
    limits = thresholds(probabilities, labels, seen)
    known = np.isfinite(probabilities).all(1)
    confident = np.where(probabilities >= limits, probabilities, -1.0)
    confident[~known] = -1.0
    answers = confident.argmax(1)
    rows = np.arange(len(labels))
    of_label, of_answer = probabilities[rows, labels], confident[rows, answers]
    margins = of_answer - of_label
    doubted = np.flatnonzero(known & (answers != labels) & (margins > 0))
    return [
        LabelError(
            int(place), int(labels[place]), int(answers[place]),
            float(of_label[place]), float(of_answer[place]), bool(seen[place]),
        )
        for place in doubted[np.argsort(-margins[doubted], kind="stable")]
    ]  # fmt: skip


def thresholds(probabilities: NDArray, labels: NDArray, trained_on: NDArray) -> NDArray:
    """Return each class's mean probability on the photos with its label, as float (classes,).

    The threshold of a class without photos is infinite.
    """
    known = np.isfinite(probabilities).all(1)
    limits = np.full(probabilities.shape[1], np.inf)
    for label in range(probabilities.shape[1]):
        own = known & (labels == label)
        new = own & ~trained_on
        chosen = new if new.sum() >= ENOUGH else own
        if chosen.any():
            limits[label] = probabilities[chosen, label].mean()
    return limits
