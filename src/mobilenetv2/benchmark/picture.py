"""Accuracy against latency, drawn: what is up and to the left is better."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobilenetv2.benchmark.results import Row
from mobilenetv2.errors import require
from mobilenetv2.evaluate.metrics import wilson
from mobilenetv2.files import write_atomically

COLOURS = {"float32": "#2a6fbb", "float16": "#1d9a6c", "bfloat16": "#8b5cf6", "int8": "#d9622b"}
OTHER = "#6b7280"
MARKERS = "os^DvPX*<>hd"


def draw(rows: Sequence[Row], batch: int, title: str, path: Path) -> None:
    """Top-1 where the truth is known, else agreement with the float network, with 95% intervals.

    Args:
        rows: those without a speed at that batch, or without answers, are left out.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure = require("matplotlib.figure").Figure(figsize=(9.5, 5), layout="constrained")
    axis = figure.subplots()
    drawn = [row for row in rows if row.speed(batch) and row.agreement and not row.error]
    runtimes = list(dict.fromkeys(row.contestant.runtime for row in drawn))
    precisions = list(dict.fromkeys(row.contestant.precision for row in drawn))
    for row in drawn:
        _point(axis, row, batch, MARKERS[runtimes.index(row.contestant.runtime) % len(MARKERS)])
    axis.set_xscale("log")
    _ticks(axis, [row.speed(batch).median * 1e3 for row in drawn])  # type: ignore[union-attr]
    axis.yaxis.set_major_formatter(require("matplotlib.ticker").PercentFormatter(1.0))
    labelled = all(row.agreement and row.agreement.right is not None for row in drawn)
    axis.set_ylabel("top-1, with its 95% interval" if labelled else "same answer as float32")
    axis.set_xlabel(f"median latency of a batch of {batch}, ms (5% to 95% of the runs)")
    axis.set_title(title, loc="left", fontsize=10)
    axis.grid(alpha=0.25, which="both")
    _legend(figure, runtimes, precisions)
    for text in figure.findobj(lambda artist: hasattr(artist, "set_parse_math")):
        text.set_parse_math(False)  # a '$' in a file's name begins no formula
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomically(path, buffer.getvalue())


def _point(axis: Any, row: Row, batch: int, marker: str) -> None:
    speed, found = row.speed(batch), row.agreement
    assert speed is not None and found is not None
    hits = found.same if found.right is None else found.right
    value, (low, high) = hits / found.photos, wilson(hits, found.photos)
    fast = float(np.percentile(speed.seconds, 5))
    centre = speed.median
    colour = COLOURS.get(row.contestant.precision, OTHER)
    axis.errorbar(
        [centre * 1e3], [value], xerr=[[(centre - fast) * 1e3], [(speed.p95 - centre) * 1e3]],
        yerr=[[max(value - low, 0)], [max(high - value, 0)]], fmt="none", ecolor=colour,
        alpha=0.3, elinewidth=1,
    )  # fmt: skip
    axis.plot(
        [centre * 1e3], [value], marker=marker, color=colour, markersize=8,
        markeredgecolor="white", linestyle="none", alpha=0.9,
    )  # fmt: skip


def _ticks(axis: Any, latencies: Sequence[float]) -> None:
    """1, 2, 5, 10 ... in plain numbers: powers of ten alone would be one or two."""
    ticker = require("matplotlib.ticker")
    low, high = min(latencies, default=1.0) / 1.3, max(latencies, default=10.0) * 1.3
    axis.set_xlim(low, high)
    axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 1.5, 2, 3, 5, 7), numticks=20))
    axis.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axis.xaxis.set_minor_locator(ticker.NullLocator())


def _legend(figure: Any, runtimes: Sequence[str], precisions: Sequence[str]) -> None:
    """Colours are precisions, shapes runtimes."""
    line = require("matplotlib.lines").Line2D
    handles = [
        line([], [], color=COLOURS.get(name, OTHER), marker="s", linestyle="none", label=name)
        for name in precisions
    ] + [
        line([], [], color="black", marker=MARKERS[i % len(MARKERS)], linestyle="none", label=name)
        for i, name in enumerate(runtimes)
    ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False)
