"""Every photo of a set read once and compared with the others: what an audit is made from."""

import io
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from mobilenetv2.audit.audit import Audit, Copies, Entry, Facts
from mobilenetv2.audit.likeness import View, alike, view
from mobilenetv2.data.dataset import Dataset
from mobilenetv2.data.scan import scan_photos
from mobilenetv2.images.decode import FORMATS
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.spec.records import Preprocessing

BATCH = 8
"""Photos given to the network at once."""


def inspect(
    dataset: Dataset,
    record: Preprocessing | None = None,
    predictor: Callable[[NDArray], NDArray] | None = None,
) -> tuple[Audit, NDArray | None]:
    """Look at every photo of every split.

    Args:
        record: what the network takes; with it, a photo that cannot be brought to it is one that
            cannot be read.
        predictor: uint8 (batch, height, width, channels) -> logits (batch, outputs); needs
            ``record``.

    Returns:
        (what was found, the predictor's logits: float32 (photos, outputs), NaN for those that
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

    for look in scan_photos(list(dataset.splits.values()), see):
        facts, seen, taken = look.seen or (None, None, None)
        if seen is not None:
            views[len(photos)] = seen
        if taken is not None:
            waiting[len(photos)] = taken
        prefix = f"{dataset.place}/{look.photo.name}: "
        photos.append(
            Entry(
                look.photo.name, look.split, look.photo.label, look.digest,
                look.problem.removeprefix(prefix), facts,
            )
        )  # fmt: skip
        if len(waiting) == BATCH:
            answer()
    answer()
    copies, unsearched = _copies(photos, views)
    found = Audit(
        dataset.place, dataset.classes, tuple(dataset.splits), tuple(photos), copies,
        dataset.ignored, dataset.links, unsearched,
    )  # fmt: skip
    return found, _logits(answers, len(photos))


def _in_the_file(data: bytes) -> tuple[str, bool, bool]:
    """(mode, whether it is transparent somewhere, whether it is stored lying or mirrored)."""
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
    """Whether some pixel is; most files with a place for transparency are opaque all over."""
    if not image.has_transparency_data:
        return False
    if image.mode.startswith("I"):  # 16-bit grey with one transparent level, as in decoding
        return bool((np.asarray(image) == image.info["transparency"]).any())
    return any(image.convert("RGBA").getchannel("A").histogram()[:255])


def _copies(photos: list[Entry], views: dict[int, View]) -> tuple[tuple[Copies, ...], int]:
    """Groups of exact and near copies, and how many pairs were too many to compare."""
    by_digest: dict[str, list[int]] = defaultdict(list)
    for place, photo in enumerate(photos):
        by_digest[photo.digest].append(place)
    pairs = [(same[0], other) for same in by_digest.values() for other in same[1:]]
    # Of exact copies one stands for all: a hundred of them are not five thousand near pairs.
    firsts = [same[0] for same in by_digest.values() if same[0] in views]
    near = alike([views[place] for place in firsts])
    pairs += [(firsts[one], firsts[other]) for one, other in near.pairs]
    groups = (
        Copies(group, len({photos[place].digest for place in group}) == 1)
        for group in connected(pairs)
    )
    return tuple(groups), near.unsearched


def connected(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Groups of what pairs hold together, each sorted, the group with the least number first."""
    group_of: dict[int, list[int]] = {}
    for one, other in pairs:
        first, second = group_of.setdefault(one, [one]), group_of.setdefault(other, [other])
        if first is not second:
            larger, smaller = (first, second) if len(first) >= len(second) else (second, first)
            larger += smaller
            for member in smaller:
                group_of[member] = larger
    return sorted(tuple(sorted(group)) for group in {id(g): g for g in group_of.values()}.values())


def _logits(answers: dict[int, NDArray], photos: int) -> NDArray | None:
    if not answers:
        return None
    outputs = len(next(iter(answers.values())))
    logits = np.full((photos, outputs), np.nan, np.float32)
    for place, answer in answers.items():
        logits[place] = answer
    return logits
