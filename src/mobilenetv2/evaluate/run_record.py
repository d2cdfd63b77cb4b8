"""The record of a training run: its epochs, and what the run folder around a model tells."""

import csv
import io
import json
import math
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mobilenetv2.progress import say

RECIPE, METRICS, SPLIT, START = "recipe.toml", "metrics.csv", "split.csv", "start.json"
COLUMNS = (
    "epoch", "learning_rate", "train_loss", "train_top1", "selection_loss", "selection_top1",
)  # fmt: skip
LARGEST = 256 * 1024**2
"""Bytes. A line of ``split.csv`` for each of ImageNet's photos is a third of that."""
LARGEST_FIGURE = 1e30
UNREADABLE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error,
)  # fmt: skip
Found = TypeVar("Found")
Row = Mapping[str, float]
"""The figures of an epoch, a line of ``metrics.csv``; epoch 0 is a classifier that was fitted
before the network moved."""


def best_epoch(rows: Sequence[Row]) -> int:
    """Return the epoch with the lowest validation loss; the better top-1 decides ties.

    Of few photos the share of right ones is mostly chance: of 77, a classifier alone had 83% and
    the best epoch 82%, of 550 others 83% and 87%. The loss, tempered, told them apart.

    Args:
        rows: at least one.
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
    """Of ``metrics.csv``, an epoch each; the first may be epoch 0."""
    recipe: Mapping[str, str]
    """Keys with the tables that they are in ('augmentation.flip'), values as text."""
    started: Mapping[str, str]
    """'data', 'weights', 'edition', 'computes'."""
    parts: Mapping[str, Mapping[str, int]]
    """Split -> class -> photos."""

    @property
    def epochs(self) -> int:
        """Epochs that the run went through; epoch 0, the classifier before them, does not count."""
        return epochs_of(self.rows)

    @property
    def seconds(self) -> float:
        """Seconds that all epochs took, without the final evaluation."""
        return sum(row.get("seconds", 0.0) for row in self.rows)


def read_run(model: Path) -> RunRecord | None:
    """Read the run that a model folder lies in; None where it lies in none.

    What cannot be read is said and left out: a report of the model is worth having without it.
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
    found = []
    for line in _table(text):
        row = {name: float(line[name]) for name in COLUMNS}
        if any(abs(value) > LARGEST_FIGURE for value in row.values()):
            raise ValueError("a figure that is none")
        if not math.isfinite(row["epoch"] + row["selection_top1"]):
            raise ValueError("an epoch without figures")
        found.append(row | {"seconds": float(line.get("seconds") or 0)})
    return tuple(found)


def _table(text: str) -> "csv.DictReader[str]":
    return csv.DictReader(io.StringIO(text, newline=""))


def _recipe(text: str) -> dict[str, str]:
    found: dict[str, str] = {}

    def walk(table: Mapping[str, Any], before: str) -> None:
        for key, value in table.items():
            if isinstance(value, dict):
                walk(value, f"{before}{key}.")
            else:
                found[before + key] = _toml(value)

    walk(tomllib.loads(text), "")
    return found


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_toml, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


def _started(text: str) -> dict[str, str]:
    return {key: str(value) for key, value in json.loads(text).items() if value is not None}


def _parts(text: str) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for row in _table(text):
        part, class_ = row["split"], row["class"]
        if part is None or class_ is None:
            raise ValueError("a line too short")
        found.setdefault(part, Counter())[class_] += 1
    return {name: dict(counts) for name, counts in found.items()}
