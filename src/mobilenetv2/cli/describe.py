"""Verb ``describe``: print layers, parameters, multiply-adds and memory of a network."""

import argparse

from mobilenetv2.cli.main import table
from mobilenetv2.cli.parser import Parser, size
from mobilenetv2.text import json_text

EXAMPLES = """\
  mobilenetv2 describe --width 0.5 --size 160 --classes 10
  mobilenetv2 describe --spec mobilenetv2_140
  mobilenetv2 describe runs/photos/best --json
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    network = parser.add_mutually_exclusive_group()
    network.add_argument(
        "model", metavar="MODEL", nargs="?",
        help="name of a network, such as mobilenetv2_100 or keras; model folder; or JSON file of a "
        "spec (default: torchvision)",
    )  # fmt: skip
    parser.add_argument("--width", type=float, help="width multiplier (default: 1.0)")
    parser.add_argument(
        "--size", type=size, help="input size, such as 224 or 192x256 (height x width)"
    )
    parser.add_argument("--classes", type=int, help="number of classes (default: 1000)")
    network.add_argument("--spec", metavar="NAME|FILE", help="the same as MODEL")
    parser.add_shared("--json")


def run(arguments: argparse.Namespace) -> int:
    """Print the description and return 0."""
    from mobilenetv2.networks.description import COLUMNS, describe

    found = describe(
        arguments.model or arguments.spec or "torchvision", width=arguments.width,
        size=arguments.size, classes=arguments.classes,
    )  # fmt: skip
    if arguments.json:
        print(json_text(found.to_dict()))
        return 0
    table(found.title, COLUMNS, found.rows)
    for name, text in found.totals.items():
        print(f"{name:15}  {text}")
    return 0
