"""Choice of photos for calibration and for measurement, which share no photo and no copies."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.dataset import Dataset, Photo, Split, stratified_split
from mobilenetv2.data.layout import ALL, split_of
from mobilenetv2.data.names import is_photo
from mobilenetv2.data.opening import open_source
from mobilenetv2.data.passed_over import Ignore
from mobilenetv2.data.sources import Source
from mobilenetv2.errors import DataError, argument
from mobilenetv2.images.decode import decode
from mobilenetv2.images.preprocess import least_size, preprocess
from mobilenetv2.progress import track
from mobilenetv2.spec.records import Preprocessing

SEED = 0
OF_TRAINING = ("train", "selection")
"""Parts of a run on which its model was trained."""
SHARE = 0.5
"""Largest fraction of a folder without splits that is used for calibration."""


@dataclass(frozen=True, slots=True)
class CalibrationSet:
    """Photos with which a quantised network is made, and those on which it is measured."""

    pictures: NDArray
    """Calibration images, uint8 (photos, height, width, channels), preprocessed."""
    judged: Split
    training: Split | None
    """Labelled photos that may be used for training, if there are any."""
    source: str
    """Number and source of the calibration photos, in words."""


def choose(
    dataset: Dataset, record: Preprocessing, count: int, split: str | None = None,
    folder: Path | None = None, parts: Mapping[str, str] | None = None,
    ignore: str | Sequence[str] = (),
) -> CalibrationSet:  # fmt: skip
    """Return photos for calibration and photos for measurement.

    Args:
        count: number of calibration photos, spread evenly over classes if there are classes.
        split: split for measurement; None means test, or else validation.
        folder: photos for calibration, at any depth; None means the dataset's training split.
        parts: part of the model's training run by photo, for a folder without splits.
        ignore: patterns of names in ``folder`` that are passed over.

    Raises:
        DataError: no photos are left for one of the two, or the split is the training split.
    """
    if count < 1:
        raise DataError(f"calibration_photos {count} must be at least 1")
    # A run's own record is of its own photos: another folder is divided anew.
    own = {photo.name for one in dataset.splits.values() for photo in one.photos}
    known = parts if parts and own & parts.keys() else {}
    judged, training = _divided(dataset, count, split, folder is not None, known)
    if not len(judged):
        raise DataError(f"{dataset.place}: no photos are left for the measurement")
    seen = {digest(judged.source.read(photo.name)) for photo in judged.photos}
    if training is not None:  # a copy of a judged photo is not trained on either
        training = training.with_photos(
            tuple(p for p in training.photos if digest(training.source.read(p.name)) not in seen)
        )
    if folder is not None:
        source = open_source(folder, Ignore(ignore))
        names = [name for name in source.names() if is_photo(name)]
        order = np.random.default_rng(SEED).permutation(len(names))
        found = [names[i] for i in order]
    elif training is not None:
        source, found = training.source, _spread(training)
    else:
        raise DataError(
            f"{dataset.place}: it has no training split for calibration; give "
            f"{argument('calibration')}, a folder of photos that are not used for the measurement"
        )
    pictures = _pictures(source, found, record, count, seen)
    if not pictures:
        raise DataError(
            f"{source.place}: all its photos are used for the measurement; give other photos as "
            f"{argument('calibration')}"
        )
    return CalibrationSet(
        np.stack(pictures), judged, training, f"{len(pictures)} photos of {source.place}"
    )


def _divided(
    dataset: Dataset, count: int, split: str | None, elsewhere: bool, parts: Mapping[str, str]
) -> tuple[Split, Split | None]:
    """Return the photos for measurement, and those for training and calibration."""
    if ALL not in dataset.splits:
        judged, training = dataset.split(split), dataset.splits.get("train")
        if training is judged and not elsewhere:
            raise DataError(
                f"{dataset.place}: its training split cannot be used for both calibration and "
                f"measurement; give {argument('split')} or {argument('calibration')}"
            )
        return judged, None if training is judged else training
    whole = dataset.splits[ALL]
    part = split_of(split or "") or split
    if parts:
        part = part or "validation"
        if part in OF_TRAINING:
            raise DataError(
                f"{dataset.place}: the model was trained on its {part} photos, so that they cannot "
                "be used for the measurement"
            )
        return _part(whole, parts, (part,)), _part(whole, parts, OF_TRAINING)
    if part:
        raise DataError(f"{dataset.place}: it has no splits, and so no split {split!r}")
    if elsewhere:
        return whole, None
    digests = {photo.name: digest(whole.source.read(photo.name)) for photo in whole.photos}
    share = min(SHARE, count / len(whole))
    return stratified_split(whole, share, SEED, ("validation", "train"), digests)


def _part(split: Split, parts: Mapping[str, str], names: Sequence[str]) -> Split:
    photos = tuple(photo for photo in split.photos if parts.get(photo.name) in names)
    return split.with_photos(photos, names[0])


def _spread(split: Split) -> list[str]:
    """Return the names in an order in which the classes take turns."""
    random = np.random.default_rng(SEED)
    ranked: list[tuple[int, int, Photo]] = []
    for label in range(len(split.classes)):
        photos = [photo for photo in split.photos if photo.label == label]
        ranked += [
            (int(place), label, photos[i])
            for place, i in enumerate(random.permutation(len(photos)))
        ]
    return [photo.name for _, _, photo in sorted(ranked, key=lambda each: each[:2])]


def _pictures(
    source: Source, names: Sequence[str], record: Preprocessing, count: int, seen: set[str]
) -> list[NDArray]:
    """Return the first ``count`` images that can be read and are not among ``seen``."""
    found: list[NDArray] = []
    for name in track(names, "reading photos for calibration", min(count, len(names))):
        try:
            data = source.read(name)
            if digest(data) in seen:
                continue
            where = f"{source.place}/{name}"
            found.append(preprocess(decode(data, where, least=least_size(record)), record, where))
        except (DataError, OSError):
            continue  # one of many: another takes its place
        if len(found) == count:
            break
    return found


def digest(data: bytes) -> str:
    """Return a digest of a photo's bytes, equal for identical copies."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
