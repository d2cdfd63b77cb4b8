"""Photos that answers are compared on, and photos that int8 is calibrated on."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.batches import in_parallel
from mobilenetv2.data.dataset import Split, open_dataset
from mobilenetv2.data.scan import readable_photos
from mobilenetv2.data.sources import find_photos
from mobilenetv2.errors import ArtifactError, DataError
from mobilenetv2.evaluate.matching import match
from mobilenetv2.evaluate.predictions import load_pictures
from mobilenetv2.evaluate.run_record import TrainedOn
from mobilenetv2.export.verify import sample_pictures
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.progress import say, track
from mobilenetv2.quantize.calibration_set import CalibrationSet, choose
from mobilenetv2.spec.records import ModelConfig, Preprocessing

MOST_PHOTOS = 1000
"""Photos of DATA that answers are compared on; of more, as many drawn by a seed."""
MADE_HERE = 32
"""Pictures that are drawn where no data is given."""
CALIBRATED = 200
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Photos:
    """What answers are compared on."""

    pictures: NDArray
    """uint8 (photos, height, width, channels)."""
    source: str
    """In words."""
    truth: NDArray | None = None
    """int (photos,): classes."""
    calibration: NDArray | None = None
    """As ``pictures``, and none of them."""
    calibrated_on: str | None = None
    """In words."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asks for."""

    data: str | None = None
    """Labelled photos."""
    split: str | None = None
    calibration: str | None = None
    """A folder of photos."""
    int8: Literal["no", "if possible", "yes"] = "no"
    """Whether photos to calibrate on are needed."""


def choose_photos(config: ModelConfig, wanted: Wanted, known: TrainedOn) -> Photos:
    """Return the photos of DATA, or pictures made here, and photos to calibrate on.

    Args:
        known: photos that the model was trained on.

    Raises:
        DataError, ArtifactError: there are none to calibrate on, and they are needed.
    """
    record = config.preprocessing
    if not wanted.data:
        return _without_data(record, wanted)
    dataset = open_dataset(wanted.data)
    outputs = match(dataset.classes, config.labels, dataset.place)
    chosen = _calibrating(record, wanted, known) if wanted.int8 != "no" else None
    split = chosen.judged if chosen else known.split_of(dataset, wanted.split)
    if note := known.caution(split, wanted.data):
        say(f"note: {note}")
    split = split.with_photos(tuple(draw_some(split.photos, MOST_PHOTOS)))
    split, notes = readable_photos(split)
    for note in notes:
        say(note)
    return Photos(
        _pictures(split, record), f"{len(split)} photos of {wanted.data} ({split.name})",
        np.array([outputs[photo.label] for photo in split.photos]),
        chosen.pictures if chosen else None, chosen.source if chosen else None,
    )  # fmt: skip


def _without_data(record: Preprocessing, wanted: Wanted) -> Photos:
    made = Photos(sample_pictures(record, MADE_HERE), f"{MADE_HERE} pictures made here")
    if wanted.int8 == "no":
        return made
    if not wanted.calibration:
        raise ArtifactError(
            "--precision int8 needs photos to calibrate on; give --calibration FOLDER, or --data "
            "with a training split"
        )
    paths = draw_some(find_photos([wanted.calibration]), CALIBRATED)
    return dataclasses.replace(
        made, calibration=load_pictures(paths, record),
        calibrated_on=f"{len(paths)} photos of {wanted.calibration}",
    )  # fmt: skip


def _calibrating(record: Preprocessing, wanted: Wanted, known: TrainedOn) -> CalibrationSet | None:
    """Photos to calibrate on and to judge on; None where the former are lacking."""
    folder = Path(wanted.calibration) if wanted.calibration else None
    try:
        dataset = open_dataset(str(wanted.data))
        return choose(dataset, record, CALIBRATED, wanted.split, folder, known.parts)
    except DataError as error:
        if wanted.int8 == "yes" or folder:
            raise
        say(f"note: int8 is left out: {error}")
        return None


def draw_some(items: Sequence[Item], most: int) -> list[Item]:
    """Return all items, or ``most`` drawn by a seed, in their order."""
    if len(items) <= most:
        return list(items)
    kept = np.sort(np.random.default_rng(0).permutation(len(items))[:most])
    return [items[index] for index in kept]


def _pictures(split: Split, record: Preprocessing) -> NDArray:
    found = in_parallel(
        lambda photo: preprocess(split.image(photo), record, split.full_name(photo)), split.photos
    )
    return np.stack(list(track(found, "reading photos", len(split))))
