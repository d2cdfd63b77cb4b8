"""The record in the run folder around a model: its epochs, and what it was trained on."""

import csv
import io
import json
import math
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mobilenetv2.data.dataset import ALL, SPLITS, Dataset, Split
from mobilenetv2.errors import DataError, RunError
from mobilenetv2.progress import say

RECIPE, METRICS, SPLIT, START = "recipe.toml", "metrics.csv", "split.csv", "start.json"
COLUMNS = (
    "epoch", "learning_rate", "train_loss", "train_top1", "selection_loss", "selection_top1",
)  # fmt: skip
LARGEST = 256 * 1024**2
"""Largest file that is read, in bytes; three times a ``split.csv`` of all of ImageNet."""
LARGEST_FIGURE = 1e30
UNREADABLE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error,
)  # fmt: skip
SEEN = ("train", "selection")
"""Splits that models are trained on or chosen by: figures of them flatter."""
Found = TypeVar("Found")
Row = Mapping[str, float]
"""Metrics of an epoch, a row of ``metrics.csv``. Epoch 0 is the classifier that was fitted on the
frozen network."""


def best_epoch(rows: Sequence[Row]) -> int:
    """Return the epoch with the lowest validation loss; the better top-1 decides ties.

    On few photos the accuracy is mostly chance: on 77 photos a classifier alone had 83% and the
    best epoch 82%; on 550 others they had 83% and 87%. The temperature-scaled loss told them apart.
    """
    return int(min(rows, key=_rank)["epoch"])


def epochs_of(rows: Sequence[Row]) -> int:
    """Return how many epochs a run went through."""
    return int(rows[-1]["epoch"]) if rows else 0


def _rank(row: Row) -> tuple[float, float]:
    loss = row["selection_loss"]
    return math.inf if math.isnan(loss) else loss, -row["selection_top1"]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A training run, as far as its folder can be read; the rest is empty."""

    name: str
    rows: tuple[Row, ...]
    """Rows of ``metrics.csv``, one for each epoch; the first may be epoch 0."""
    recipe: Mapping[str, str]
    """Recipe keys with their tables ('augmentation.flip') -> values as text."""
    started: Mapping[str, str]
    """Values of ``start.json``: 'data', 'weights', 'edition', 'computes'."""
    parts: Mapping[str, Mapping[str, int]]
    """Split -> class -> number of photos."""

    @property
    def seconds(self) -> float:
        """Seconds of all epochs, without the final evaluation."""
        return sum(row.get("seconds", 0.0) for row in self.rows)


def read_run(model: Path) -> RunRecord | None:
    """Read the run that a model folder lies in; None where it lies in none.

    Parts that cannot be read are named on stderr and left out.
    """
    folder = model.absolute().parent
    if not (folder / RECIPE).is_file():
        return None
    return RunRecord(
        folder.name,
        _read_part(folder / METRICS, _rows, ()),
        _read_part(folder / RECIPE, _recipe, {}),
        _read_part(folder / START, _started, {}),
        _read_part(folder / SPLIT, _parts, {}),
    )


def _read_part(path: Path, parse: Callable[[str], Found], otherwise: Found) -> Found:
    if not path.is_file():
        return otherwise
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"more than {LARGEST:,} bytes")
        with path.open(encoding="utf-8", newline="") as file:  # names may hold ends of lines
            return parse(file.read())
    except UNREADABLE as error:
        say(f"note: {path} is not in the report, it cannot be read ({type(error).__name__})")
        return otherwise


def _rows(text: str) -> tuple[dict[str, float], ...]:
    rows = []
    for line in _table(text):
        row = {name: float(line[name]) for name in COLUMNS}
        if any(abs(value) > LARGEST_FIGURE for value in row.values()):
            raise ValueError("a figure that is none")
        if not math.isfinite(row["epoch"] + row["selection_top1"]):
            raise ValueError("an epoch without figures")
        rows.append(row | {"seconds": float(line.get("seconds") or 0)})
    return tuple(rows)


def _table(text: str) -> "csv.DictReader[str]":
    return csv.DictReader(io.StringIO(text, newline=""))


def _recipe(text: str) -> dict[str, str]:
    keys: dict[str, str] = {}

    def walk(table: Mapping[str, Any], before: str) -> None:
        for key, value in table.items():
            if isinstance(value, dict):
                walk(value, f"{before}{key}.")
            else:
                keys[before + key] = _toml(value)

    walk(tomllib.loads(text), "")
    return keys


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_toml, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


def _started(text: str) -> dict[str, str]:
    return {key: str(value) for key, value in json.loads(text).items() if value is not None}


def _parts(text: str) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for row in _table(text):
        part, class_ = row["split"], row["class"]
        if part is None or class_ is None:
            raise ValueError("a line too short")
        counts.setdefault(part, Counter())[class_] += 1
    return {name: dict(classes) for name, classes in counts.items()}


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """The parts of a run; empty where a model lies in none."""

    table: Path | None = None
    """Path of its ``split.csv``."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Photo -> 'train', 'selection', 'validation' ..., by the names of the photos alone."""
    data: str | None = None
    """Place of the photos that it was trained on; None: not recorded."""

    def here(self, data: str) -> bool:
        """Return True if the run took its photos from the same place."""
        try:
            return self.data is not None and Path(self.data).resolve() == Path(data).resolve()
        except ValueError:  # a record with a name that no path can have
            return False

    def split_of(self, dataset: Dataset, name: str | None) -> Split:
        """Return the split of that name; of a folder without splits, that part of the run.

        Without a name it is 'test', else 'validation', else all photos.

        Raises:
            DataError: there is no such split.
        """
        if ALL not in dataset.splits:
            return dataset.split(name)
        split = dataset.splits[ALL]
        if not name:
            return split
        wanted = SPLITS.get(name, name)
        photos = tuple(photo for photo in split.photos if self.parts.get(photo.name) == wanted)
        if not photos:
            none = f"{self.table} names no" if self.table else "no run around the model names"
            there = sorted({part for one in split.photos if (part := self.parts.get(one.name))})
            raise DataError(
                f"{dataset.place}: has no splits, and {none} photos of {name!r} in it"
                + (f"; it has: {', '.join(there)}" if there else "")
            )
        return split.with_photos(photos, wanted)

    def caution(self, split: Split, data: str) -> str | None:
        """Return a caution if a model was, or may have been, trained on the photos that judge it.

        ``data`` is where the photos come from, as a person gave it.
        """
        counts = Counter(self.parts.get(photo.name) for photo in split.photos)
        learnt, chosen = counts["train"], counts["selection"]
        if not learnt and not chosen:
            if split.name not in SEEN:
                return None
            return (
                f"these photos are of {split.name}; if the model was trained on them, the figures "
                "flatter it"
            )
        ways = [f"trained on {learnt}"] if learnt else []
        ways += [f"chosen by {chosen}"] if chosen else []
        which = (
            f"of these {len(split)} photos, so"
            if self.here(data)
            else f"photos of the same names as these {len(split)}; if they are the same photos,"
        )
        advice = "; --split validation takes those that it never saw" if split.name == ALL else ""
        return f"the model was {' and '.join(ways)} {which} the figures flatter it{advice}"


def trained_on(model: Path) -> TrainedOn:
    """Return the parts of the run that a model, or a file beside it, lies in.

    Raises:
        RunError: its ``split.csv`` cannot be read.
    """
    run = model.absolute().parent
    table = run / SPLIT
    if not ((run / RECIPE).is_file() and table.is_file()):
        return TrainedOn()
    try:
        data = str(json.loads((run / START).read_text("utf-8"))["data"])
    except UNREADABLE:
        data = None
    return TrainedOn(table, read_split(table), data)


def read_split(path: Path) -> dict[str, str]:
    """Return photo -> split of a ``split.csv``; raise RunError if it is not one."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["photo"]: row["split"] for row in csv.DictReader(file)}
    except (KeyError, ValueError, csv.Error) as error:
        raise RunError(f"{path}: not a table of split, class and photo ({error})") from None
