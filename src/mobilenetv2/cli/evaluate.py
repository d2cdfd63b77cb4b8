"""``mobilenetv2 evaluate``: a model against labelled photos."""

from __future__ import annotations

import argparse
import json
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenetv2.cli.main import table
from mobilenetv2.cli.parser import Parser
from mobilenetv2.errors import ArtifactError, SpecError, WeightsError
from mobilenetv2.progress import say
from mobilenetv2.text import interval, percent

if TYPE_CHECKING:
    from mobilenetv2.evaluation.report.page import Explainer
    from mobilenetv2.evaluation.report.result import Result

EXAMPLES = """\
  mobilenetv2 evaluate photos/ --model runs/photos/best
  mobilenetv2 evaluate photos/ --model runs/photos/best --split validation --report out
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_shared("data", "--model")
    parser.add_shared(
        "--split",
        help="train, validation or test, or selection of the photos that a run divided (default: "
        "test, else validation, else all)",
    )  # fmt: skip
    parser.add_argument(
        "--report", metavar="DIR",
        help="write report.html (all on one page), figures as JSON and pictures into a folder",
    )  # fmt: skip
    parser.add_shared("--runtime", "--threads", "--flips", "--device", "--json")


def run(arguments: argparse.Namespace) -> int:
    """Print (and write) the figures; 0."""
    import numpy as np

    from mobilenetv2.cli.answering import load_predictor, resolve_model
    from mobilenetv2.data.dataset import open_dataset
    from mobilenetv2.data.scan import readable_photos
    from mobilenetv2.evaluation.matching import match
    from mobilenetv2.evaluation.predictions import Predictions, predict_split
    from mobilenetv2.evaluation.report.page import PAGE, write_report
    from mobilenetv2.evaluation.report.result import Result
    from mobilenetv2.evaluation.run_record import trained_on
    from mobilenetv2.hub.models import locate

    resolve_model(arguments)
    config, predictor, runtime = load_predictor(arguments)
    labels = config.labels
    dataset = open_dataset(arguments.data)
    known = trained_on(locate(arguments.model))
    split = known.split_of(dataset, arguments.split)
    caution = known.caution(split, arguments.data)
    if caution:
        say(f"note: {caution}")
    outputs = match(split.classes, labels, dataset.place)
    if arguments.report:
        Path(arguments.report).mkdir(parents=True, exist_ok=True)
    split, notes = readable_photos(split)
    logits, folder_labels = predict_split(predictor, split, config.preprocessing)
    truth = np.array(outputs)[folder_labels]
    predictions = Predictions(logits, truth, labels.names, config.spec.classifier.outputs)
    how = {
        "runtime": runtime, "device": arguments.device, "flips": "yes" if arguments.flips else "no"
    }  # fmt: skip
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
    """Return what draws Grad-CAM; None for files that do not give their last feature map.

    Args:
        runtime: what ran the network.
    """
    from mobilenetv2.cli.answering import load_network
    from mobilenetv2.evaluation.gradcam import class_weights
    from mobilenetv2.evaluation.report.page import Explainer

    try:
        found = load_network(model, runtime, threads)
    except (ArtifactError, SpecError, WeightsError):
        return None
    return Explainer(found.maps, partial(class_weights, found.config.spec, found.arrays))


def show(result: Result, title: str) -> None:
    """Print the table of classes, the worst first, and the totals."""
    metrics = result.metrics
    rows = sorted((row for row in metrics.classes if row.photos), key=lambda row: row.recall)
    columns = ["class", "photos", "recall", "95% interval", "precision", "95% interval"]
    lines = [
        [
            row.name, row.photos, f"{row.recall:.1%}", interval(row.recall_interval),
            percent(row.precision),
            "-" if math.isnan(row.precision) else interval(row.precision_interval),
        ]
        for row in rows
    ]  # fmt: skip
    if metrics.labels:
        columns += ["F1", "average precision"]
        for row, line in zip(rows, lines, strict=True):
            line += [percent(row.f1), percent(row.average_precision)]
    table(title, columns, lines, rest="better classes")
    print(f"images  {metrics.images}")
    print(f"top-1   {metrics.top1:.2%} (95% interval {interval(metrics.top1_interval)})")
    if len(metrics.classes) > 5:  # five of five are always enough
        print(f"top-5   {metrics.top5:.2%}")
    if metrics.labels:  # any of n
        low_high = interval(metrics.labels.exact_match_interval)
        print(f"exact match  {metrics.labels.exact_match:.2%} (95% interval {low_high})")
        print(f"mAP     {percent(metrics.labels.mean_average_precision, 2)}")
        print(f"F1      {percent(metrics.labels.macro_f1, 2)}")
    print(f"loss    {metrics.loss:.4f}")
    print(f"calibration error  {percent(result.calibration.error)}")
