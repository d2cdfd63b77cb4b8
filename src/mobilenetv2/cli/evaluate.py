"""Verb ``evaluate``: measure the accuracy of a model on labelled photos."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from mobilenetv2.cli.main import choose_model, json_line, table
from mobilenetv2.cli.parser import Parser
from mobilenetv2.text import interval, percent

if TYPE_CHECKING:
    from mobilenetv2.evaluation.evaluation import Evaluation

EXAMPLES = """\
  mobilenetv2 evaluate photos/ --model runs/photos/best
  mobilenetv2 evaluate photos/ --model runs/photos/best --split test --report out
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_shared("data", "--model")
    parser.add_shared(
        "--split",
        help="split of DATA to measure on: test (validation, if there is no test), validation or "
        "train; or selection, the validation split of a training run (default: test, else "
        "validation, else all photos)",
    )  # fmt: skip
    parser.add_argument(
        "--report", metavar="DIR",
        help="folder for report.html (a single page), results as JSON, and figures",
    )  # fmt: skip
    parser.add_flag("--private", "omit photos, file names and paths from the report")
    parser.add_shared("--labels", "--preprocessing", "--resize")
    parser.add_shared("--ignore", "--zip-encoding")
    parser.add_fastest()
    parser.add_threads()
    parser.add_shared("--flips", "--device", "--fast-decode", "--json")


def run(arguments: argparse.Namespace) -> int:
    """Print the results, write the report, and return 0."""
    from mobilenetv2.evaluation.evaluation import evaluate

    announce = choose_model(arguments)
    found = evaluate(
        arguments.model, arguments.data, split=arguments.split, runtime=arguments.runtime,
        precision=arguments.precision, device=arguments.device, threads=arguments.threads,
        flips=arguments.flips,
        fast_decode=arguments.fast_decode, report=arguments.report, private=arguments.private,
        labels=arguments.labels,
        preprocessing=arguments.preprocessing, resize=arguments.resize, ignore=arguments.ignore,
        zip_encoding=arguments.zip_encoding,
    )  # fmt: skip
    announce()
    if arguments.json:
        print(json_line(found.to_dict()))
    else:
        show(found, f"{arguments.model} on {arguments.data} ({found.split})")
    return 0


def show(found: Evaluation, title: str) -> None:
    """Print the table of classes, lowest recall first, and the totals."""
    metrics = found.metrics
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
    if len(metrics.classes) > 5:  # with five classes, top-5 is always 100%
        print(f"top-5   {metrics.top5:.2%}")
    if metrics.labels:  # multi-label
        low_high = interval(metrics.labels.exact_match_interval)
        print(f"exact match  {metrics.labels.exact_match:.2%} (95% interval {low_high})")
        print(f"mAP     {percent(metrics.labels.mean_average_precision, 2)}")
        print(f"F1      {percent(metrics.labels.macro_f1, 2)}")
    print(f"loss    {metrics.loss:.4f}")
    print(f"calibration error  {percent(found.calibration.error)}")
