"""``mobilenetv2 predict``: names for photos, as a table, JSON lines or CSV."""

import argparse
import csv
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.cli.main import PARTLY_FAILED, json_line, table
from mobilenetv2.cli.model import settle
from mobilenetv2.cli.photos import photos
from mobilenetv2.cli.predictor import Output, load_predictor
from mobilenetv2.data.batches import in_parallel
from mobilenetv2.errors import ImageError, MobileNetV2Error
from mobilenetv2.evaluate.predictions import BATCH, Predictor
from mobilenetv2.files import write_atomically
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model.outputs import softmax
from mobilenetv2.progress import say, track
from mobilenetv2.spec.records import Labels, Preprocessing
from mobilenetv2.text import visible


@dataclass(frozen=True, slots=True)
class Answer:
    """What the network gave for one photo, or why it gave nothing."""

    image: str
    outputs: NDArray | None
    """float32 (outputs,): logits or features."""
    error: str = ""


def run(arguments: argparse.Namespace) -> int:
    """Print an answer for every photo; 1 if some could not be read, else 0."""
    if arguments.top < 1:
        raise MobileNetV2Error(f"--top {arguments.top} must be at least 1")
    paths = photos(arguments.images)
    settle(arguments)
    kind: Output = "features" if arguments.features else "logits"
    config, predictor, _ = load_predictor(arguments, kind)
    answers = track(answer(paths, predictor, config.preprocessing), "predicting", len(paths))
    failed = 0
    rows = []
    for found in answers:
        failed += bool(found.error)
        row = record(found, config.labels, arguments.top, arguments.features)
        if arguments.json:
            print(json_line(row), flush=True)
        else:
            rows.append(row)
    if arguments.csv:
        write_csv(rows, Path(arguments.csv), arguments.features)
    elif not arguments.json:
        show(rows, arguments.features)
    if failed:
        say(f"{failed} of {len(paths)} photos could not be read")
    return PARTLY_FAILED if failed else 0


def answer(paths: list[Path], predictor: Predictor, record_: Preprocessing) -> Iterator[Answer]:
    """Every photo in order; decoding runs ahead in threads, the network takes batches."""

    def load(path: Path) -> NDArray | ImageError:
        try:
            return preprocess(read_photo(path), record_, str(path))
        except ImageError as error:
            return error

    loaded = in_parallel(load, paths)
    for start in range(0, len(paths), BATCH):
        group = [(path, next(loaded)) for path in paths[start : start + BATCH]]
        pictures = [picture for _, picture in group if not isinstance(picture, ImageError)]
        outputs = iter(predictor(np.stack(pictures)) if pictures else ())
        for path, picture in group:
            if isinstance(picture, ImageError):
                yield Answer(str(path), None, str(picture))
            else:
                yield Answer(str(path), next(outputs))


def record(found: Answer, labels: Labels, top: int, features: bool) -> dict[str, Any]:
    """One JSON line."""
    if found.outputs is None:
        return {"image": found.image, "error": found.error}
    if features:
        return {"image": found.image, "features": [float(value) for value in found.outputs]}
    probabilities = softmax(found.outputs)
    best = np.argsort(-probabilities, kind="stable")[:top]
    return {
        "image": found.image,
        "predictions": [
            {
                "index": int(index),
                "label": labels.names[index],
                "probability": float(probabilities[index]),
            }
            for index in best
        ],
    }


def show(rows: list[dict[str, Any]], features: bool) -> None:
    """A table: one line for each answer."""
    if features:
        for row in rows:
            if "error" in row:
                print(visible(f"{row['image']} error: {row['error']}"))
            else:
                print(visible(row["image"]), *(f"{value:.5g}" for value in row["features"]))
        return
    lines: list[tuple[str, str, str]] = []
    for row in rows:
        if "error" in row:
            why = row["error"].removeprefix(f"{row['image']}: ")
            lines.append((row["image"], "", f"error: {why}"))
            continue
        for place, guess in enumerate(row["predictions"]):
            name = "" if place else row["image"]
            lines.append((name, f"{guess['probability']:.1%}", guess["label"]))
    table(None, ("photo", "probability", "class"), lines, texts=(0, 2))


def write_csv(rows: list[dict[str, Any]], path: Path, features: bool) -> None:
    """One row for each answer: image, rank, index, label, probability, error; or the features."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if features:
        width = max((len(row.get("features", [])) for row in rows), default=0)
        writer.writerow(["image", "error", *(f"feature_{index}" for index in range(width))])
        for row in rows:
            writer.writerow([row["image"], row.get("error", ""), *row.get("features", [])])
    else:
        writer.writerow(["image", "rank", "index", "label", "probability", "error"])
        for row in rows:
            if "error" in row:
                writer.writerow([row["image"], "", "", "", "", row["error"]])
            for rank, guess in enumerate(row.get("predictions", ()), 1):
                cells = [guess["index"], guess["label"], guess["probability"]]
                writer.writerow([row["image"], rank, *cells, ""])
    # The name of a file may be no text: what UTF-8 cannot hold of it is escaped.
    write_atomically(path, buffer.getvalue().encode("utf-8", "backslashreplace"))
    print(f"wrote {path}", file=sys.stderr)
