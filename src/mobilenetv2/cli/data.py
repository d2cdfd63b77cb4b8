"""Verb ``data``: what a place of labelled photos holds, and copies of it for large-scale work."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mobilenetv2.cli.main import PARTLY_FAILED, json_line, table, tell
from mobilenetv2.cli.parser import Parser, add_examples, add_page
from mobilenetv2.progress import say

if TYPE_CHECKING:
    from mobilenetv2.data.shards.info import DataInfo

EXAMPLES = """\
  mobilenetv2 data info photos/
  mobilenetv2 data shard photos/ shards/
"""


def add_options(parser: Parser) -> None:
    """Add the verb's actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, (help_, fill, _) in ACTIONS.items():
        add_page(actions, name, help_, fill)


def run(arguments: argparse.Namespace) -> int:
    """Run the action and return its exit status."""
    return ACTIONS[arguments.action][2](arguments)


def _add_info(parser: Parser) -> None:
    add_examples(
        parser,
        "  mobilenetv2 data info photos/\n"
        "  mobilenetv2 data info shards/ --check\n",
    )  # fmt: skip
    parser.add_shared("data", "--ignore", "--zip-encoding")
    parser.add_flag(
        "--check", "read all shards and compare them with the index (exit status 1 if one differs)"
    )
    parser.add_shared("--json")


def show_info(arguments: argparse.Namespace) -> int:
    """Print what a place holds; return 1 if shards are damaged, else 0."""
    from mobilenetv2.data.shards.info import data_info

    found = data_info(
        arguments.data, check=arguments.check, ignore=arguments.ignore,
        zip_encoding=arguments.zip_encoding,
    )  # fmt: skip
    for note in found.notes:
        say(note)
    show(found, arguments.json)
    for name in found.damaged or ():
        say(f"{found.place}/{name}: missing, or other bytes than the index says")
    return PARTLY_FAILED if found.damaged else 0


def _add_shard(parser: Parser) -> None:
    add_examples(
        parser,
        "  mobilenetv2 data shard photos/ shards/\n"
        "  mobilenetv2 data shard photos.zip shards/ --megabytes 256 --resume\n"
        "  mobilenetv2 data shard photos/ parquet/ --format parquet\n",
    )  # fmt: skip
    parser.add_shared("data")
    parser.add_shared("out", help="the folder to write, which is data for every verb from then on")
    parser.add_argument(
        "--format", choices=("tar", "parquet"), default="tar",
        help="tar: WebDataset's layout with an index; parquet: files with the photos inside, as "
        "Hugging Face's datasets reads them (default: tar)",
    )  # fmt: skip
    parser.add_argument(
        "--megabytes", type=float, default=128.0, metavar="N",
        help="size of a shard, in millions of bytes (default: 128)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0,
        help="seed of the order in which the photos lie in the shards (default: 0)",
    )  # fmt: skip
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on where a killed run was")
    again.add_argument("--overwrite", action="store_true", help="replace shards that are there")
    parser.add_shared("--ignore", "--zip-encoding", "--json")


def write_shards(arguments: argparse.Namespace) -> int:
    """Write shards, print what they hold, and return 0."""
    from mobilenetv2.data.shards.shard import shard

    found = shard(
        arguments.data, arguments.out, format=arguments.format, megabytes=arguments.megabytes,
        seed=arguments.seed, resume=arguments.resume, overwrite=arguments.overwrite,
        ignore=arguments.ignore, zip_encoding=arguments.zip_encoding,
    )  # fmt: skip
    show(found, arguments.json)
    return 0


def show(found: DataInfo, as_json: bool) -> None:
    """Print facts of a place as a table of its classes, or as JSON."""
    if as_json:
        print(json_line(found.to_dict()))
        return
    splits = found.splits
    rows = [[name, *(split.counts[name] for split in splits.values())] for name in found.classes]
    table(None, ["class", *splits], rows, rest="classes")
    tell(str(found))


ACTIONS = {
    "info": ("show what a place of labelled photos holds", _add_info, show_info),
    "shard": (
        "copy labelled photos into .tar shards in WebDataset's layout, with one index",
        _add_shard, write_shards,
    ),
}  # fmt: skip
"""Actions, each with its line of the help, its options and its function."""
