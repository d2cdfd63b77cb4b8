"""``mobilenetv2 parity``: do the editions compute the same with these weights?"""

from __future__ import annotations

import argparse
import json
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mobilenetv2.cli.main import PARTLY_FAILED, table
from mobilenetv2.cli.parser import Parser, size
from mobilenetv2.errors import SpecError, installing
from mobilenetv2.progress import say

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mobilenetv2.evaluation.parity import Parity
    from mobilenetv2.spec.network import NetworkSpec, Size
    from mobilenetv2.spec.records import ModelConfig

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
        help="of torch, keras, jax, numpy; keras:tensorflow, keras:jax and keras:torch choose its "
        "backend (default: those that are installed and have the network)",
    )  # fmt: skip
    parser.add_argument("--size", type=size, help="input size, if not the model's own")
    parser.add_shared("--photos", help="compare on these (default: two pictures of noise)")
    parser.add_argument(
        "--tolerance", type=float, default=1e-4, metavar="X",
        help="largest difference as a share of max(1, the reference's largest value) "
        "(default: 1e-4)",
    )  # fmt: skip
    parser.add_shared("--json")


def run(arguments: argparse.Namespace) -> int:
    """Print the table; 0, or 1 where an edition is outside tolerance."""
    from mobilenetv2.evaluation.parity import (
        LEAST_DEVIATION,
        Case,
        compare_editions,
        parse_editions,
    )
    from mobilenetv2.hub.models import locate
    from mobilenetv2.model.store import load_config

    model = locate(arguments.model)
    config = load_config(model)
    height, width = sides = arguments.size or config.spec.size
    try:
        config.spec.replace(size=sides)
    except SpecError as error:
        raise SpecError(f"--size {height}x{width}: {error}") from None
    editions = parse_editions(arguments.editions) if arguments.editions else usable(config.spec)
    x = pictures(config, sides, arguments.photos)
    (found,) = compare_editions([Case(model, x, sides)], editions, arguments.tolerance)
    if found.deviation < LEAST_DEVIATION:
        say(
            "note: these pictures hardly tell the editions apart: the logits' standard deviation "
            f"is {found.deviation:.3g}, below {LEAST_DEVIATION:g}; give --photos of several things"
        )
    if arguments.json:
        result = {"model": arguments.model, "size": list(sides), **found.to_dict()}
        print(json.dumps(result, allow_nan=False))
    else:
        show(found, f"{arguments.model}, {len(x)} pictures of {height} x {width}")
    return 0 if found.passed else PARTLY_FAILED


def usable(spec: NetworkSpec) -> list[str]:
    """Return the editions that are installed and have the network; name the others on stderr."""
    from mobilenetv2.editions.edition import FRAMEWORKS, INVERTED_ONLY
    from mobilenetv2.spec.blocks import require_inverted

    found = []
    for name, packages in FRAMEWORKS.items():
        out = f"note: the {name} edition is left out"
        if not all(map(find_spec, packages)):
            say(f"{out}; install it with: {installing([name])}")
            continue
        try:
            if name in INVERTED_ONLY:
                require_inverted(spec, name)
            found.append(name)
        except SpecError as error:
            say(f"{out}: {error}")
    return found


def pictures(config: ModelConfig, sides: Size, photos: list[str]) -> NDArray:
    """Return photos through the model's preprocessing, or two pictures of noise.

    Returns:
        float32 (pictures, height, width, channels), normalised.
    """
    import numpy as np

    from mobilenetv2.data.sources import find_photos
    from mobilenetv2.evaluation.predictions import load_pictures
    from mobilenetv2.images.preprocess import engine_input

    if not photos:
        shape = (2, *sides, config.spec.input_channels)
        return np.random.default_rng(0).standard_normal(shape, np.float32)
    record = config.preprocessing.at(sides)
    return engine_input(load_pictures(find_photos(photos), record), record).transpose(0, 2, 3, 1)


def show(found: Parity, title: str) -> None:
    """Print every tensor, then the verdict in words."""
    names = list(found.rows)
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
            "logits, every two editions",
            ("editions", "abs", "rel"),
            [
                (f"{one} - {other}", f"{row.absolute:.1e}", f"{row.relative:.1e}")
                for (one, other), row in found.pairs.items()
            ],
        )
    print(f"reference: NumPy in float64, its logits' standard deviation {found.deviation:.3g}")
    for name in names:
        layer = found.departures.get(name)
        verdict = f"departs first at {layer}" if layer else "the same at every tensor"
        print(f"{name}: {verdict} (tolerance {found.tolerance:g} x max(1, max |reference|))")
    if found.disagreements:
        print(f"{found.disagreements} pictures have another best class in one of the editions")
