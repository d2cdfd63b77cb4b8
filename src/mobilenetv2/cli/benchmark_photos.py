"""What ``benchmark`` compares answers on, and what it calibrates int8 on."""

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.cli import photos
from mobilenetv2.cli.evaluate import chosen
from mobilenetv2.cli.trained_on import flattered, trained_on
from mobilenetv2.data.batches import in_parallel
from mobilenetv2.data.dataset import Split, open_dataset
from mobilenetv2.data.scan import readable_photos
from mobilenetv2.errors import ArtifactError, DataError
from mobilenetv2.evaluate.matching import match
from mobilenetv2.export import verify
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.progress import say, track
from mobilenetv2.quantize import calibration_set
from mobilenetv2.spec.records import ModelConfig, Preprocessing

MOST_PHOTOS = 1000
"""Of DATA, that answers are compared on; of more, as many drawn by a seed."""
MADE_HERE = 32
"""Pictures that are drawn where no data is given."""
CALIBRATED = 200


@dataclass(frozen=True, slots=True)
class Given:
    """What answers are compared on."""

    pictures: NDArray
    """uint8 (photos, height, width, channels)."""
    source: str
    """In words."""
    truth: NDArray | None = None
    calibration: NDArray | None = None
    calibrated_on: str | None = None


def pictures(arguments: argparse.Namespace, config: ModelConfig, needs_int8: bool) -> Given:
    """The photos of DATA, or pictures made here; photos to calibrate on are never among them."""
    record = config.preprocessing
    if not arguments.data:
        given = Given(verify.sample_pictures(record, MADE_HERE), f"{MADE_HERE} pictures made here")
        if not (needs_int8 and arguments.calibration):
            if needs_int8:
                raise ArtifactError(
                    "--precision int8 needs photos to calibrate on; give --calibration FOLDER, or "
                    "--data with a training split"
                )
            return given
        names = [str(path) for path in drawn(photos.photos([arguments.calibration]), CALIBRATED)]
        calibration = photos.pictures(names, record)
        return dataclasses.replace(
            given, calibration=calibration,
            calibrated_on=f"{len(names)} photos of {arguments.calibration}",
        )  # fmt: skip
    dataset = open_dataset(arguments.data)
    outputs = match(dataset.classes, config.labels, dataset.place)
    chosen_set = calibrating(arguments, record) if needs_int8 else None
    known = trained_on(arguments.model)
    split = chosen_set.judged if chosen_set else chosen(dataset, arguments, known)
    if note := flattered(split, arguments.data, known):
        say(f"note: {note}")
    split = split.with_photos(tuple(drawn(split.photos, MOST_PHOTOS)))
    split, notes = readable_photos(split)
    for note in notes:
        say(note)
    return Given(
        read(split, record), f"{len(split)} photos of {arguments.data} ({split.name})",
        np.array([outputs[photo.label] for photo in split.photos]),
        chosen_set.pictures if chosen_set else None, chosen_set.source if chosen_set else None,
    )  # fmt: skip


def calibrating(
    arguments: argparse.Namespace, record: Preprocessing
) -> calibration_set.CalibrationSet | None:
    """Photos to calibrate on and to judge on; None where the former are lacking and int8 was not
    asked for by name."""
    parts = trained_on(arguments.model).parts
    folder = Path(arguments.calibration) if arguments.calibration else None
    try:
        return calibration_set.choose(
            open_dataset(arguments.data), record, CALIBRATED, arguments.split, folder,
            dict(parts) or None,
        )  # fmt: skip
    except DataError as error:
        if arguments.precision or folder:
            raise
        say(f"note: int8 is left out: {error}")
        return None


def drawn(items: Sequence[Any], most: int) -> list[Any]:
    """All of them, or ``most`` drawn by a seed, in their order."""
    if len(items) <= most:
        return list(items)
    kept = np.sort(np.random.default_rng(0).permutation(len(items))[:most])
    return [items[index] for index in kept]


def read(split: Split, record: Preprocessing) -> NDArray:
    """Every photo as the network takes it."""
    found = in_parallel(
        lambda photo: preprocess(split.image(photo), record, split.full_name(photo)), split.photos
    )
    return np.stack(list(track(found, "reading photos", len(split))))
