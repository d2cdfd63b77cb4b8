"""Verb ``export``: write a model as verified files for other runtimes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilenetv2.cli.main import PARTLY_FAILED, json_line, table
from mobilenetv2.cli.parser import Names, Parser
from mobilenetv2.errors import MobileNetV2Error, installing
from mobilenetv2.formats import EXPORTED, FORMATS, OF_INT8, PRECISIONS
from mobilenetv2.progress import say

if TYPE_CHECKING:
    from mobilenetv2.exporting.job import Outcome, V
    from mobilenetv2.exporting.verify import Comparison

EXAMPLES = """\
  mobilenetv2 export runs/photos/best photos.onnx
  mobilenetv2 export runs/photos/best app/ --format litert,coreml --precision float16
  mobilenetv2 export runs/photos/best photos.onnx --pictures --batch 1
  mobilenetv2 export runs/photos/best all/ --format all --photos holiday/
  mobilenetv2 export runs/photos/best site/ --format web
  mobilenetv2 export --list

For weights of another library (.pth, .safetensors, .h5), to train them there or load them:
  mobilenetv2 weights export runs/photos/best photos.pth --dialect torchvision
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_shared("model", "out", nargs="?")
    parser.add_argument(
        "--format", type=Names(EXPORTED, every=FORMATS), metavar="A,B",
        help=f"formats: {', '.join(EXPORTED)}; or all, which are the installed ones for runtimes "
        "(default: that of OUT's ending)",
    )  # fmt: skip
    parser.add_argument(
        "--precision", type=Names(PRECISIONS), default=["float32"], metavar="A,B",
        help=f"precisions: {', '.join(PRECISIONS)} (default: float32); for int8, use 'quantize'",
    )  # fmt: skip
    parser.add_flag("--pictures",
        "include the normalisation, so that the file takes uint8 images of the input size",
    )  # fmt: skip
    parser.add_argument("--batch", type=int, metavar="N", help="fixed batch size (default: any)")
    parser.add_argument(
        "--outputs", choices=("probabilities", "logits"), metavar="WHICH",
        help="outputs of the file: probabilities or logits (default: probabilities for litert, "
        "whose own converter writes them; logits for all others)",
    )  # fmt: skip
    parser.add_flag("--keep-inexact", "keep files whose outputs differ more than is allowed")
    parser.add_flag("--any-size", "accept any height and width, if the padding allows it")
    parser.add_argument("--opset", type=int, metavar="N", help="ONNX opset, 13 to 22 (default: 17)")
    parser.add_shared(
        "--photos", help="photos for the verification (default: four generated images)"
    )
    parser.add_shared("--overwrite")
    parser.add_flag("--list", "list the formats with their purpose, and exit")
    parser.add_shared("--json")


def run(arguments: argparse.Namespace) -> int:
    """Write and verify the files, print the table; return 1 if a file failed, else 0."""
    if arguments.list:
        return show_list(arguments.json)
    from mobilenetv2.exporting.export import export

    require_both(arguments.model, arguments.out)
    outcomes, status = reported(
        lambda tell: export(
            arguments.model, arguments.out,
            format="all" if arguments.format == list(FORMATS) else arguments.format,
            precision=arguments.precision, pictures=arguments.pictures, batch=arguments.batch,
            any_size=arguments.any_size, opset=arguments.opset, outputs=arguments.outputs,
            keep_inexact=arguments.keep_inexact, photos=arguments.photos,
            overwrite=arguments.overwrite, on_outcome=tell,
        ),
        arguments.json,
    )  # fmt: skip
    if not arguments.json:
        show(outcomes)
    return status


def require_both(model: str | None, out: str | None) -> None:
    """Raise MobileNetV2Error if MODEL or OUT is missing, with advice for a single argument."""
    if out is not None:
        return
    if model is not None:
        from mobilenetv2.exporting.job import find_formats
        from mobilenetv2.hub.models import locate

        place = Path(model)
        locate(model) if place.exists() or not place.suffix else find_formats([], place)
    raise MobileNetV2Error("export needs MODEL and OUT; 'mobilenetv2 export --list' needs none")


def reported(
    make: Callable[[Callable[[Outcome[V]], None]], list[Outcome[V]]], as_json: bool
) -> tuple[list[Outcome[V]], int]:
    """Return the outcomes and the exit status; print errors and lines of JSON at once."""
    from mobilenetv2.exporting.job import NotKept

    def tell(outcome: Outcome[V]) -> None:
        if as_json:
            print(json_line(outcome.to_dict()), flush=True)
        if outcome.error:
            say(f"{outcome.format}: {outcome.error}")

    try:
        outcomes = make(tell)
    except NotKept as failed:
        outcomes = failed.outcomes
    return outcomes, PARTLY_FAILED if any(outcome.error for outcome in outcomes) else 0


def show(outcomes: Sequence[Outcome[Comparison]]) -> None:
    """Print a row for each file."""
    rows = []
    for outcome in outcomes:
        verdict, request = outcome.verdict, outcome.request
        cells: list[Any] = [outcome.format, outcome.precision]
        if verdict is None:
            rows.append([*cells, "-", "-", "-", "-", "-", "failed"])
            continue
        place = "not kept" if outcome.error else str(request.out)
        if not (outcome.error or verdict.passed):
            place += " (kept though inexact)"
        rows.append([
            *cells, verdict.outputs, f"{outcome.size / 1e6:.1f} MB" if outcome.size else "-",
            f"{verdict.difference:.1e}", f"{verdict.tolerance * max(1.0, verdict.largest):.1e}",
            f"{verdict.same_top1} of {verdict.photos}", place,
        ])  # fmt: skip
    table(
        None,
        ("format", "precision", "outputs", "size", "difference", "allowed", "same top-1", "file"),
        rows,
        texts=(0, 1, 2, 7),
    )
    unseen = [outcome.format for outcome in outcomes if not outcome.request.format.runs_here]
    if unseen:
        say(
            f"note: {', '.join(unseen)} does not run on this system; for the comparison, the "
            "operations of the file were computed with NumPy"
        )


def show_list(as_lines: bool) -> int:
    """Print every format with its purpose and whether it is installed; return 0."""
    if as_lines:
        for made in EXPORTED.values():
            print(json_line(made.to_dict()))
        return 0
    rows = []
    for name, made in EXPORTED.items():
        missing = made.missing()
        state = "yes" if not missing else installing(missing)
        if not made.runs_here:
            state += " (verified by its specification, since it does not run here)"
        ending = made.suffix or "a folder"
        rows.append([name, ending, ", ".join(made.precisions), made.purpose, made.likes, state])
    table(
        None, ("format", "file", "precisions", "purpose", "likes", "installed"), rows,
        texts=(0, 1, 2, 3, 4, 5),
    )  # fmt: skip
    say(f"for int8 ({', '.join(OF_INT8)}), use 'mobilenetv2 quantize'")
    return 0
