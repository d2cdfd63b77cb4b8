"""``mobilenetv2 evaluate``: a model against labelled photos."""

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np

from mobilenetv2.cli.explain_network import load_network
from mobilenetv2.cli.main import table
from mobilenetv2.cli.model import settle
from mobilenetv2.cli.predictor import load_predictor
from mobilenetv2.cli.trained_on import TrainedOn, flattered, trained_on
from mobilenetv2.data.dataset import ALL, SPLITS, Dataset, Split, open_dataset
from mobilenetv2.data.scan import readable_photos
from mobilenetv2.errors import ArtifactError, DataError, SpecError, WeightsError
from mobilenetv2.evaluate.gradcam import class_weights
from mobilenetv2.evaluate.matching import match
from mobilenetv2.evaluate.predictions import Predictions, predict_split
from mobilenetv2.evaluate.report.gallery import Explainer
from mobilenetv2.evaluate.report.page import PAGE, write_report
from mobilenetv2.evaluate.report.result import Result
from mobilenetv2.hub.models import locate
from mobilenetv2.progress import say
from mobilenetv2.text import percent

MOST_ROWS = 60


def run(arguments: argparse.Namespace) -> int:
    """Print (and write) the figures; 0."""
    settle(arguments)
    config, predictor, runtime = load_predictor(arguments)
    labels = config.labels
    dataset = open_dataset(arguments.data)
    known = trained_on(arguments.model)
    split = chosen(dataset, arguments, known)
    caution = flattered(split, arguments.data, known)
    if caution:
        say(f"note: {caution}")
    outputs = match(split.classes, labels, dataset.place)
    if arguments.report:
        Path(arguments.report).mkdir(parents=True, exist_ok=True)
    split, notes = readable_photos(split)
    logits, folder_labels = predict_split(predictor, split, config.preprocessing)
    truth = np.array(outputs)[folder_labels]
    how = {
        "runtime": runtime, "device": arguments.device, "flips": "yes" if arguments.flips else "no"
    }  # fmt: skip
    predictions = Predictions(logits, truth, labels.names)
    result = Result.of(arguments.model, arguments.data, split, config, predictions, how)
    for note in notes:
        say(note)
    if arguments.json:
        print(json.dumps(result.to_dict()))
    else:
        show(result, f"{arguments.model} on {arguments.data} ({split.name})")
    if arguments.report:
        folder, source = Path(arguments.report), locate(arguments.model)
        if caution:
            notes = [f"{caution[0].upper()}{caution[1:]}.", *notes]
        write_report(folder, result, source, explainer(source, runtime, arguments.threads), notes)
        say(f"report: {folder / PAGE}")
    return 0


def explainer(model: Path, runtime: str, threads: int | None) -> Explainer | None:
    """What draws Grad-CAM; None for files that do not give their last feature map.

    Args:
        runtime: what ran the network.
    """
    try:
        found = load_network(model, runtime, threads)
    except (ArtifactError, SpecError, WeightsError):
        return None
    return Explainer(found.maps, partial(class_weights, found.config.spec, found.arrays))


def chosen(dataset: Dataset, arguments: argparse.Namespace, known: TrainedOn) -> Split:
    """The split asked for; of a folder without splits, the part that ``split.csv`` names, or all
    where no split is asked for."""
    if ALL not in dataset.splits:
        return dataset.split(arguments.split)
    split = dataset.splits[ALL]
    if not arguments.split:
        return split
    wanted = SPLITS.get(arguments.split, arguments.split)
    photos = tuple(p for p in split.photos if known.parts.get(p.name) == wanted)
    if not photos:
        none = f"{known.table} names no" if known.table else "no run around the model names"
        there = sorted({part for photo in split.photos if (part := known.parts.get(photo.name))})
        raise DataError(
            f"{arguments.data}: has no splits, and {none} photos of {arguments.split!r} in it"
            + (f"; it has: {', '.join(there)}" if there else "")
        )
    return split.with_photos(photos, wanted)


def show(result: Result, title: str) -> None:
    """The table of classes, the worst first, and the totals."""
    metrics = result.metrics
    rows = sorted((row for row in metrics.classes if row.photos), key=lambda row: row.recall)
    shown = rows[:MOST_ROWS]
    table(
        title, ("class", "photos", "recall", "95% interval", "precision", "95% interval"),
        [
            (
                row.name, row.photos, f"{row.recall:.1%}", interval(row.recall_interval),
                f"{row.precision:.1%}" if row.precision == row.precision else "-",
                interval(row.precision_interval) if row.precision == row.precision else "-",
            )
            for row in shown
        ],
    )  # fmt: skip
    if len(rows) > len(shown):
        print(f"({len(rows) - len(shown)} better classes are not shown; --json has all)")
    print(f"images  {metrics.images}")
    print(f"top-1   {metrics.top1:.2%} (95% interval {interval(metrics.top1_interval)})")
    if len(metrics.classes) > 5:  # five of five are always enough
        print(f"top-5   {metrics.top5:.2%}")
    print(f"loss    {metrics.loss:.4f}")
    print(f"calibration error  {percent(result.calibration.error)}")


def interval(bounds: tuple[float, float]) -> str:
    """'84.9% - 91.2%'."""
    return f"{bounds[0]:.1%} - {bounds[1]:.1%}"
