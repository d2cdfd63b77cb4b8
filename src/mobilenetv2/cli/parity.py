"""``mobilenetv2 parity``: do the editions compute the same with these weights?"""

import argparse
import json
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.cli import photos as named
from mobilenetv2.cli.main import PARTLY_FAILED, table
from mobilenetv2.editions.edition import FRAMEWORKS
from mobilenetv2.errors import SpecError
from mobilenetv2.evaluate.parity.editions import (
    LEAST_DEVIATION,
    Case,
    Parity,
    compare_editions,
    parse_editions,
)
from mobilenetv2.hub.models import locate
from mobilenetv2.images.normalise import engine_input
from mobilenetv2.model.store import load_config
from mobilenetv2.progress import say
from mobilenetv2.spec.network import Size
from mobilenetv2.spec.records import ModelConfig


def run(arguments: argparse.Namespace) -> int:
    """Print the table; 0, or 1 where an edition is outside tolerance."""
    model = locate(arguments.model)
    config = load_config(model)
    size = arguments.size or config.spec.size
    try:
        config.spec.replace(size=size)
    except SpecError as error:
        raise SpecError(f"--size {size[0]}x{size[1]}: {error}") from None
    editions = parse_editions(arguments.editions) if arguments.editions else installed()
    x = pictures(config, size, arguments.photos)
    (found,) = compare_editions([Case(model, x, size)], editions, arguments.tolerance)
    if found.deviation < LEAST_DEVIATION:
        say(
            "note: these pictures hardly tell the editions apart: the logits' standard deviation "
            f"is {found.deviation:.3g}, below {LEAST_DEVIATION:g}; give --photos of several things"
        )
    if arguments.json:
        result = {"model": arguments.model, "size": list(size), **found.to_dict()}
        print(json.dumps(result, allow_nan=False))
    else:
        show(found, f"{arguments.model}, {len(x)} pictures of {size[0]} x {size[1]}")
    return 0 if found.passed else PARTLY_FAILED


def installed() -> list[str]:
    """The editions whose frameworks are here; the others are named."""
    have = {name: all(map(find_spec, packages)) for name, packages in FRAMEWORKS.items()}
    for name in (name for name, there in have.items() if not there):
        say(f"note: the {name} edition is left out; pip install 'mobilenetv2[{name}]' brings it")
    return [name for name, there in have.items() if there]


def pictures(config: ModelConfig, size: Size, photos: list[str]) -> NDArray:
    """Photos through the model's preprocessing, or two pictures of noise.

    Returns:
        float32 (pictures, height, width, channels), normalised.
    """
    if not photos:
        shape = (2, *size, config.spec.input_channels)
        return np.random.default_rng(0).standard_normal(shape, np.float32)
    record = config.preprocessing.at(size)
    return engine_input(named.pictures(photos, record), record).transpose(0, 2, 3, 1)


def show(found: Parity, title: str) -> None:
    """Every tensor, then the verdict in words."""
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
