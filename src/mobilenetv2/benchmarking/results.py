"""Figures of each candidate, as plain values for JSON and as a plot of accuracy against latency."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.benchmarking.choices import Candidate
from mobilenetv2.errors import require
from mobilenetv2.evaluation.metrics import wilson
from mobilenetv2.evaluation.plots import BLUE, GREY, canvas, save_figure
from mobilenetv2.evaluation.predictions import best_classes, largest_difference
from mobilenetv2.spec.network import Outputs
from mobilenetv2.text import finite, interval

COLOURS = {"float32": BLUE, "float16": "#1d9a6c", "bfloat16": "#8b5cf6", "int8": "#d9622b"}
OTHER = GREY
MARKERS = "os^DvPX*<>hd"


@dataclass(frozen=True, slots=True)
class Speed:
    """Speed for one batch size."""

    batch: int
    seconds: tuple[float, ...]
    """Seconds of every counted run."""
    first: float
    """Seconds of the first run, which is not counted."""

    @property
    def median(self) -> float:
        """Median seconds of a batch."""
        return float(np.median(self.seconds))

    @property
    def p95(self) -> float:
        """Seconds within which 95% of the runs finish."""
        return float(np.percentile(self.seconds, 95))

    @property
    def throughput(self) -> float:
        """Images per second, over all runs."""
        return self.batch * len(self.seconds) / sum(self.seconds)

    def to_dict(self, every: bool) -> dict[str, Any]:
        """Return plain values for JSON, in milliseconds; with ``every``, those of each run, too."""
        values: dict[str, Any] = {
            "batch": self.batch, "runs": len(self.seconds),
            "median_ms": 1e3 * self.median, "p95_ms": 1e3 * self.p95,
            "first_ms": 1e3 * self.first, "pictures_per_second": self.throughput,
        }  # fmt: skip
        if every:
            values["runs_ms"] = [round(1e3 * each, 4) for each in self.seconds]
        return values


@dataclass(frozen=True, slots=True)
class Agreement:
    """Comparison of the answers with those of the float network and with the labels."""

    photos: int
    same: int
    """Number of photos with the same best class as in the float network."""
    difference: float
    """Largest absolute difference of any logit; infinite if one is not a number."""
    right: int | None = None
    """Number of correct answers; None if the labels are not known."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: fractions with their 95% intervals."""
        values: dict[str, Any] = {
            "photos": self.photos, "agreement": self.same / self.photos,
            "agreement_interval": list(wilson(self.same, self.photos)),
            "max_abs_difference": finite(self.difference),
        }  # fmt: skip
        if self.right is not None:
            values["top1"] = self.right / self.photos
            values["top1_interval"] = list(wilson(self.right, self.photos))
        return values


def compare_answers(
    logits: NDArray, reference: NDArray, truth: NDArray | None, outputs: Outputs = "softmax"
) -> Agreement:
    """Return the comparison of logits with the float network's.

    Args:
        logits, reference: float (photos, logits).
        truth: int (photos,).
        outputs: meaning of the logits.
    """
    answers, expected = (best_classes(one, outputs) for one in (logits, reference))
    return Agreement(
        len(logits), int((answers == expected).sum()), largest_difference(logits, reference),
        None if truth is None else int((answers == truth).sum()),
    )  # fmt: skip


@dataclass(slots=True)
class Row:
    """Results of one candidate; None means that the step was not reached."""

    candidate: Candidate
    bytes: int | None = None
    """Size of all its files in bytes."""
    load: float | None = None
    """Seconds from the import of the runtime until the graph is ready."""
    memory_after_load: int | None = None
    memory: int | None = None
    """Maximum number of resident bytes, at the end of all runs."""
    speeds: list[Speed] = field(default_factory=list)
    agreement: Agreement | None = None
    busy: bool = False
    """True if it kept computing between its turns, which slows down the others."""
    error: str = ""

    def speed(self, batch: int) -> Speed | None:
        """Return the speed for a batch size, or None."""
        return next((speed for speed in self.speeds if speed.batch == batch), None)

    def to_dict(self, every: bool = False) -> dict[str, Any]:
        """Return plain values for JSON."""
        who = self.candidate
        values: dict[str, Any] = {
            "runtime": who.runtime, "format": who.format, "precision": who.precision,
            "file": str(who.path) if who.path else None,
        }  # fmt: skip
        if self.error:
            return values | {"error": self.error}
        return values | {
            "bytes": self.bytes, "load_s": self.load,
            "memory_after_load_bytes": self.memory_after_load, "memory_bytes": self.memory,
            "busy_when_idle": self.busy,
            "speed": [speed.to_dict(every) for speed in self.speeds],
            **(self.agreement.to_dict() if self.agreement else {}),
        }  # fmt: skip


def by_latency(rows: Sequence[Row], batch: int) -> list[Row]:
    """Return the rows sorted by latency, with failed ones last."""

    def key(row: Row) -> float:
        speed = row.speed(batch)
        return speed.median if speed and not row.error else math.inf

    return sorted(rows, key=key)


def tabulate(rows: Sequence[Row], batches: Sequence[int]) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns, and a row of texts for each candidate."""
    labelled = any(row.agreement and row.agreement.right is not None for row in rows)
    named = any(row.candidate.path for row in rows)
    columns = ["runtime", "precision", f"ms at {batches[0]}", "p95"]
    columns += [f"/s at {batch}" for batch in batches]
    columns += ["same answer", "difference"]
    columns += ["top-1", "95% interval"] if labelled else []
    columns += ["size", "memory", "load", *(["file"] if named else [])]
    return columns, [cells(row, batches, labelled, named) for row in rows]


def cells(row: Row, batches: Sequence[int], labelled: bool, named: bool) -> list[str]:
    """Return the texts of one candidate; a failed one has a dash for each figure.

    Args:
        labelled: with accuracy.
        named: with the name of the file.
    """
    who, speed, agreement = row.candidate, row.speed(batches[0]), row.agreement
    start, file = [who.runtime, who.precision], [who.path.name if who.path else "made here"]
    end = file if named else []
    if row.error or speed is None or agreement is None:
        gap = 2 + len(batches) + 2 + 2 * labelled + 3
        return [*start, "failed", *["-"] * (gap - 1), *end]
    line = [*start, f"{1e3 * speed.median:.2f}", f"{1e3 * speed.p95:.2f}"]
    for batch in batches:
        each = row.speed(batch)
        line.append(f"{each.throughput:.1f}" if each else "-")
    line += [f"{agreement.same / agreement.photos:.1%}", f"{agreement.difference:.1e}"]
    if labelled:
        right = agreement.right or 0
        line += [f"{right / agreement.photos:.1%}", interval(wilson(right, agreement.photos))]
    line += [
        f"{(row.bytes or 0) / 1e6:.1f} MB", f"{(row.memory or 0) / 1e6:.0f} MB",
        f"{row.load or 0:.2f} s",
    ]  # fmt: skip
    return [*line, *end]


def draw(rows: Sequence[Row], batch: int, title: str, path: Path) -> None:
    """Draw top-1 accuracy, or else agreement with the float network, against latency.

    Args:
        rows: results; those without a speed at that batch size, or without answers, are left out.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure, (axis,) = canvas(1, 1, (9.5, 5))
    drawn = [row for row in rows if row.speed(batch) and row.agreement and not row.error]
    runtimes = list(dict.fromkeys(row.candidate.runtime for row in drawn))
    precisions = list(dict.fromkeys(row.candidate.precision for row in drawn))
    for row in drawn:
        _point(axis, row, batch, MARKERS[runtimes.index(row.candidate.runtime) % len(MARKERS)])
    axis.set_xscale("log")
    _ticks(axis, [speed.median * 1e3 for row in drawn if (speed := row.speed(batch))])
    axis.yaxis.set_major_formatter(require("matplotlib.ticker").PercentFormatter(1.0))
    labelled = all(row.agreement and row.agreement.right is not None for row in drawn)
    axis.set_ylabel("top-1, with its 95% interval" if labelled else "same answer as float32")
    axis.set_xlabel(f"median latency of a batch of {batch}, ms (5% to 95% of the runs)")
    axis.set_title(title, loc="left", fontsize=10)
    axis.grid(alpha=0.25, which="both")
    _legend(figure, runtimes, precisions)
    save_figure(figure, path)


def _point(axis: Any, row: Row, batch: int, marker: str) -> None:
    speed, agreement = row.speed(batch), row.agreement
    assert speed is not None and agreement is not None
    hits = agreement.same if agreement.right is None else agreement.right
    value, (low, high) = hits / agreement.photos, wilson(hits, agreement.photos)
    fast = float(np.percentile(speed.seconds, 5))
    centre = speed.median
    colour = COLOURS.get(row.candidate.precision, OTHER)
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
    """Set ticks at 1, 2, 5, 10 ..., since there are only one or two powers of ten."""
    ticker = require("matplotlib.ticker")
    low, high = min(latencies, default=1.0) / 1.3, max(latencies, default=10.0) * 1.3
    axis.set_xlim(low, high)
    axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 1.5, 2, 3, 5, 7), numticks=20))
    axis.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axis.xaxis.set_minor_locator(ticker.NullLocator())


def _legend(figure: Any, runtimes: Sequence[str], precisions: Sequence[str]) -> None:
    """Add a legend: colours are precisions, shapes runtimes."""
    line = require("matplotlib.lines").Line2D
    shown = [(name, COLOURS.get(name, OTHER), "s") for name in precisions]
    shown += [(name, "black", MARKERS[i % len(MARKERS)]) for i, name in enumerate(runtimes)]
    handles = [
        line([], [], color=colour, marker=marker, linestyle="none", label=name)
        for name, colour, marker in shown
    ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False)
