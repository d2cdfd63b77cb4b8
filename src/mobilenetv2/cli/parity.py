"""Verb ``parity``: compare the outputs of the editions with the same weights."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mobilenetv2.cli.main import PARTLY_FAILED, json_line, table
from mobilenetv2.cli.parser import Parser, size

if TYPE_CHECKING:
    from mobilenetv2.evaluation.parity import Parity

EXAMPLES = """\
  mobilenetv2 parity runs/photos/best
  mobilenetv2 parity imagenet --editions torch,keras:jax --size 225x193
  mobilenetv2 parity imagenet --photos holiday/ --json
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_shared("model")
    parser.add_argument(
        "--editions", metavar="NAMES",
        help="editions to compare: torch, keras, jax, numpy, or keras:tensorflow, keras:jax and "
        "keras:torch to set the backend (default: all installed ones that have the network)",
    )  # fmt: skip
    parser.add_argument("--size", type=size, help="input size (default: the model's)")
    parser.add_shared("--photos", help="photos for the comparison (default: two images of noise)")
    parser.add_argument(
        "--tolerance", type=float, default=1e-4, metavar="X",
        help="largest allowed difference, relative to max(1, the reference's largest value) "
        "(default: 1e-4)",
    )  # fmt: skip
    parser.add_shared("--json")


def run(arguments: argparse.Namespace) -> int:
    """Print the table; return 1 if an edition exceeds the tolerance, else 0."""
    from mobilenetv2.evaluation.parity import parity

    found = parity(
        arguments.model, editions=arguments.editions, size=arguments.size,
        photos=arguments.photos, tolerance=arguments.tolerance,
    )  # fmt: skip
    if arguments.json:
        print(json_line(found.to_dict()))
    else:
        show(found)
    return 0 if found.passed else PARTLY_FAILED


def show(found: Parity) -> None:
    """Print the differences of every tensor, then the verdicts."""
    (height, width), names = found.size or (0, 0), list(found.rows)
    title = f"{found.model}, {found.pictures} images of {height} x {width}"
    columns = ["tensor", "max |reference|"]
    for name in names:
        columns += [f"{name} abs", "rel"]
    rows = []
    for index, row in enumerate(found.rows[names[0]]):
        cells: list[object] = [row.name, f"{row.scale:.4g}"]
        for name in names:
            each = found.rows[name][index]
            mark = "" if each.relative <= found.tolerance else " !"
            cells += [f"{each.absolute:.1e}", f"{each.relative:.1e}{mark}"]
        rows.append(cells)
    table(title, columns, rows)
    if found.pairs:
        table(
            "logits, pairs of editions",
            ("editions", "abs", "rel"),
            [
                (f"{one} - {other}", f"{row.absolute:.1e}", f"{row.relative:.1e}")
                for (one, other), row in found.pairs.items()
            ],
        )
    print(f"reference: NumPy in float64, its logits' standard deviation {found.deviation:.3g}")
    for name in names:
        verdict = found.verdict(name)
        print(f"{name}: {verdict} (tolerance {found.tolerance:g} x max(1, max |reference|))")
    if found.disagreements:
        print(f"{found.disagreements} images have different top-1 classes in the editions")
