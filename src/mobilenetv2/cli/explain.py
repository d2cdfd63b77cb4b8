"""``mobilenetv2 explain``: where on a photo the evidence for each answer lies."""

from __future__ import annotations

import argparse
import difflib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilenetv2.cli.main import PARTLY_FAILED, json_line, table
from mobilenetv2.cli.parser import Parser, require_positive
from mobilenetv2.errors import DataError, ImageError, MobileNetV2Error
from mobilenetv2.files import write_atomically
from mobilenetv2.progress import say, track

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mobilenetv2.evaluation.gradcam import Whereabouts
    from mobilenetv2.runtime.predictor import FeatureMap
    from mobilenetv2.spec.records import Labels

SIDE = 288
"""Pixels of a picture's longer side, as it is drawn."""
ENDING = "-explained"
PNG = ".png"
TEXT = (
    "Colour shows where the evidence for that answer lies, grey is none; each picture has a scale "
    "of its own."
)
MOST_NAMED = 10
"""Classes that an error names."""

EXAMPLES = """\
  mobilenetv2 explain cat.jpg --model imagenet
  mobilenetv2 explain holiday/ --model runs/photos/best --output holiday-explained
  mobilenetv2 explain cat.jpg --model imagenet --class lynx --output lynx.png
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_shared("images", "--model")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--top", type=int, default=3, metavar="N", help="answers (default: 3)")
    which.add_argument(
        "--class", dest="classes", action="append", default=[], metavar="NAME|INDEX",
        help="explain this class, whatever the answer is; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="FILE|DIR",
        help="a .png file, or a folder for several (default: NAME-explained.png in this folder)",
    )  # fmt: skip
    parser.add_flag("--overwrite", "replace pictures that are there")
    parser.add_shared("--runtime", "--threads", "--json")


@dataclass(frozen=True, slots=True)
class Explanation:
    """One class on one photo."""

    index: int
    label: str
    probability: float
    heat: NDArray
    """float32 (height', width') from 0 to 1."""
    place: Whereabouts


def run(arguments: argparse.Namespace) -> int:
    """Draw and print an explanation of every photo; 1 if some could not be read, else 0."""
    from mobilenetv2.cli.answering import load_network, resolve_model
    from mobilenetv2.data.sources import find_photos
    from mobilenetv2.hub.models import locate
    from mobilenetv2.images.decode import read_photo
    from mobilenetv2.images.preprocess import preprocess

    require_positive("--top", arguments.top)
    paths = find_photos(arguments.images)
    targets = planned(paths, arguments.output, arguments.overwrite)
    resolve_model(arguments)
    network = load_network(locate(arguments.model), arguments.runtime, arguments.threads)
    classes = [class_of(name, network.config.labels) for name in arguments.classes]
    rows: list[dict[str, Any]] = []
    jobs = track(zip(paths, targets, strict=True), "explaining", len(paths))
    for path, target in jobs:
        try:
            picture = preprocess(read_photo(path), network.config.preprocessing, str(path))
        except ImageError as error:
            row: dict[str, Any] = {"image": str(path), "error": str(error)}
        else:
            explanations = explained(network, picture, classes, arguments.top)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, drawn(picture, explanations, path.name))
            row = record(path, target, explanations)
        if arguments.json:
            print(json_line(row), flush=True)
        rows.append(row)
    if not arguments.json:
        show(rows)
    if any(one["heat"]["cells"] == (1, 1) for row in rows for one in row.get("explanations", ())):
        say("the network's last feature map is a single cell, which cannot say where")
    failed = sum("error" in row for row in rows)
    if failed:
        say(f"{failed} of {len(paths)} photos could not be read")
    return PARTLY_FAILED if failed else 0


def planned(paths: list[Path], output: str | None, overwrite: bool) -> list[Path]:
    """Return the picture that is drawn for each photo; two of one name get numbers.

    Args:
        output: a .png file for one photo, a folder for any number; None is the current folder.
    """
    single = output is not None and output.lower().endswith(PNG) and not Path(output).is_dir()
    if single and len(paths) > 1:
        raise MobileNetV2Error(
            f"--output {output}: one file for {len(paths)} photos; name a folder"
        )
    folder = Path(output or ".")
    if not single and folder.exists() and not folder.is_dir():
        raise MobileNetV2Error(f"--output {output}: neither a {PNG} file nor a folder")
    targets: list[Path] = []
    taken: set[str] = set()
    following: dict[str, int] = {}
    for path in paths:
        target, stem = folder, path.stem.casefold()  # some systems do not tell cases apart
        if not single:
            target = folder / f"{path.stem}{ENDING}{PNG}"
            while target.name.casefold() in taken:
                number = following.get(stem, 2)
                target = folder / f"{path.stem}{ENDING}-{number}{PNG}"
                following[stem] = number + 1
        taken.add(target.name.casefold())
        targets.append(target)
    there = [target for target in targets if target.exists()]
    # Each photo is looked up once: 10,000 photos and pictures make 100 million pairs.
    given = {_file(path) for path in paths} if there else set()
    for target in there:
        if _file(target) in given:
            raise MobileNetV2Error(f"{target}: the photo itself; choose another --output")
        if not overwrite or target.is_dir():
            raise MobileNetV2Error(
                f"{target}: is there already; --overwrite replaces it, --output names another place"
            )
    return targets


def _file(path: Path) -> tuple[int, int]:
    """Return the device and the number on it: the same for two names of one file."""
    status = path.stat()
    return status.st_dev, status.st_ino


def explained(
    network: FeatureMap, picture: NDArray, classes: list[int], top: int
) -> list[Explanation]:
    """Return the classes asked for, else the likeliest.

    Args:
        picture: uint8 (height, width, channels) at the network's size.
    """
    import numpy as np

    from mobilenetv2.evaluation.gradcam import class_weights, heat, whereabouts
    from mobilenetv2.model.outputs import probabilities

    logits, maps = network.answer(picture[None])
    config = network.config
    shares, names = probabilities(logits[0], config.spec.classifier.outputs), config.labels.names
    indices = classes or np.argsort(-shares, kind="stable")[:top].tolist()
    weights = partial(class_weights, config.spec, network.arrays, maps[0])
    heats = [heat(maps[0], weights(index)) for index in indices]
    return [
        Explanation(index, names[index], float(shares[index]), map_, whereabouts(map_))
        for index, map_ in zip(indices, heats, strict=True)
    ]


def drawn(picture: NDArray, explanations: list[Explanation], name: str) -> bytes:
    """Return a PNG file: the picture as the network sees it, and under the heat of each class."""
    import numpy as np

    from mobilenetv2.evaluation.gradcam import colours, overlay
    from mobilenetv2.images.display import Legend, Tile, enlarge_picture, legible, sheet

    height, width = picture.shape[:2]
    large = enlarge_picture(picture, SIDE)
    tiles = [Tile(large, name, f"as the network sees it, {height} x {width}")]
    for one in explanations:
        detail = f"{one.probability:.1%}"
        if legible(one.label).count("?") > one.label.count("?"):
            detail += f", class {one.index}"
        tiles.append(Tile(overlay(large, one.heat), one.label, detail))
    strip = np.asarray(colours(np.linspace(0, 1, 64)), np.uint8)
    return sheet(tiles, Legend(TEXT, strip, "some", "most"))


def record(path: Path, target: Path, explanations: list[Explanation]) -> dict[str, Any]:
    """Return one JSON line."""
    return {
        "image": str(path),
        "picture": str(target),
        "explanations": [
            {
                "index": one.index,
                "label": one.label,
                "probability": one.probability,
                "heat": {
                    "where": one.place.words,
                    "centre": one.place.centre,
                    "rows": one.place.rows,
                    "columns": one.place.columns,
                    "cells": one.heat.shape,
                },
            }
            for one in explanations
        ],
    }


def show(rows: list[dict[str, Any]]) -> None:
    """Print a table: one line for each answer."""
    lines: list[tuple[str, ...]] = []
    for row in rows:
        if "error" in row:
            lines.append((row["image"], "", f"error: {row['error']}", "", ""))
        for place, one in enumerate(row.get("explanations", ())):
            ends = ("", "") if place else (row["image"], row["picture"])
            answer = (f"{one['probability']:.1%}", one["label"], one["heat"]["where"])
            lines.append((ends[0], *answer, ends[1]))
    columns = ("photo", "probability", "class", "evidence", "picture")
    table(None, columns, lines, texts=(0, 2, 3, 4))


def class_of(name: str, labels: Labels) -> int:
    """Return the output that a person means: by label, a synonym of it, WordNet id or index."""
    from mobilenetv2.evaluation.matching import match

    try:
        return match((name,), labels, "--class")[0]
    except DataError:
        same = [i for i, label in enumerate(labels.names) if name.casefold() in _synonyms(label)]
        if len(same) > 1:
            raise DataError(
                f"--class {name}: the name of {len(same)} classes; say which by index: "
                f"{' or '.join(map(str, same))}"
            ) from None
        known = {synonym for label in labels.names for synonym in _synonyms(label)}
        near = difflib.get_close_matches(name.casefold(), sorted(known), n=1)
        some = ", ".join(labels.names[:MOST_NAMED]) + ", ..." * (len(labels) > MOST_NAMED)
        hint = f"did you mean {near[0]!r}?" if near else f"its classes are: {some}"
        raise DataError(
            f"--class {name}: no class of the model by label, WordNet id or index; {hint}"
        ) from None


def _synonyms(label: str) -> list[str]:
    return [synonym.strip().casefold() for synonym in label.split(",")]
