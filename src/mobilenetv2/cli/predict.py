"""Verb ``predict``: print the classes of photos, write them into a file, or sort the photos."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

from mobilenetv2.cli.main import PARTLY_FAILED, choose_model, json_line, tell
from mobilenetv2.cli.parser import Parser, require_positive
from mobilenetv2.progress import say
from mobilenetv2.streams import reader_left
from mobilenetv2.text import line

EXAMPLES = """\
  mobilenetv2 predict cat.jpg
  mobilenetv2 predict cat.jpg --model imagenet
  mobilenetv2 predict holiday/ --model runs/photos/best --top 3 --output holiday.csv
  mobilenetv2 predict holiday/ --model runs/photos/best --output holiday.csv --resume
  mobilenetv2 predict holiday/ --model runs/photos/best --copy-to sorted --threshold 0.8
  mobilenetv2 predict photos.zip --json
  mobilenetv2 predict photos.zip --on ray://head:10001 --output photos.csv
"""
FIRST = 20
"""Rows from which the widths of a table's columns are taken; later ones may be wider."""


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
    parser.add_fastest()
    parser.add_flag("--verbose", "say which runtime answers, and the rate of each that was tried")
    parser.add_threads()
    parser.add_shared("--flips", "--device", "--fast-decode")
    parser.add_argument("--batch", type=int, metavar="N", help="photos in a batch")
    parser.add_flag("--unordered", "give each answer as soon as it is there, in any order")
    parser.add_argument(
        "--on", metavar="RAY",
        help="compute on Ray: ray for this machine, ray://HOST:PORT for a cluster",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, metavar="N",
        help="number of workers with --on, each with --threads threads, by default one (default: "
        "as many as there are CPUs for)",
    )  # fmt: skip
    out = parser.add_mutually_exclusive_group()
    out.add_argument("--json", action="store_true", help="print one JSON object per line on stdout")
    out.add_argument(
        "--output", metavar="FILE",
        help="file to write: .csv, .jsonl or .parquet; it grows as FILE.unfinished",
    )  # fmt: skip
    out.add_argument("--csv", metavar="FILE", help="CSV file to write, whatever its name")
    parser.add_flag("--resume", "go on with a file that a stopped run has left unfinished")
    parser.add_flag("--overwrite", "start anew where a run was stopped")
    parser.add_argument(
        "--copy-to", metavar="DIR", help="folder into which the photos are copied, by class"
    )
    parser.add_argument(
        "--threshold", type=float, default=0.5, metavar="P",
        help="probability below which --copy-to puts a photo into DIR/review (default: 0.5)",
    )  # fmt: skip
    parser.add_flag("--links", "make symbolic links instead of copies")


def run(arguments: argparse.Namespace) -> int:
    """Give an answer for every photo; return 1 if some are unreadable, else 0."""
    from mobilenetv2.runtime.prediction import predict

    require_positive("--top", arguments.top)
    announce = choose_model(arguments)
    file = arguments.output or arguments.csv
    answers = predict(
        arguments.images, arguments.model, runtime=arguments.runtime, device=arguments.device,
        threads=arguments.threads, batch=arguments.batch, flips=arguments.flips,
        precision=arguments.precision, verbose=arguments.verbose,
        features=arguments.features, progress=True, ordered=not arguments.unordered,
        fast_decode=arguments.fast_decode, labels=arguments.labels,
        preprocessing=arguments.preprocessing, resize=arguments.resize, ignore=arguments.ignore,
        output=file, output_kind="csv" if arguments.csv else None, top=arguments.top,
        resume=arguments.resume, overwrite=arguments.overwrite, copy_to=arguments.copy_to,
        threshold=arguments.threshold, links=arguments.links, on=arguments.on,
        workers=arguments.workers,
    )  # fmt: skip
    announce()
    first = ""
    if file or (arguments.copy_to and not arguments.json):
        for one in answers:
            first = first or str(one.error or "")
        if file:
            say(f"wrote {file}")
    else:
        rows = (one.to_dict(*([] if arguments.features else [arguments.top])) for one in answers)
        if arguments.json:
            _print_lines(rows)
        elif arguments.features:
            _print_features(rows)
        else:
            _print_table(rows)
    for name, count in answers.sorted.items():
        say(f"{arguments.copy_to}/{name}: {count}")
    if answers.failed:
        named = f" (first: {line(first)})" if first else ""
        say(f"{answers.failed} of {answers.count} photos have no answer{named}")
    return PARTLY_FAILED if answers.failed else 0


def _print_lines(rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        print(json_line(row), flush=True)
        if reader_left():  # such as head; there is nothing else to be done
            break


def _print_features(rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        if "error" in row:
            tell(f"{row['image']} error: {row['error']}")
        else:
            print(line(row["image"]), *(f"{value:.5g}" for value in row["features"]))


def _print_table(rows: Iterable[dict[str, Any]]) -> None:
    """Print a table with a line for each class, as the rows come."""
    waiting: list[tuple[str, str, str]] = []
    widths: tuple[int, int] | None = None
    for cells in _lines(rows):
        if widths is None:
            waiting.append(cells)
            if len(waiting) < FIRST:
                continue
            widths = _begin(waiting)
        else:
            _print_cells(cells, widths)
        if reader_left():
            return
    if widths is None:
        _begin(waiting)


def _begin(waiting: list[tuple[str, str, str]]) -> tuple[int, int]:
    """Print the head and the first lines of a table, and return the widths of its columns."""
    head = ("photo", "probability", "class")
    widths = max(len(cells[0]) for cells in (head, *waiting)), len(head[1])
    _print_cells(head, widths)
    print("-" * (sum(widths) + 4 + max(len(cells[2]) for cells in (head, *waiting))))
    for cells in waiting:
        _print_cells(cells, widths)
    return widths


def _print_cells(cells: tuple[str, str, str], widths: tuple[int, int]) -> None:
    print(f"{cells[0]:{widths[0]}}  {cells[1]:>{widths[1]}}  {cells[2]}".rstrip())


def _lines(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Yield the cells of each line: photo, probability, class."""
    for row in rows:
        name = line(str(row["image"]))
        if "error" in row:
            yield name, "", f"error: {line(row['error'].removeprefix(f'{name}: '))}"
            continue
        if not row["predictions"]:
            yield name, "", "no class above 50%"
        for place, guess in enumerate(row["predictions"]):
            yield "" if place else name, f"{guess['probability']:.1%}", line(guess["label"])
