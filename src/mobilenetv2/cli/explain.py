"""Verb ``explain``: draw heat maps of the evidence for classes on photos, or feature maps."""

from __future__ import annotations

import argparse
from typing import Any

from mobilenetv2.cli.main import PARTLY_FAILED, choose_model, json_line, table
from mobilenetv2.cli.parser import Parser, require_positive
from mobilenetv2.progress import say

EXAMPLES = """\
  mobilenetv2 explain cat.jpg --model imagenet
  mobilenetv2 explain holiday/ --model runs/photos/best --output holiday-explained
  mobilenetv2 explain cat.jpg --model imagenet --class lynx --output lynx.png
  mobilenetv2 explain cat.jpg --model imagenet --layers --output layers.png
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_shared("images", "--model")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--top", type=int, default=3, metavar="N",
        help="number of classes to explain, the most probable ones (default: 3)",
    )  # fmt: skip
    which.add_argument(
        "--class", dest="classes", action="append", default=[], metavar="NAME|INDEX",
        help="class to explain instead of the most probable ones; can be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="FILE|DIR",
        help="a .png file, or a folder for several photos (default: NAME-explained.png in the "
        "current folder; with --layers, NAME-layers.png)",
    )  # fmt: skip
    parser.add_flag(
        "--layers",
        "draw the feature maps at the end of each stage instead, of the channels that vary most",
    )
    parser.add_flag("--overwrite", "replace existing files")
    parser.add_shared("--runtime", "--threads", "--json")


def run(arguments: argparse.Namespace) -> int:
    """Draw and print an explanation of every photo; return 1 if some are unreadable, else 0."""
    from mobilenetv2.evaluation.explanation import explanations
    from mobilenetv2.runtime.answers import Unreadable

    require_positive("--top", arguments.top)
    announce = choose_model(arguments)
    made = explanations(
        arguments.images, arguments.model, classes=arguments.classes, top=arguments.top,
        runtime=arguments.runtime, threads=arguments.threads, output=arguments.output or ".",
        overwrite=arguments.overwrite, layers=arguments.layers, progress=True,
    )  # fmt: skip
    announce()
    rows, failed, blind = [], 0, False
    for one in made:
        row = one.to_dict()
        if isinstance(one, Unreadable):
            failed += 1
        else:
            blind = blind or one.heat.size == 1
        if arguments.json:
            print(json_line(row), flush=True)
        rows.append(row)
    if not arguments.json:
        show(rows)
    if blind:
        say("the network's last feature map has a single cell, so that it has no heat map")
    if failed:
        say(f"{failed} of {len(rows)} photos have no answer")
    return PARTLY_FAILED if failed else 0


def show(rows: list[dict[str, Any]]) -> None:
    """Print a table with a line for each class."""
    lines: list[tuple[str, ...]] = []
    for row in rows:
        if "error" in row:
            lines.append((row["image"], "", f"error: {row['error']}", "", ""))
        for place, one in enumerate(row.get("explanations", ())):
            ends = ("", "") if place else (row["image"], row["picture"])
            answer = (f"{one['probability']:.1%}", one["label"], one["heat"]["where"])
            lines.append((ends[0], *answer, ends[1]))
    columns = ("photo", "probability", "class", "evidence", "picture")
    table(None, columns, lines, texts=(0, 2, 3, 4))
