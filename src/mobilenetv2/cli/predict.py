"""Verb ``predict``: print the classes of photos as a table, JSON lines or CSV."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mobilenetv2.cli.main import PARTLY_FAILED, choose_model, json_line, table, tell
from mobilenetv2.cli.parser import Parser, require_positive
from mobilenetv2.files import write_atomically
from mobilenetv2.progress import say
from mobilenetv2.streams import reader_left
from mobilenetv2.text import csv_text, line

EXAMPLES = """\
  mobilenetv2 predict cat.jpg
  mobilenetv2 predict cat.jpg --model imagenet
  mobilenetv2 predict holiday/ --model runs/photos/best --top 3 --csv holiday.csv
  mobilenetv2 predict *.jpg --model runs/photos/best --json
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_shared("images", "--model")
    parser.add_argument(
        "--top", type=int, metavar="N",
        help="maximum number of classes for each photo (default: 5; for a multi-label model, all "
        "classes with a probability above 0.5)",
    )  # fmt: skip
    parser.add_flag("--features", "print the pooled features instead of classes")
    parser.add_shared("--labels", "--preprocessing", "--resize", "--ignore")
    parser.add_shared("--runtime", "--threads", "--flips", "--device")
    out = parser.add_mutually_exclusive_group()
    out.add_argument("--json", action="store_true", help="print one JSON object per line on stdout")
    out.add_argument("--csv", metavar="FILE", help="CSV file to write")


def run(arguments: argparse.Namespace) -> int:
    """Print an answer for every photo; return 1 if some are unreadable, else 0."""
    from mobilenetv2.runtime.answers import Features
    from mobilenetv2.runtime.prediction import predict

    require_positive("--top", arguments.top)
    announce = choose_model(arguments)
    answers = predict(
        arguments.images, arguments.model, runtime=arguments.runtime, device=arguments.device,
        threads=arguments.threads, flips=arguments.flips, features=arguments.features,
        progress=True, labels=arguments.labels, preprocessing=arguments.preprocessing,
        resize=arguments.resize, ignore=arguments.ignore,
    )  # fmt: skip
    announce()
    rows, count, failed = [], 0, 0
    for answer in answers:
        row = answer.to_dict() if isinstance(answer, Features) else answer.to_dict(arguments.top)
        count, failed = count + 1, failed + ("error" in row)
        if arguments.json:
            print(json_line(row), flush=True)
            if reader_left():  # such as head; there is nothing else to be done
                break
        else:
            rows.append(row)
    if arguments.csv:
        write_csv(rows, Path(arguments.csv), arguments.features)
    elif not arguments.json:
        show(rows, arguments.features)
    if failed:
        say(f"{failed} of {count} photos have no answer")
    return PARTLY_FAILED if failed else 0


def show(rows: list[dict[str, Any]], features: bool) -> None:
    """Print a table with a line for each class."""
    if features:
        for row in rows:
            if "error" in row:
                tell(f"{row['image']} error: {row['error']}")
            else:
                print(line(row["image"]), *(f"{value:.5g}" for value in row["features"]))
        return
    lines: list[tuple[str, str, str]] = []
    for row in rows:
        if "error" in row:
            why = row["error"].removeprefix(f"{line(row['image'])}: ")
            lines.append((row["image"], "", f"error: {why}"))
            continue
        if not row["predictions"]:
            lines.append((row["image"], "", "no class above 50%"))
        for place, guess in enumerate(row["predictions"]):
            name = "" if place else row["image"]
            lines.append((name, f"{guess['probability']:.1%}", guess["label"]))
    table(None, ("photo", "probability", "class"), lines, texts=(0, 2))


def write_csv(rows: list[dict[str, Any]], path: Path, features: bool) -> None:
    """Write a row for each answer (image, rank, index, label, probability, error), or features."""
    cells: list[list[object]] = []
    if features:
        width = max((len(row.get("features", [])) for row in rows), default=0)
        columns = ["image", "error", *(f"feature_{index}" for index in range(width))]
        for row in rows:
            cells.append([row["image"], row.get("error", ""), *row.get("features", [])])
    else:
        columns = ["image", "rank", "index", "label", "probability", "error"]
        for row in rows:
            if "error" in row:
                cells.append([row["image"], "", "", "", "", row["error"]])
            elif not row["predictions"]:
                cells.append([row["image"], *[""] * 5])
            for rank, guess in enumerate(row.get("predictions", ()), 1):
                answer = [guess["index"], guess["label"], guess["probability"]]
                cells.append([row["image"], rank, *answer, ""])
    write_atomically(path, csv_text(columns, cells))
    say(f"wrote {path}")
