"""The report's folder: the page, the same figures as JSON, the pictures as PNG."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mobilenetv2.errors import MissingExtra
from mobilenetv2.evaluate import pictures
from mobilenetv2.evaluate.report import gallery
from mobilenetv2.evaluate.report.gallery import Explainer
from mobilenetv2.evaluate.report.page import write_page
from mobilenetv2.evaluate.report.result import Result, surest_mistakes
from mobilenetv2.files import write_atomically
from mobilenetv2.progress import say

PAGE, FIGURES = "report.html", "metrics.json"
MISTAKES = 24
"""Photos on the sheet of mistakes."""


def write(
    folder: Path, result: Result, source: Path | None = None, explainer: Explainer | None = None,
    notes: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write all of it into an existing folder. Arguments as for :func:`page.write_page`.

    Without matplotlib there are no PNG files, and a person is told.
    """
    write_atomically(folder / FIGURES, json.dumps(result.to_dict(), indent=1) + "\n")
    write_page(folder / PAGE, result, source, explainer, notes)
    try:
        draw(folder, result)
    except MissingExtra as error:
        say(f"note: no PNG files: {error}")


def draw(folder: Path, result: Result) -> None:
    """``confusion.png`` and ``classes.png`` of the classes that have photos; ``mistakes.png``
    where there are mistakes.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    metrics = result.metrics
    kept = [index for index, row in enumerate(metrics.classes) if row.photos]
    rows = [metrics.classes[index] for index in kept]
    title = f"{result.data}: {metrics.top1:.1%} of {metrics.images}"
    pictures.confusion(
        metrics.confusion[np.ix_(kept, kept)], [row.name for row in rows],
        folder / "confusion.png", title,
    )  # fmt: skip
    pictures.per_class(
        [(row.name, row.recall, row.recall_interval) for row in rows], folder / "classes.png"
    )
    mistakes = surest_mistakes(result.logits, result.truth, MISTAKES)
    names = result.config.labels.names
    shown = [
        (picture, f"is {names[m.truth][:22]}\n{names[m.answer][:18]} {m.probability:.0%}")
        for picture, m in zip(gallery.pictures(result, mistakes), mistakes, strict=True)
    ]
    if shown:
        title = "The surest mistakes: what it is, what was answered"
        pictures.contact_sheet(shown, folder / "mistakes.png", title)
