"""``mobilenetv2 quantize``: a model in eight-bit integers, judged on held-out photos."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from mobilenetv2.cli.export import reported
from mobilenetv2.cli.main import table
from mobilenetv2.cli.parser import DATA_HELP, Parser, names
from mobilenetv2.formats import OF_INT8
from mobilenetv2.text import interval

if TYPE_CHECKING:
    from mobilenetv2.exporting.job import Outcome
    from mobilenetv2.quantization.job import Judgement

EXAMPLES = """\
  mobilenetv2 quantize runs/photos/best int8/ --data photos/ --format onnx,litert
  mobilenetv2 quantize imagenet int8.onnx --data imagenet-val/ --calibration holiday/
  mobilenetv2 quantize runs/photos/best int8/ --data photos/ --train --sensitivity
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_shared("model", "out")
    parser.add_argument(
        "--data", required=True, metavar="DATA",
        help=f"labelled photos to measure on (test, else validation): {DATA_HELP}",
    )  # fmt: skip
    parser.add_shared("--split")
    parser.add_argument(
        "--calibration", metavar="FOLDER",
        help="photos to calibrate on (default: DATA's training split; of a folder without splits, "
        "a part that is then not measured on)",
    )  # fmt: skip
    parser.add_argument(
        "--calibration-photos", type=int, default=200, metavar="N", help="how many (default: 200)"
    )
    parser.add_argument(
        "--format", type=names(OF_INT8), metavar="A,B", help=f"of {', '.join(OF_INT8)}, or all"
    )
    parser.add_argument(
        "--method", choices=("min-max", "percentile", "mse", "entropy", "nncf"), default="mse",
        help="how ranges are found (default: mse; nncf: all of it by Intel's NNCF, OpenVINO only)",
    )  # fmt: skip
    parser.add_flag("--no-equalise", "leave out cross-layer equalisation")
    parser.add_flag("--no-bias-correction", "leave out bias correction")
    parser.add_flag("--per-tensor", "one weight scale a layer")
    parser.add_argument(
        "--weight-bits", type=int, choices=(7, 8), default=8,
        help="7 for x86 processors without VNNI, whose products of 8 bits saturate (default: 8)",
    )  # fmt: skip
    parser.add_flag("--train",
        "train the integers on DATA's training split, where calibration is not enough",
    )  # fmt: skip
    parser.add_argument("--epochs", type=int, metavar="N", help="with --train (default: 2)")
    parser.add_flag("--sensitivity",
        "which layers suffer: quantise each alone, and draw it (a minute or two)",
    )  # fmt: skip
    parser.add_flag("--force", "keep what loses more than 2.0 points, too")
    parser.add_shared("--overwrite", "--json")


def run(arguments: argparse.Namespace) -> int:
    """Write the files and print the table; 1 where one could not be kept, else 0."""
    from mobilenetv2.quantization.quantize import quantize

    options = {
        name: getattr(arguments, name)
        for name in (
            "data", "split", "calibration", "calibration_photos", "format", "method", "per_tensor",
            "weight_bits", "train", "epochs", "sensitivity", "force", "overwrite",
        )
    }  # fmt: skip
    outcomes, status = reported(
        lambda tell: quantize(
            arguments.model, arguments.out, equalise=not arguments.no_equalise,
            bias_correction=not arguments.no_bias_correction, on_outcome=tell, **options,
        ),
        arguments.json,
    )  # fmt: skip
    if not arguments.json:
        show(outcomes)
    return status


def show(outcomes: list[Outcome[Judgement]]) -> None:
    """Print a row for float, then one for each file."""
    from mobilenetv2.evaluation.metrics import wilson

    rows: list[list[Any]] = []
    photos, facts = 0, outcomes[0].facts
    for outcome in outcomes:
        verdict = outcome.verdict
        if verdict is None:
            rows.append([outcome.format, *["-"] * 7, "failed"])
            continue
        if not photos:
            photos = verdict.photos
            bounds = interval(wilson(verdict.float_right, photos))
            rows.insert(0, ["float32", f"{verdict.float_right / photos:.1%}", bounds, *[""] * 6])
        rows.append([
            outcome.request.label, f"{verdict.top1:.1%}",
            interval(wilson(verdict.right, verdict.photos)), f"{verdict.drop:+.1f}",
            "{:+.1f} to {:+.1f}".format(*verdict.drop_interval),
            f"{verdict.agreement:.1%}", interval(wilson(verdict.same, verdict.photos)),
            f"{outcome.size / 1e6:.1f} MB" if outcome.size else "-",
            str(outcome.path) if not outcome.error else "not kept",
        ])  # fmt: skip
    table(
        f"{facts['model']} on {photos} photos of {facts['judged_on']}, calibrated on "
        f"{facts['calibrated_on']}",
        ("", "top-1", "95% interval", "points lost", "95% interval", "same answer", "95% interval",
         "size", "file"),
        rows, texts=(0, 8),
    )  # fmt: skip
