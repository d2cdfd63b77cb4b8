"""Verb ``describe``: print layers, parameters, multiply-adds and memory of a network; draw it."""

import argparse

from mobilenetv2.cli.main import json_line, table, tell
from mobilenetv2.cli.parser import Parser, size
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.progress import say

EXAMPLES = """\
  mobilenetv2 describe --width 0.5 --size 160 --classes 10
  mobilenetv2 describe --spec mobilenetv2_140
  mobilenetv2 describe runs/photos/best --json
  mobilenetv2 describe mobilenetv2_100 --diagram network.svg
  mobilenetv2 describe mobilenetv2_100 --diagram block.svg --block 3
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
    parser.add_argument(
        "--diagram", metavar="FILE", help="SVG file to write: the network as a picture"
    )
    parser.add_argument(
        "--block", metavar="N|NAME",
        help="with --diagram, draw one block: its number, from 0, or its name, such as blocks.3 "
        "(default: the whole network)",
    )  # fmt: skip
    parser.add_shared("--json")


def run(arguments: argparse.Namespace) -> int:
    """Print the description, write the diagram, and return 0."""
    from mobilenetv2.networks.description import COLUMNS, describe

    if arguments.block is not None and arguments.diagram is None:
        raise MobileNetV2Error("--block chooses what --diagram FILE draws; give both")
    found = describe(
        arguments.model or arguments.spec or "torchvision", width=arguments.width,
        size=arguments.size, classes=arguments.classes,
    )  # fmt: skip
    if arguments.diagram is not None:
        from mobilenetv2.diagrams.diagram import diagram

        diagram(found.spec, block=arguments.block, file=arguments.diagram)
        say(f"wrote {arguments.diagram}")
    if arguments.json:
        print(json_line(found.to_dict()))
        return 0
    table(found.title, COLUMNS, found.rows)
    for name, text in found.totals.items():
        tell(f"{name:15}  {text}")
    return 0
