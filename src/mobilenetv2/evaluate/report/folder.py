"""The report's folder: the page, the same figures as JSON, the pictures as PNG."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mobilenetv2.errors import MissingExtra
from mobilenetv2.evaluate import pictures
from mobilenetv2.evaluate.report import gallery
from mobilenetv2.evaluate.report.gallery import Explainer
from mobilenetv2.evaluate.report.page import page
from mobilenetv2.evaluate.report.result import Result, surest_mistakes
from mobilenetv2.evaluate.report.run_record import read
from mobilenetv2.files import write_atomically
from mobilenetv2.progress import say

PAGE, FIGURES = "report.html", "metrics.json"
CONFUSION, CLASSES, MISTAKEN = "confusion.png", "classes.png", "mistakes.png"
CURVES, RELIABILITY = "curves.png", "reliability.png"
PICTURES = (CURVES, CONFUSION, CLASSES, RELIABILITY, MISTAKEN)
MATRIX = "confusion"
"""Of the figures."""
MISTAKES = 24
"""Photos on the sheet of mistakes."""


def write(
    folder: Path, result: Result, source: Path | None = None, explainer: Explainer | None = None,
    notes: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write all of it into an existing folder. Arguments as for :func:`page.write_page`.

    The page comes first, for it fails where a photo is gone; the figures come last. Pictures of an
    older report go, even where there is no new one. Without matplotlib there are no PNG files, and
    a person is told.
    """
    run = read(source) if source else None
    write_atomically(folder / PAGE, page(result, run, source, explainer, notes, None))
    for name in PICTURES:
        (folder / name).unlink(missing_ok=True)
    try:
        draw(folder, result, explainer)
        if run and run.rows:
            pictures.curves(run.rows, folder / CURVES)
    except MissingExtra as error:
        say(f"note: no PNG files: {error}")
    write_atomically(folder / FIGURES, as_json(result.to_dict()))


def as_json(figures: Mapping[str, object]) -> str:
    """A text for people, too: a line for each value, and one for each row of the matrix, which has
    a million numbers where there are a thousand classes."""
    lines = []
    for key, value in figures.items():
        if key == MATRIX and isinstance(value, list):
            rows = ",\n  ".join(json.dumps(row, separators=(",", ":")) for row in value)
            text = f"[\n  {rows}\n ]"
        else:
            text = json.dumps(value, indent=1).replace("\n", "\n ")
        lines.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def draw(folder: Path, result: Result, explainer: Explainer | None = None) -> None:
    """``confusion.png`` of the classes that have photos or were answered, ``classes.png`` of those
    that have photos; ``reliability.png``; ``mistakes.png`` where there are mistakes, each beside
    its Grad-CAM where there is an explainer.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    metrics = result.metrics
    matrix = metrics.confusion
    met = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
    title = f"{Path(result.data).name}, {result.split.name}: {metrics.top1:.1%} of {metrics.images}"
    pictures.confusion(
        matrix[np.ix_(met, met)], [metrics.classes[index].name for index in met],
        folder / CONFUSION, title,
    )  # fmt: skip
    rows = [(row.name, row.recall, row.recall_interval) for row in metrics.classes if row.photos]
    pictures.per_class(rows, folder / CLASSES)
    pictures.reliability(result.calibrations(), folder / RELIABILITY)
    mistakes = surest_mistakes(result.answers, MISTAKES)
    if not mistakes:
        return
    photos, names = gallery.pictures(result, mistakes), result.config.labels.names
    if explainer:
        photos = gallery.beside(photos, [mistake.answer for mistake in mistakes], explainer)
    shown = [
        (picture, f"is {names[m.truth][:22]}\n{names[m.answer][:18]} {m.probability:.0%}")
        for picture, m in zip(photos, mistakes, strict=True)
    ]
    title = "The surest mistakes: what it is, what was answered"
    pictures.contact_sheet(shown, folder / MISTAKEN, title, 3 if explainer else 6)
