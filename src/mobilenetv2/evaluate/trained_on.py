"""Which photos a model was trained on: what the run folder around it says of them."""

import csv
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mobilenetv2.data.dataset import ALL, SPLITS, Dataset, Split
from mobilenetv2.errors import DataError, RunError
from mobilenetv2.evaluate.report.result import SEEN
from mobilenetv2.evaluate.run_record import RECIPE, SPLIT, START, UNREADABLE


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """The parts of a run; empty where a model lies in none."""

    table: Path | None = None
    """Its ``split.csv``."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Photo -> 'train', 'selection', 'validation' ..., by the names of the photos alone."""
    data: str | None = None
    """Where it took the photos from; None: that is not recorded."""

    def here(self, data: str) -> bool:
        """Return whether the run took its photos from the same place."""
        try:
            return self.data is not None and Path(self.data).resolve() == Path(data).resolve()
        except ValueError:  # a record with a name that no path can have
            return False

    def split_of(self, dataset: Dataset, name: str | None) -> Split:
        """Return the split of that name; of a folder without splits, that part of the run.

        Args:
            name: None is test, else validation, else everything.

        Raises:
            DataError: there is none.
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
        """Return what to say where a model was trained on some of the photos that it is judged by,
        or may have been.

        Args:
            data: where the photos come from, as a person gave it.
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
    """Return the parts of the run that a model folder, or a file beside it, lies in.

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
    """Return photo -> split of a ``split.csv``.

    Raises:
        RunError: it is not one.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["photo"]: row["split"] for row in csv.DictReader(file)}
    except (KeyError, ValueError, csv.Error) as error:
        raise RunError(f"{path}: not a table of split, class and photo ({error})") from None
