"""Records of the run folder around a model: its epochs, recipe and training photos."""

import csv
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mobilenetv2.data.dataset import Dataset, Split, same_split
from mobilenetv2.data.layout import ALL
from mobilenetv2.documents import parse_table, parse_toml, read_table
from mobilenetv2.errors import DataError, RunError, argument
from mobilenetv2.files import read_file
from mobilenetv2.progress import say
from mobilenetv2.text import csv_records, unescaped

RECIPE, METRICS, SPLIT, START = "recipe.toml", "metrics.csv", "split.csv", "start.json"
COLUMNS = (
    "epoch", "learning_rate", "train_loss", "train_top1", "selection_loss", "selection_top1",
)  # fmt: skip
LARGEST = 256 * 1024**2
"""Largest file that is read, in bytes; three times the size of ImageNet's ``split.csv``."""
LARGEST_FIGURE = 1e30
"""Largest plausible absolute value in ``metrics.csv``."""
UNREADABLE = (
    OSError, RunError, ValueError, KeyError, TypeError, AttributeError, csv.Error,
)  # fmt: skip
SEEN = ("train", "selection")
"""Splits that are used for training or selecting models; metrics on them are too optimistic."""
Found = TypeVar("Found")
Row = Mapping[str, float]
"""Metrics of an epoch: a row of ``metrics.csv``. Epoch 0 is the classifier that was fitted on
cached features."""


def best_epoch(rows: Sequence[Row]) -> int:
    """Return the epoch with the lowest validation loss; for equal losses, with the best accuracy.

    With few photos, the accuracy is mostly chance. On 77 photos, a fitted classifier had 83% and
    the best epoch 82%; on 550 others they had 83% and 87%. The temperature-scaled loss selected the
    better one.
    """
    return int(min(rows, key=_rank)["epoch"])


def epochs_of(rows: Sequence[Row]) -> int:
    """Return the number of finished epochs of a run."""
    return int(rows[-1]["epoch"]) if rows else 0


def _rank(row: Row) -> tuple[float, float]:
    loss = row["selection_loss"]
    return math.inf if math.isnan(loss) else loss, -row["selection_top1"]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The records of a run folder; unreadable parts are empty."""

    name: str
    """Name of the run folder."""
    rows: tuple[Row, ...]
    """Rows of ``metrics.csv``, one for each epoch; the first may be epoch 0."""
    recipe: Mapping[str, str]
    """Values of the recipe as text, by full keys such as 'augmentation.flip'."""
    started: Mapping[str, str]
    """Values of ``start.json``: 'data', 'weights', 'edition', 'computes'."""
    parts: Mapping[str, Mapping[str, int]]
    """Number of photos by split and class."""

    @property
    def seconds(self) -> float:
        """Duration of all epochs in seconds, without the final evaluation."""
        return sum(row.get("seconds", 0.0) for row in self.rows)


def read_run(model: Path) -> RunRecord | None:
    """Return the records of the run folder around a model folder; None if there is none.

    Parts that cannot be read are left out and named on stderr.
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
        return parse(_text(path))
    except UNREADABLE as error:
        say(f"note: {path} cannot be read and is not in the report ({type(error).__name__})")
        return otherwise


def _text(path: Path) -> str:
    if path.stat().st_size > LARGEST:
        raise ValueError(f"more than {LARGEST:,} bytes")
    return read_file(path, LARGEST).decode("utf-8")


def _rows(text: str) -> tuple[dict[str, float], ...]:
    rows = []
    for line in csv_records(text):
        row = {name: float(line[name]) for name in COLUMNS}
        if any(abs(value) > LARGEST_FIGURE for value in row.values()):
            raise ValueError("a figure that is none")
        if not math.isfinite(row["epoch"] + row["selection_top1"]):
            raise ValueError("an epoch without figures")
        rows.append(row | {"seconds": float(line.get("seconds") or 0)})
    return tuple(rows)


def _recipe(text: str) -> dict[str, str]:
    keys: dict[str, str] = {}

    def walk(table: Mapping[str, Any], before: str) -> None:
        for key, value in table.items():
            if isinstance(value, dict):
                walk(value, f"{before}{key}.")
            else:
                keys[before + key] = _toml(value)

    walk(parse_toml(text, "", RunError), "")
    return keys


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_toml, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


def _started(text: str) -> dict[str, str]:
    return {
        key: str(value)
        for key, value in parse_table(text, "", RunError).items()
        if value is not None
    }


def _parts(text: str) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for row in csv_records(text):
        part, class_ = row["split"], row["class"]
        counts.setdefault(part, Counter())[class_] += 1
    return {name: dict(classes) for name, classes in counts.items()}


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """The splits of the run around a model; empty without a run."""

    table: Path | None = None
    """Path of ``split.csv``; None without a run."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Split of each photo ('train', 'selection', 'validation' ...), by the name of the photo."""
    data: str | None = None
    """Place of the training data; None if it is not recorded."""

    def here(self, data: str) -> bool:
        """Return True if the run was trained on data from the same place."""
        try:
            if self.data is None:
                return False
            return Path(unescaped(self.data)).resolve() == Path(data).resolve()
        except ValueError:  # a record with a name that no path can have
            return False

    def split_of(self, dataset: Dataset, name: str | None) -> Split:
        """Return a split of a dataset; for a folder without splits, the split of the run.

        Args:
            dataset: the photos.
            name: name of the split; None for 'test', else 'validation', else all photos.

        Raises:
            DataError: there is no such split.
        """
        if ALL not in dataset.splits:
            return dataset.split(name)
        split = dataset.splits[ALL]
        if not name:
            return split
        for wanted in same_split(name):
            photos = tuple(photo for photo in split.photos if self.parts.get(photo.name) == wanted)
            if photos:
                break
        else:
            none = f"{self.table} names no" if self.table else "no run around the model names"
            there = sorted({part for one in split.photos if (part := self.parts.get(one.name))})
            raise DataError(
                f"{dataset.place}: has no splits, and {none} photos of {name!r} in it"
                + (f"; it has: {', '.join(there)}" if there else "")
            )
        return split.with_photos(photos, wanted)

    def caution(self, split: Split, data: str) -> str | None:
        """Return a caution if the model was, or may have been, trained on a split; else None.

        Args:
            split: the photos for the evaluation.
            data: place of the photos, as given.
        """
        counts = Counter(self.parts.get(photo.name) for photo in split.photos)
        learnt, chosen = counts["train"], counts["selection"]
        if not learnt and not chosen:
            if split.name not in SEEN:
                return None
            return (
                f"these are photos of the split {split.name}; if the model was trained on them, "
                "the figures are too optimistic"
            )
        ways = [f"trained on {learnt}"] if learnt else []
        ways += [f"selected with {chosen}"] if chosen else []
        which = (
            f"of these {len(split)} photos, so"
            if self.here(data)
            else f"photos with the same names as these {len(split)}; if they are the same photos,"
        )
        advice = (
            f"; for new photos only, use {argument('split', 'test')}" if split.name == ALL else ""
        )
        return f"the model was {' and '.join(ways)} {which} the figures are too optimistic{advice}"


def trained_on(model: Path) -> TrainedOn:
    """Return the splits of the run folder around a model folder or file.

    Raises:
        RunError: ``split.csv`` cannot be read.
    """
    run = model.absolute().parent
    table = run / SPLIT
    if not ((run / RECIPE).is_file() and table.is_file()):
        return TrainedOn()
    try:
        data = str(read_table(run / START, RunError)["data"])
    except UNREADABLE:
        data = None
    return TrainedOn(table, read_split(table), data)


def read_split(path: Path) -> dict[str, str]:
    """Return the split of each photo in a ``split.csv``; raise RunError if it is not valid."""
    found: dict[str, str] = {}
    try:
        for row in csv_records(_text(path)):
            photo, split = row["photo"], row["split"]
            if not photo or not split:
                raise ValueError("a line too short")
            if found.setdefault(photo, split) != split:
                raise ValueError(f"{photo!r} is in two splits")
    except (KeyError, ValueError, csv.Error) as error:
        raise RunError(f"{path}: not a table of split, class and photo ({error})") from None
    return found
