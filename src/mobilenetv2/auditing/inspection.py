"""The audit of a set of labelled photos: each is read once and compared with the others.

Labels are doubted by confident learning (C. G. Northcutt, L. Jiang, I. L. Chuang 2021, JAIR 70,
arXiv 1911.00068, section 3.1): a model is confident that a photo is of a class where it gives the
class at least the probability that it gives it on average on the photos labelled so. A class that
the model finds hard has a low threshold, so that its photos are not all suspected. Beyond the
article, the other class must be likelier than the label itself, and the ranking is by how much.
"""

import io
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from mobilenetv2.auditing.near_duplicates import View, find_near_duplicates, view
from mobilenetv2.data.dataset import Dataset
from mobilenetv2.data.scan import scan_photos
from mobilenetv2.images.decode import FORMATS
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.spec.records import Preprocessing

BATCH = 8
"""Photos given to the network at once."""
ENOUGH = 5
"""Photos that were not trained on, from which a class takes its threshold; with fewer it takes
that of all its photos."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A photo that can be read."""

    width: int
    """Pixels, of the upright picture."""
    height: int
    mode: str
    """Colour mode of the file in Pillow's words: 'RGB', 'L' (grey), 'P' (palette), 'CMYK' ..."""
    transparent: bool
    turned: bool
    """Its EXIF orientation says that it is stored turned or mirrored."""
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
class Inspection:
    """All that was found in a set of photos."""

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
        """Count the readable photos of each class, of a split or of all."""
        found = Counter(
            photo.label for photo in self.photos
            if photo.facts is not None and split in (None, photo.split)
        )  # fmt: skip
        return tuple(found[label] for label in range(len(self.classes)))

    def imbalance(self) -> float:
        """Return the ratio of the largest class to the smallest; infinite if that has no photos."""
        counts = self.counts()
        return max(counts) / min(counts) if min(counts) else float("inf")

    def sizes(self) -> dict[str, tuple[float, float, float]]:
        """Return (least, median, greatest) width, height (pixels) and aspect; {} without photos."""
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
            "links": self.links,
            "unsearched": self.unsearched,
        }


def inspect(
    dataset: Dataset,
    record: Preprocessing | None = None,
    predictor: Callable[[NDArray], NDArray] | None = None,
) -> tuple[Inspection, NDArray | None]:
    """Read every photo of every split, and find copies.

    Args:
        record: what the network takes; a photo that cannot be brought to it cannot be read.
        predictor: uint8 (batch, height, width, channels) -> logits; needs ``record``.

    Returns:
        (the audit, the predictor's logits: float32 (photos, outputs), NaN for those that
        cannot be read; None without a predictor or a readable photo).
    """

    def see(name: str, data: bytes, image: Image.Image) -> tuple[Facts, View, NDArray | None]:
        taken = preprocess(image, record, name) if record is not None else None
        seen = view(image)
        mode, transparent, turned = _in_the_file(data)
        facts = Facts(image.width, image.height, mode, transparent, turned, seen.flat)
        return facts, seen, taken if predictor is not None else None

    photos: list[Entry] = []
    views: dict[int, View] = {}
    waiting: dict[int, NDArray] = {}
    answers: dict[int, NDArray] = {}

    def answer() -> None:
        if predictor is not None and waiting:
            outputs = predictor(np.stack(list(waiting.values())))
            answers.update(zip(waiting, outputs, strict=True))
            waiting.clear()

    for scanned in scan_photos(list(dataset.splits.values()), see):
        facts, seen, taken = scanned.seen or (None, None, None)
        if seen is not None:
            views[len(photos)] = seen
        if taken is not None:
            waiting[len(photos)] = taken
        prefix = f"{dataset.place}/{scanned.photo.name}: "
        photos.append(
            Entry(
                scanned.photo.name, scanned.split, scanned.photo.label, scanned.digest,
                scanned.problem.removeprefix(prefix), facts,
            )
        )  # fmt: skip
        if len(waiting) == BATCH:
            answer()
    answer()
    copies, unsearched = _copies(photos, views)
    audit = Inspection(
        dataset.place, dataset.classes, tuple(dataset.splits), tuple(photos), copies,
        dataset.ignored, dataset.links, unsearched,
    )  # fmt: skip
    if not answers:
        return audit, None
    logits = np.full((len(photos), len(next(iter(answers.values())))), np.nan, np.float32)
    logits[list(answers)] = list(answers.values())
    return audit, logits


def _in_the_file(data: bytes) -> tuple[str, bool, bool]:
    """Return (mode, transparent somewhere, stored lying or mirrored)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in decoding, which has succeeded
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            # A PNG that does not begin with its metadata would be decoded once more to look for it.
            asked = image.format != "PNG" or "exif" in image.info
            try:
                orientation = image.getexif().get(ExifTags.Base.Orientation, 1) if asked else 1
            except Exception:  # odd metadata, which decoding passes over, too
                orientation = 1
            return image.mode, _transparent(image), orientation in range(2, 9)


def _transparent(image: Image.Image) -> bool:
    """Look at every pixel: most files with a place for transparency are opaque all over."""
    if not image.has_transparency_data:
        return False
    if image.mode.startswith("I"):  # 16-bit grey with one transparent level, as in decoding
        return bool((np.asarray(image) == image.info["transparency"]).any())
    return any(image.convert("RGBA").getchannel("A").histogram()[:255])


def _copies(photos: list[Entry], views: dict[int, View]) -> tuple[tuple[Copies, ...], int]:
    """Return groups of exact and near copies, and how many pairs were too many to compare."""
    by_digest: dict[str, list[int]] = defaultdict(list)
    for place, photo in enumerate(photos):
        by_digest[photo.digest].append(place)
    pairs = [(same[0], other) for same in by_digest.values() for other in same[1:]]
    # Of exact copies one stands for all: a hundred of them are not five thousand near pairs.
    firsts = [same[0] for same in by_digest.values() if same[0] in views]
    near, unsearched = find_near_duplicates([views[place] for place in firsts])
    pairs += [(firsts[one], firsts[other]) for one, other in near]
    groups = (
        Copies(group, len({photos[place].digest for place in group}) == 1)
        for group in connected(pairs)
    )
    return tuple(groups), unsearched


def connected(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Return the groups that pairs connect, each sorted, that with the least number first."""
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
    """A photo by its place, its label, and the class that the model takes it for."""

    photo: int
    label: int
    answer: int
    of_label: float
    """Probability of the label."""
    of_answer: float
    trained_on: bool
    """The model has learnt this label, which it doubts all the same."""


def find_label_errors(
    probabilities: NDArray, labels: NDArray, trained_on: NDArray | None = None
) -> list[LabelError]:
    """Return the labels that a model doubts, the most confident disagreement first.

    Args:
        probabilities: float (photos, classes); rows that are not numbers are skipped.
        labels: int (photos,).
        trained_on: bool (photos,): the model has learnt these photos' labels. It is surer of them
            than of others, so that they set no threshold where there are enough others.
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
    """Return the mean probability of each class on the photos labelled so: float (classes,).

    A class without photos has no threshold: infinity, so that nothing is taken for it.
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
