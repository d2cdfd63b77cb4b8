"""``mobilenetv2 evaluate``: a model against labelled photos."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.cli.main import table
from mobilenetv2.cli.predictor import load_predictor
from mobilenetv2.data.check import look_through
from mobilenetv2.data.dataset import ALL, SPLITS, Dataset, Split, open_dataset
from mobilenetv2.errors import DataError
from mobilenetv2.evaluate import pictures
from mobilenetv2.evaluate.accuracy import run as run_predictor
from mobilenetv2.evaluate.matching import match
from mobilenetv2.evaluate.metrics import Metrics, measure, softmax
from mobilenetv2.files import write_atomically
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.progress import say
from mobilenetv2.spec.records import ModelConfig

MOST_ROWS = 60


def run(arguments: argparse.Namespace) -> int:
    """Print (and write) the figures; 0."""
    config, predictor = load_predictor(arguments)
    labels = config.labels
    dataset = open_dataset(arguments.data)
    split = chosen(dataset, arguments)
    outputs = match(split.classes, labels, dataset.place)
    if arguments.report:
        Path(arguments.report).mkdir(parents=True, exist_ok=True)
    split, notes = look_through(split)
    logits, folder_labels = run_predictor(predictor, split, config.preprocessing)
    truth = np.array(outputs)[folder_labels]
    metrics = measure(logits, truth, labels.names)
    for note in notes:
        say(note)
    facts = {"model": arguments.model, "data": arguments.data, "split": split.name}
    if arguments.json:
        print(json.dumps({**facts, **metrics.to_dict()}))
    else:
        show(metrics, f"{arguments.model} on {arguments.data} ({split.name})")
    if arguments.report:
        folder = Path(arguments.report)
        write_report(metrics, facts, folder)
        mistakes = most_confident_mistakes(logits, truth)
        draw_mistakes(mistakes, split, config, folder / "mistakes.png")
        say(f"report: {folder}")
    return 0


def chosen(dataset: Dataset, arguments: argparse.Namespace) -> Split:
    """The split asked for; of a folder without splits, the part that ``split.csv`` names.

    Without ``--split`` all of such a folder is evaluated, and a person is told when the model
    was trained on some of it.
    """
    if ALL not in dataset.splits:
        return dataset.split(arguments.split)
    split = dataset.splits[ALL]
    from mobilenetv2.train.record import RunFolder, read_split

    table_ = RunFolder(Path(arguments.model).parent).split
    parts = read_split(table_) if table_.is_file() else {}
    if arguments.split:
        wanted = SPLITS.get(arguments.split, arguments.split)
        photos = tuple(p for p in split.photos if parts.get(p.name) == wanted)
        if not photos:
            raise DataError(
                f"{arguments.data}: has no splits, and {table_} names no photos of "
                f"{arguments.split!r} in it"
            )
        return split.with_photos(photos, wanted)
    seen = sum(parts.get(photo.name) in ("train", "selection") for photo in split.photos)
    if seen:
        say(
            f"note: the model was trained on {seen} of these {len(split)} photos, so the figures "
            "flatter it; --split validation takes those that it never saw"
        )
    return split


def show(metrics: Metrics, title: str) -> None:
    """The table of classes, the worst first, and the totals."""
    rows = sorted((row for row in metrics.classes if row.photos), key=lambda row: row.recall)
    shown = rows[:MOST_ROWS]
    table(
        title, ("class", "photos", "recall", "95% interval", "precision", "95% interval"),
        [
            (
                row.name, row.photos, f"{row.recall:.1%}", interval(row.recall_interval),
                f"{row.precision:.1%}" if row.precision == row.precision else "-",
                interval(row.precision_interval) if row.precision == row.precision else "-",
            )
            for row in shown
        ],
    )  # fmt: skip
    if len(rows) > len(shown):
        print(f"({len(rows) - len(shown)} better classes are not shown; --json has all)")
    print(f"images  {metrics.images}")
    print(f"top-1   {metrics.top1:.2%} (95% interval {interval(metrics.top1_interval)})")
    print(f"top-5   {metrics.top5:.2%}")
    print(f"loss    {metrics.loss:.4f}")


def interval(bounds: tuple[float, float]) -> str:
    """'84.9% - 91.2%'."""
    return f"{bounds[0]:.1%} - {bounds[1]:.1%}"


def write_report(metrics: Metrics, facts: dict[str, str], folder: Path) -> None:
    """``metrics.json``, ``confusion.png`` and ``classes.png`` of the classes that have photos."""
    write_atomically(
        folder / "metrics.json", json.dumps({**facts, **metrics.to_dict()}, indent=1) + "\n"
    )
    rows = [row for row in metrics.classes if row.photos]
    kept = [index for index, row in enumerate(metrics.classes) if row.photos]
    title = f"{facts['data']}: {metrics.top1:.1%} of {metrics.images}"
    pictures.confusion(
        metrics.confusion[np.ix_(kept, kept)], [row.name for row in rows],
        folder / "confusion.png", title,
    )  # fmt: skip
    pictures.per_class(
        [(row.name, row.recall, row.recall_interval) for row in rows], folder / "classes.png"
    )


@dataclass(frozen=True, slots=True)
class Mistake:
    """A photo by its place in the split, what it is, what was answered, and how surely."""

    photo: int
    truth: int
    answer: int
    probability: float


def most_confident_mistakes(logits: NDArray, truth: NDArray, most: int = 24) -> list[Mistake]:
    """The surest first.

    Args:
        logits: float (photos, classes).
        truth: int (photos,).
    """
    probabilities = softmax(logits)
    answers = probabilities.argmax(1)
    wrong = np.flatnonzero(answers != truth)
    sure = probabilities[wrong, answers[wrong]]
    return [
        Mistake(int(wrong[i]), int(truth[wrong[i]]), int(answers[wrong[i]]), float(sure[i]))
        for i in np.argsort(-sure, kind="stable")[:most]
    ]


def draw_mistakes(mistakes: list[Mistake], split: Split, config: ModelConfig, path: Path) -> None:
    """A sheet of the photos as the network saw them; nothing where there are no mistakes."""
    names, shown = config.labels.names, []
    for mistake in mistakes:
        picture = preprocess(split.image(split.photos[mistake.photo]), config.preprocessing)
        caption = (
            f"is {names[mistake.truth][:22]}\n{names[mistake.answer][:18]} "
            f"{mistake.probability:.0%}"
        )
        shown.append((picture, caption))
    if shown:
        pictures.contact_sheet(shown, path, "The surest mistakes: what it is, what was answered")
