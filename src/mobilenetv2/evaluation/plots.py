"""Figures as PNG files, such as training curves and confusion matrices; they need no display."""

import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import require
from mobilenetv2.evaluation.calibration import Calibration
from mobilenetv2.files import write_atomically
from mobilenetv2.progress import say
from mobilenetv2.text import line, percent, visible

BLUE, GREY = "#2a6fbb", "#6b7280"
MOST_NAMED = 40
"""Largest number of class names in a figure; more names would overlap."""
LONGEST_NAME = 32
"""Largest number of characters of a class name in a figure; longer names are cut."""
NO_LETTER = "Glyph .* missing from"
"""Start of matplotlib's warning about a letter that its font lacks."""
TILE = 1.6
"""Width of an image in a contact sheet, in inches."""


def curves(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw loss and top-1 accuracy by epoch, for the training and validation split.

    Args:
        rows: rows of ``metrics.csv``.
        path: the PNG file.
    """
    figure, axes = canvas(1, 2, (10, 4))
    epochs = [row["epoch"] for row in rows]
    for axis, what, title in zip(axes, ("loss", "top1"), ("Loss", "Top-1 accuracy"), strict=True):
        for part, name, colour in (
            ("train", "training", GREY), ("selection", "validation", BLUE)
        ):  # fmt: skip
            values = [row[f"{part}_{what}"] for row in rows]
            axis.plot(epochs, values, color=colour, marker="o", markersize=3, label=name)
            axis.annotate(
                f"{values[-1]:.3f}", (epochs[-1], values[-1]), color=colour, fontsize=9,
                textcoords="offset points", xytext=(4, 4), ha="right",
            )  # fmt: skip
        axis.set_title(title, loc="left")
        axis.set_xlabel("epoch")
        locator = require("matplotlib.ticker").MaxNLocator(integer=True, min_n_ticks=1)
        axis.xaxis.set_major_locator(locator)
        axis.legend(frameon=False)
        axis.grid(alpha=0.25)
    save_figure(figure, path)


def confusion(matrix: NDArray, names: Sequence[str], path: Path, title: str) -> None:
    """Draw a confusion matrix.

    Args:
        matrix: int (classes, classes); rows are true classes, columns answers.
        names: names of the classes.
        path: the PNG file.
        title: title of the figure.
    """
    count = len(names)
    short = [_short(name) for name in names]
    room = 0.08 * max(map(len, short)) if count <= MOST_NAMED else 0
    side = min(14.0, 3.5 + 0.42 * count + room)
    figure, axis = _chart((side, side), title, "answer of the model")
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axis.set_ylabel("true class")
    if count <= MOST_NAMED:
        axis.set_xticks(range(count), short, rotation=60, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(count), short)
        for row, column in zip(*np.nonzero(matrix), strict=True):
            axis.text(
                column, row, str(matrix[row, column]), ha="center", va="center", fontsize=8,
                color="white" if share[row, column] > 0.6 else "black",
            )  # fmt: skip
    save_figure(figure, path)


def per_class(rows: Sequence[tuple[str, float, tuple[float, float]]], path: Path) -> None:
    """Draw the recall of each class with its interval, the lowest at the top.

    Args:
        rows: (class, recall, (low, high)) of each class; the 40 lowest are drawn.
        path: the PNG file.
    """
    rows = sorted(rows, key=lambda row: row[1], reverse=True)[-MOST_NAMED:]
    title = "Recall of each class, with 95% intervals"
    inches = (7, 1.2 + 0.28 * len(rows))
    figure, axis = _chart(inches, title, "share of the class's photos that were found")
    places = np.arange(len(rows))
    values = np.array([row[1] for row in rows])
    reach = np.array([[row[1] - row[2][0], row[2][1] - row[1]] for row in rows]).T
    axis.barh(places, values, color=BLUE, alpha=0.75)
    axis.errorbar(values, places, xerr=np.maximum(reach, 0), fmt="none", ecolor="black", capsize=2)
    axis.set_yticks(places, [_short(row[0]) for row in rows])
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter(require("matplotlib.ticker").PercentFormatter(1, 0))
    save_figure(figure, path)


def reliability(shown: Sequence[tuple[str, Calibration]], path: Path) -> None:
    """Draw reliability diagrams: accuracy by confidence.

    The area of a dot grows with its number of answers, and its line is the 95% interval. The
    diagonal is perfect calibration.

    Args:
        shown: (title, calibration) of each diagram.
        path: the PNG file.
    """
    figure, axes = canvas(1, len(shown), (4.4 * len(shown), 4.6))
    for axis, (title, measured) in zip(axes, shown, strict=True):
        axis.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
        bins = [row for row in measured.bins if row.count and not math.isnan(row.confidence)]
        places = [row.confidence for row in bins]
        for row in bins:
            axis.plot([row.confidence] * 2, row.interval, color=BLUE, alpha=0.35, linewidth=3)
        sizes = [12 + 90 * row.count / measured.count for row in bins]
        axis.scatter(
            places, [row.accuracy for row in bins], sizes, color=BLUE, zorder=3, clip_on=False
        )
        error = percent(measured.error)
        axis.set_title(f"{title}: calibration error {error}", loc="left", fontsize=10)
        axis.set_xlabel("confidence")
        axis.set_ylabel("accuracy")
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
        axis.grid(alpha=0.25)
    save_figure(figure, path)


def contact_sheet(
    shown: Sequence[tuple[NDArray, str]], path: Path, title: str, columns: int = 6
) -> None:
    """Draw a contact sheet of images with captions.

    Args:
        shown: (image, caption) pairs; images are uint8 (height, width, 1 or 3), captions have one
            or two lines.
        path: the PNG file.
        title: title of the sheet.
        columns: number of columns; the width of the sheet is fixed. Default: 6.
    """
    rows = -(-len(shown) // columns)
    figure, axes = canvas(rows, columns, (6 * TILE, (TILE + 0.35) * rows + 0.5))
    for axis in axes:
        axis.axis("off")
    for axis, (picture, caption) in zip(axes, shown, strict=False):
        pixels = picture if picture.shape[2] == 3 else picture[..., 0]
        axis.imshow(pixels, cmap="gray", vmin=0, vmax=255)  # no rescaling of grey values
        axis.set_title(caption, fontsize=8)
    figure.suptitle(title, x=0.02, ha="left")
    save_figure(figure, path)


def rates(tried: Sequence[float], losses: Sequence[float], chosen: float, path: Path) -> None:
    """Draw the result of a learning-rate finder: smoothed loss by rate, and the chosen rate."""
    figure, axis = _chart((6.5, 4), "Training loss by learning rate", "learning rate")
    axis.plot(tried, losses, color=BLUE)
    axis.axvline(chosen, color=GREY, linestyle="--")
    axis.annotate(
        f"{chosen:g}", (chosen, max(losses)), color=GREY, textcoords="offset points",
        xytext=(4, -10),
    )  # fmt: skip
    axis.set_xscale("log")
    axis.grid(alpha=0.25)
    save_figure(figure, path)


def _short(name: str) -> str:
    shown = line(name)
    return shown if len(shown) <= LONGEST_NAME else shown[: LONGEST_NAME - 1] + "…"


def _chart(inches: tuple[float, float], title: str, x_title: str) -> tuple[Any, Any]:
    figure, (axis,) = canvas(1, 1, inches)
    axis.set_title(title, loc="left")
    axis.set_xlabel(x_title)
    return figure, axis


def canvas(rows: int, columns: int, inches: tuple[float, float]) -> tuple[Any, list[Any]]:
    """Return a figure and its axes, row by row.

    Args:
        rows: number of rows of axes.
        columns: number of columns of axes.
        inches: width and height of the figure.
    """
    # Not pyplot, which looks for a display and keeps figures in memory.
    figure = require("matplotlib.figure").Figure(figsize=inches, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as a PNG file; a note about letters that the font lacks is printed once."""
    for text in figure.findobj(lambda artist: hasattr(artist, "set_parse_math")):
        text.set_parse_math(False)  # a '$' in a class name is no formula
        text.set_text(visible(text.get_text()))  # unpaired surrogates end the drawing
    buffer = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", NO_LETTER, UserWarning)
        figure.savefig(buffer, format="png", dpi=110)
    write_atomically(path, buffer.getvalue())
    for one in caught:
        if re.match(NO_LETTER, str(one.message)):
            _say_that_letters_are_missing()
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


@cache  # only once for all figures of a report
def _say_that_letters_are_missing() -> None:
    say(
        "note: the font of the PNG files lacks some letters of the class names and shows boxes "
        "instead; the HTML page shows all letters"
    )
