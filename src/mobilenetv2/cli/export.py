"""``mobilenetv2 export``: a model as files for other runtimes, each verified."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilenetv2.cli.main import PARTLY_FAILED, table
from mobilenetv2.cli.parser import Parser, names
from mobilenetv2.errors import ArtifactError, MobileNetV2Error, installing
from mobilenetv2.formats import FORMATS, OF_INT8, PRECISIONS
from mobilenetv2.progress import say

if TYPE_CHECKING:
    from mobilenetv2.exporting.job import Outcome, Request, V
    from mobilenetv2.exporting.verify import Comparison

EVERY = list(FORMATS)
"""What the parser makes of --format all."""

EXAMPLES = """\
  mobilenetv2 export runs/photos/best photos.onnx
  mobilenetv2 export runs/photos/best app/ --format litert,coreml --precision float16
  mobilenetv2 export runs/photos/best photos.onnx --pictures --batch 1
  mobilenetv2 export runs/photos/best all/ --format all --photos holiday/
  mobilenetv2 export --list
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_shared("model", "out", nargs="?")
    parser.add_argument(
        "--format", type=names(FORMATS), default=[], metavar="A,B",
        help=f"of {', '.join(FORMATS)}; or all that are installed",
    )  # fmt: skip
    parser.add_argument(
        "--precision", type=names(PRECISIONS), default=["float32"], metavar="A,B",
        help=f"of {', '.join(PRECISIONS)} (default: float32); int8 is made by 'quantize'",
    )  # fmt: skip
    parser.add_flag("--pictures",
        "normalisation inside: the file takes uint8 pictures at the network's size",
    )  # fmt: skip
    parser.add_argument("--batch", type=int, metavar="N", help="a fixed batch (default: any)")
    parser.add_flag("--any-size", "any height and width, where the padding allows it")
    parser.add_argument("--opset", type=int, metavar="N", help="of ONNX, 13 to 22 (default: 17)")
    parser.add_shared("--photos", help="compare on these (default: four pictures made here)")
    parser.add_shared("--overwrite")
    parser.add_flag("--list", "what is installed, what each format is for, and stop")
    parser.add_shared("--json")


def run(arguments: argparse.Namespace) -> int:
    """Write the files, print what was compared; 1 where a file could not be kept, else 0."""
    if arguments.list:
        return show_list(arguments.json)
    if arguments.model is None or arguments.out is None:
        raise MobileNetV2Error("export needs MODEL and OUT; 'mobilenetv2 export --list' needs none")
    from mobilenetv2.data.sources import find_photos
    from mobilenetv2.evaluation.predictions import load_pictures
    from mobilenetv2.exporting.job import make_files, require_new
    from mobilenetv2.exporting.verify import Exporter, Reference, sample_pictures
    from mobilenetv2.hub.models import locate
    from mobilenetv2.model import store
    from mobilenetv2.model.outputs import require_answers

    config, arrays = store.load(locate(arguments.model))
    require_answers(config.spec, arguments.model)
    requested = chosen(arguments)
    if not requested:
        raise ArtifactError(f"{arguments.out}: no format has all that is asked for")
    if not arguments.overwrite:
        require_new(requested)
    record, photos = config.preprocessing, find_photos(arguments.photos)
    shown = load_pictures(photos, record) if arguments.photos else sample_pictures(record)
    made = make_files(Exporter(Reference(config, arrays, shown)), requested)
    outcomes = reported(made, arguments.json)
    if not arguments.json:
        show(outcomes)
    return status(outcomes)


def reported(
    made: Iterable[Outcome[V]], as_json: bool, facts: Mapping[str, Any] | None = None
) -> list[Outcome[V]]:
    """Return the outcomes; each is printed as a line of JSON, and its error told, as it comes."""
    outcomes = []
    for outcome in made:
        outcomes.append(outcome)
        if as_json:
            print(json.dumps(outcome.to_dict(facts)), flush=True)
        if outcome.error:
            say(f"{outcome.request.format.name}: {outcome.error}")
    return outcomes


def status(outcomes: Sequence[Outcome[Any]]) -> int:
    """Return the exit status."""
    return PARTLY_FAILED if any(outcome.error for outcome in outcomes) else 0


def chosen(arguments: argparse.Namespace) -> list[Request]:
    """Return what the options ask for."""
    from mobilenetv2.exporting.job import Options, require_packages
    from mobilenetv2.exporting.verify import possible_requests, requests

    out = Path(arguments.out)
    options = [
        Options(precision, arguments.pictures, arguments.batch, arguments.any_size, arguments.opset)
        for precision in arguments.precision
    ]
    if arguments.format == EVERY:
        requested, notes = possible_requests(options, out)
        for note in notes:
            say(f"note: {note}")
        return requested
    requested = requests(arguments.format, options, out)
    require_packages(request.format for request in requested)
    return requested


def show(outcomes: Sequence[Outcome[Comparison]]) -> None:
    """Print a row for each file."""
    rows = []
    for outcome in outcomes:
        verdict, request = outcome.verdict, outcome.request
        cells: list[Any] = [request.format.name, request.options.precision]
        if verdict is None:
            rows.append([*cells, "-", "-", "-", "-", "failed"])
            continue
        rows.append([
            *cells, f"{outcome.size / 1e6:.1f} MB" if outcome.size else "-",
            f"{verdict.difference:.1e}", f"{verdict.tolerance * max(1.0, verdict.largest):.1e}",
            f"{verdict.same_top1} of {verdict.photos}",
            str(request.out) if not outcome.error else "not kept",
        ])  # fmt: skip
    table(
        None,
        ("format", "precision", "size", "difference", "allowed", "same top-1", "file"),
        rows,
        texts=(0, 1, 6),
    )
    unseen = [o.request.format.name for o in outcomes if not o.request.format.runs_here]
    if unseen:
        say(
            f"note: {', '.join(unseen)} does not run on this system; it was compared by computing "
            "what the file says"
        )


def show_list(as_lines: bool) -> int:
    """Print every format: what it is for, and whether it can be written here; 0."""
    rows = []
    for name, made in FORMATS.items():
        missing = made.missing()
        if as_lines:
            print(json.dumps({
                "format": name, "installed": not missing, "missing": missing,
                "precisions": made.precisions, "options": sorted(made.options),
                "purpose": made.purpose, "devices": made.likes, "runs_here": made.runs_here,
            }))  # fmt: skip
            continue
        state = "yes" if not missing else installing(missing)
        if not made.runs_here:
            state += " (checked by its specification, does not run here)"
        ending = made.suffix or "a folder"
        rows.append([name, ending, ", ".join(made.precisions), made.purpose, made.likes, state])
    if rows:
        table(
            None, ("format", "file", "precisions", "what it is for", "likes", "installed"), rows,
            texts=(0, 1, 2, 3, 4, 5),
        )  # fmt: skip
        say(f"int8 of {', '.join(OF_INT8)} is made by 'mobilenetv2 quantize'")
    return 0
