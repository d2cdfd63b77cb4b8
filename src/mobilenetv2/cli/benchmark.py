"""Verb ``benchmark``: speed, accuracy, size and memory of runtimes and precisions in a table."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mobilenetv2.cli.main import PARTLY_FAILED, json_line, table, tell
from mobilenetv2.cli.parser import DATA_HELP, RUN_HELP, Names, Parser
from mobilenetv2.formats import INT8, PRECISIONS, RUNTIMES
from mobilenetv2.progress import say

if TYPE_CHECKING:
    from mobilenetv2.benchmarking.benchmark import Benchmark

EXAMPLES = """\
  mobilenetv2 benchmark runs/photos/best --data photos/
  mobilenetv2 benchmark imagenet --runtime onnxruntime,openvino --batch 1,32
  mobilenetv2 benchmark imagenet --threads 1 --output bench/ --json
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_shared("model", help=RUN_HELP)
    parser.add_argument(
        "--runtime", type=Names(RUNTIMES), metavar="A,B",
        help=f"runtimes to compare: {', '.join(RUNTIMES)} (default: all that are installed)",
    )  # fmt: skip
    parser.add_argument(
        "--precision", type=Names((*PRECISIONS, INT8)), metavar="A,B",
        help=f"precisions to compare: {', '.join(PRECISIONS)}, {INT8} (default: float32, and int8 "
        "if there are photos for calibration)",
    )  # fmt: skip
    parser.add_argument(
        "--data", metavar="DATA", help=f"labelled photos to measure the accuracy on: {DATA_HELP}"
    )
    parser.add_shared("--split")
    parser.add_argument(
        "--calibration", metavar="FOLDER",
        help="photos for the calibration of int8 (default: training split of DATA)",
    )  # fmt: skip
    parser.add_argument(
        "--artifacts", metavar="DIR", help="folder of exported files to measure, too"
    )
    parser.add_shared("--labels", "--preprocessing", "--resize")
    parser.add_shared("--threads", help="threads of each runtime (default: number of cores)")
    parser.add_argument(
        "--batch", type=_batches, default=(1, 32), metavar="N,M",
        help="batch sizes (default: 1,32)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, default=3.0, metavar="S",
        help="seconds to measure each row and batch size (default: 3)",
    )  # fmt: skip
    parser.add_argument("--output", metavar="DIR", help="folder for benchmark.json and a figure")
    parser.add_shared("--ignore", "--zip-encoding", "--json")


def _batches(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 1,32") from None
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: a batch is at least 1")
    return sizes


def run(arguments: argparse.Namespace) -> int:
    """Measure and print the table; return 1 if a candidate failed, else 0."""
    from mobilenetv2.benchmarking.benchmark import benchmark

    options = {
        name: getattr(arguments, name)
        for name in (
            "runtime", "precision", "data", "split", "calibration", "artifacts", "threads", "batch",
            "seconds", "output", "command", "labels", "preprocessing", "resize", "ignore",
            "zip_encoding",
        )
    }  # fmt: skip
    found = benchmark(arguments.model, **options)
    if arguments.json:
        print(json_line(found.to_dict()))
    else:
        show(found)
    for note in found.notes():
        say(note)
    return PARTLY_FAILED if any(row.error for row in found.rows) else 0


def show(found: Benchmark) -> None:
    """Print a line for each candidate, the fastest first."""
    from mobilenetv2.machine import sentence

    columns, rows = found.table()
    table(
        f"{found.model} on {found.photos_from}, {found.threads} threads", columns, rows,
        texts=(0, 1, len(columns) - 1) if columns[-1] == "file" else (0, 1),
    )  # fmt: skip
    tell(f"measured on {sentence(found.machine)}")
    print(
        "ms: median time of a batch; /s: images per second; same answer, "
        f"difference: compared with {found.reference}; memory: peak of the process; load: time "
        "to load the model"
    )
    if found.many:
        columns, rows = found.table_of_many()
        threads = f"{found.threads} threads that compute side by side"
        table(f"many photos at once, {threads}", columns, rows, texts=(0, 1))
        tell(f"predict --runtime auto --precision auto takes {found.fastest}")
    if found.calibrated_on:
        tell(f"int8: calibrated on {found.calibrated_on}")
