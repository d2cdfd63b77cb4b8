"""Candidates and photos of a benchmark."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.batches import in_parallel
from mobilenetv2.data.dataset import Split, open_dataset
from mobilenetv2.data.opening import find_photos
from mobilenetv2.data.scan import readable_photos
from mobilenetv2.documents import LARGEST_RECORD, read_table
from mobilenetv2.errors import ArtifactError, DataError, MissingExtra, argument, installing
from mobilenetv2.evaluation.matching import index_note, match
from mobilenetv2.evaluation.predictions import load_pictures
from mobilenetv2.evaluation.run_record import TrainedOn
from mobilenetv2.exporting.job import RECORD
from mobilenetv2.files import sha256_of_file
from mobilenetv2.formats import BY_ENDING, INT8, PRECISIONS, RUNTIMES, engines_of
from mobilenetv2.images.drawn import sample_pictures
from mobilenetv2.images.preprocess import least_size
from mobilenetv2.progress import say, track
from mobilenetv2.quantization.calibration_set import choose
from mobilenetv2.runtime.predictor import is_exported
from mobilenetv2.spec.foreign import AnyConfig

UNKNOWN = "?"
MOST_PHOTOS = 1000
"""Maximum number of photos of DATA to compare predictions on; they are drawn by a seed."""
MADE_HERE = 32
"""Number of generated images if no data is given."""
CALIBRATED = 200
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Candidate:
    """Runtime and file to measure, a row of the table."""

    runtime: str
    format: str
    precision: str
    """Precision of the file; :data:`UNKNOWN` if the file has no record of it."""
    path: Path | None = None
    """Path of an existing file; None for a file that the benchmark writes."""

    @property
    def name(self) -> str:
        """Name for progress and error messages."""
        return f"{self.runtime} {self.path.name if self.path else self.precision}"


def choose_candidates(
    exported: Path | None, runtimes: Sequence[str] | None, precisions: Sequence[str] | None,
    artifacts: Path | None, int8: bool,
) -> list[Candidate]:  # fmt: skip
    """Return the candidates; a note names runtimes that are not installed.

    Args:
        exported: path of the model if it is an exported file; all its runtimes are candidates.
        runtimes: names of runtimes; default: all installed ones.
        precisions: names of precisions; default: float32.
        artifacts: folder with further exported files.
        int8: True to add int8 to the default precisions.

    Raises:
        MissingExtra: a given runtime is not installed, or none is.
        ArtifactError: a runtime or precision does not fit the model.
    """
    names = runtimes or list(RUNTIMES)
    if exported is None:
        candidates = cross(names, precisions or ["float32", *([INT8] if int8 else [])])
    elif precisions:
        raise ArtifactError(
            f"{exported}: the precision of an exported file is fixed; give a model folder instead"
        )
    else:
        candidates = candidates_of_file(exported, names)
        if not candidates:
            raise ArtifactError(f"{exported}: {', '.join(names)} does not run files of this format")
    if artifacts is not None:
        candidates += candidates_in(artifacts, names)
    return _installed(candidates, asked=bool(runtimes))


def _installed(candidates: Sequence[Candidate], asked: bool) -> list[Candidate]:
    kept: list[Candidate] = []
    absent: dict[str, list[str]] = {}
    for who in candidates:
        packages = RUNTIMES[who.runtime].own.missing()
        if not packages:
            kept.append(who)
        elif who.runtime not in absent:
            absent[who.runtime if who.precision != INT8 else f"{who.runtime} int8"] = packages
    for label, packages in absent.items():
        text = f"needs {' and '.join(packages)}; install it with: {installing(packages)}"
        if asked or not kept:
            raise MissingExtra(f"{label} cannot be measured: it {text}")
        say(f"note: {label} is left out: it {text}")
    return kept


def cross(runtimes: Sequence[str], precisions: Sequence[str]) -> list[Candidate]:
    """Return a candidate for each runtime and each precision of its format.

    Raises:
        ArtifactError: none of the runtimes has a precision.
    """
    candidates = []
    for precision in precisions:
        able = [name for name in runtimes if RUNTIMES[name].own.has(precision)]
        if not able:
            others = [name for name in RUNTIMES if RUNTIMES[name].own.has(precision)]
            raise ArtifactError(
                f"precision {precision} is not available for {', '.join(runtimes)}; choose from "
                f"{', '.join(others)}"
            )
        candidates += [Candidate(name, RUNTIMES[name].own.name, precision) for name in able]
    return candidates


def candidates_of_file(path: Path, runtimes: Sequence[str]) -> list[Candidate]:
    """Return a candidate for each of the runtimes that runs an exported file."""
    made, precision = BY_ENDING[path.suffix.lower()], precision_of(path)
    able = [name for name in engines_of(made.name) if name in runtimes]
    return [Candidate(name, made.name, precision, path) for name in able]


def candidates_in(folder: Path, runtimes: Sequence[str]) -> list[Candidate]:
    """Return the candidates of all exported files in a folder, sorted by name.

    Raises:
        ArtifactError: the folder is missing, or has no exported file.
    """
    if not folder.is_dir():
        raise ArtifactError(f"artifacts {folder}: no such folder")
    candidates = [
        each
        for file in sorted(folder.iterdir())
        if is_exported(file) and not file.name.startswith(".")
        for each in candidates_of_file(file, runtimes)
    ]
    if not candidates:
        raise ArtifactError(
            f"artifacts {folder}: it has no exported files of {', '.join(runtimes)}; their "
            f"names end in {', '.join(e for e, made in BY_ENDING.items() if made.readable)}"
        )
    return candidates


def precision_of(path: Path) -> str:
    """Return the precision in the record of ``export`` or ``quantize`` beside a file."""
    record = path.with_name(f"{path.name}{RECORD}")
    try:
        known = read_table(record, ArtifactError, LARGEST_RECORD)
        precision, digest = known["precision"], known["sha256"]
    except (OSError, ArtifactError, KeyError):
        return UNKNOWN
    fits = precision in (*PRECISIONS, INT8) and digest == sha256_of_file(path)
    return str(precision) if fits else UNKNOWN


@dataclass(frozen=True, slots=True)
class Photos:
    """Images for the comparison of predictions, and for calibration."""

    pictures: NDArray
    """Images, uint8 (photos, height, width, channels)."""
    source: str
    """Description of the images."""
    truth: NDArray | None = None
    """True classes, int (photos,); None if unknown."""
    calibration: NDArray | None = None
    """Images for the calibration of int8, none of them among ``pictures``."""
    calibrated_on: str | None = None
    """Description of the calibration images."""


def choose_photos(
    config: AnyConfig, known: TrainedOn, data: str | None = None, split: str | None = None,
    calibration: str | None = None, int8: Literal["no", "if possible", "yes"] = "no",
    ignore: str | Sequence[str] = (), zip_encoding: str | None = None,
) -> Photos:  # fmt: skip
    """Return photos of DATA or generated images, and photos for calibration.

    Args:
        config: config of the model.
        known: photos that the model was trained on.
        data: labelled photos; default: generated images.
        split: split of ``data``; default: test, else validation.
        calibration: folder of photos for calibration; default: training split of ``data``.
        int8: 'yes' if photos for calibration are needed, 'if possible', or 'no'.
        ignore: patterns of names that are passed over.
        zip_encoding: encoding of names in an archive that are not marked as UTF-8.

    Raises:
        DataError, ArtifactError: photos for calibration are needed, and there are none.
    """
    record, chosen = config.preprocessing, None
    if not data:
        pictures, source = sample_pictures(record, MADE_HERE), f"{MADE_HERE} generated images"
        if int8 == "no":
            return Photos(pictures, source)
        if not calibration:
            raise ArtifactError(
                "precision int8 needs photos for calibration; give "
                f"{argument('calibration')}, a folder of photos, or data with a training split"
            )
        paths = draw_some(find_photos([calibration], ignore), CALIBRATED)
        calibrated_on = f"{len(paths)} photos of {calibration}"
        return Photos(pictures, source, None, load_pictures(paths, record), calibrated_on)
    dataset = open_dataset(data, ignore, zip_encoding)
    for found in dataset.notes:
        say(found)
    outputs = match(dataset.classes, config.labels, dataset.place)
    if by_index := index_note(dataset.classes, config.labels):
        say(f"note: {by_index}")
    if int8 != "no":
        folder = Path(calibration) if calibration else None
        try:
            chosen = choose(dataset, record, CALIBRATED, split, folder, known.parts, ignore)
        except DataError as error:
            if int8 == "yes" or folder:
                raise
            say(f"note: int8 is left out: {error}")
    judged = chosen.judged if chosen else known.split_of(dataset, split)
    if note := known.caution(judged, data):
        say(f"note: {note}")
    judged, notes = readable_photos(
        judged.with_photos(tuple(draw_some(judged.photos, MOST_PHOTOS))),
        least=least_size(config.preprocessing),
    )
    for note in notes:
        say(note)
    return Photos(
        _read(judged, config), f"{len(judged)} photos of {data} ({judged.name})",
        np.array([outputs[photo.label] for photo in judged.photos]),
        chosen.pictures if chosen else None, chosen.source if chosen else None,
    )  # fmt: skip


def draw_some(items: Sequence[Item], most: int) -> list[Item]:
    """Return all items, or ``most`` random ones, in their order; the seed is fixed."""
    if len(items) <= most:
        return list(items)
    kept = np.sort(np.random.default_rng(0).permutation(len(items))[:most])
    return [items[index] for index in kept]


def _read(split: Split, config: AnyConfig) -> NDArray:
    images = in_parallel(lambda photo: split.picture(photo, config.preprocessing), split.photos)
    return np.stack(list(track(images, "reading photos", len(split))))
