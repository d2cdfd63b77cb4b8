"""Which photos a model was trained on: what the run folder around it says of them."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mobilenetv2.data.dataset import ALL, Split
from mobilenetv2.evaluate.report.result import SEEN
from mobilenetv2.evaluate.run_record import UNREADABLE
from mobilenetv2.hub.models import locate


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
        """Whether the run took its photos from the same place."""
        try:
            return self.data is not None and Path(self.data).resolve() == Path(data).resolve()
        except ValueError:  # a record with a name that no path can have
            return False


def trained_on(model: str) -> TrainedOn:
    """The parts of the run that a model folder, or a file beside it, lies in.

    Args:
        model: as a person gave it. A name of the catalogue lies in the cache, not here.

    Raises:
        RunError: its ``split.csv`` cannot be read.
        WeightsError: there is no such model.
    """
    from mobilenetv2.train.record import RunFolder, read_split

    run = RunFolder(locate(model).absolute().parent)
    if not (run.recipe.is_file() and run.split.is_file()):
        return TrainedOn()
    return TrainedOn(run.split, read_split(run.split), _data(run.start))


def _data(start: Path) -> str | None:
    try:
        return str(json.loads(start.read_text("utf-8"))["data"])
    except UNREADABLE:
        return None


def flattered(split: Split, data: str, known: TrainedOn) -> str | None:
    """What to say where a model was trained on some of the photos that it is judged by, or may
    have been.

    Args:
        data: where the photos come from, as a person gave it.
    """
    counts = Counter(known.parts.get(photo.name) for photo in split.photos)
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
        if known.here(data)
        else f"photos of the same names as these {len(split)}; if they are the same photos,"
    )
    advice = "; --split validation takes those that it never saw" if split.name == ALL else ""
    return f"the model was {' and '.join(ways)} {which} the figures flatter it{advice}"
