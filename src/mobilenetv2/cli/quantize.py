"""Verb ``quantize``: write a model in 8-bit integers, measured on held-out photos."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from mobilenetv2.cli.export import reported
from mobilenetv2.cli.main import table
from mobilenetv2.cli.parser import DATA_HELP, Names, Parser
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
        help=f"labelled photos to measure the accuracy on: {DATA_HELP}",
    )  # fmt: skip
    parser.add_shared("--split")
    parser.add_argument(
        "--calibration", metavar="FOLDER",
        help="photos for the calibration (default: training split of DATA; in a folder without "
        "splits, a part of the photos, which is left out of the measurement)",
    )  # fmt: skip
    parser.add_argument(
        "--calibration-photos", type=int, default=200, metavar="N",
        help="number of photos for the calibration (default: 200)",
    )  # fmt: skip
    parser.add_argument(
        "--format", type=Names(OF_INT8), metavar="A,B",
        help=f"formats: {', '.join(OF_INT8)}, or all (default: that of OUT's ending)",
    )  # fmt: skip
    parser.add_argument(
        "--method", choices=("min-max", "percentile", "mse", "entropy", "nncf"), default="mse",
        help="method to choose the activations' ranges (default: mse); with nncf, Intel's NNCF "
        "does the whole quantization (OpenVINO only)",
    )  # fmt: skip
    parser.add_flag("--no-equalise", "do not use cross-layer equalisation")
    parser.add_flag("--no-bias-correction", "do not use bias correction")
    parser.add_flag("--per-tensor", "use one weight scale for each layer instead of each channel")
    parser.add_argument(
        "--weight-bits", type=int, choices=(7, 8), default=8,
        help="bits of the weights (default: 8); use 7 for x86 processors without VNNI, where "
        "products of 8 bits saturate in OpenVINO, and in ONNX Runtime without this package",
    )  # fmt: skip
    parser.add_flag("--train",
        "use quantization-aware training on the training split of DATA, if calibration alone "
        "loses too much accuracy",
    )  # fmt: skip
    parser.add_argument("--epochs", type=int, metavar="N", help="epochs of --train (default: 2)")
    parser.add_flag("--sensitivity",
        "measure the loss from quantizing each layer alone, and draw a figure (1 to 2 minutes)",
    )  # fmt: skip
    parser.add_flag("--force", "keep a file even if it loses more than 2.0 points of accuracy")
    parser.add_shared("--ignore", "--zip-encoding", "--overwrite", "--json")


def run(arguments: argparse.Namespace) -> int:
    """Write the files and print the table; return 1 if a file failed, else 0."""
    from mobilenetv2.quantization.quantize import quantize

    options = {
        name: getattr(arguments, name)
        for name in (
            "data", "split", "calibration", "calibration_photos", "format", "method", "per_tensor",
            "weight_bits", "train", "epochs", "sensitivity", "force", "overwrite",
            "ignore", "zip_encoding",
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
    """Print a row for the float model, and one for each file."""
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
