"""Comparison of accuracies in the table of a study, and their pictures.

Cases are compared seed by seed. A claim on several sizes of networks is judged by the mean over the
sizes, which is taken for each seed first: runs of the same seed are not independent.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mobilenetv2.errors import require
from mobilenetv2.evaluation.plots import BLUE, GREY, canvas, save_figure
from mobilenetv2.studies.statistics import LEVEL, Estimate, mean, paired
from mobilenetv2.studies.study import Factor, Finding, Table
from mobilenetv2.text import percent

Factors = Mapping[str, Factor]
COLOURS = (BLUE, "#c2552d", "#3d8b57", "#8a5fb0", "#b58a1b", "#2a9d9d", GREY)
"""Colours of curves, in their order; grey is the last."""
MARKERS = "osD^vP*"
"""Marks of curves, which tell them apart without colour."""
PERCENT = 100
CHANCE, LEARNED = 0.1, 0.15
"""Accuracy of a guess among ten classes, and the least one that says that a network has learned."""


def by_seed(table: Table, cases: Sequence[Factors], measure: str = "top1") -> dict[int, float]:
    """Return the mean of a measure over several cases, for each seed that they all have."""
    each = [table.by_seed(measure, **case) for case in cases]
    seeds = [seed for seed in each[0] if all(seed in values for values in each)]
    return {seed: float(np.mean([values[seed] for values in each])) for seed in seeds}


def points(
    table: Table, first: Sequence[Factors], second: Sequence[Factors], level: float = LEVEL
) -> Estimate:
    """Return the difference in top-1 accuracy, first minus second, in percentage points.

    Args:
        table: the table.
        first, second: cases, whose means are compared seed by seed.
        level: confidence level of the interval.
    """
    return paired(by_seed(table, first), by_seed(table, second), level).scaled(PERCENT, "points")


def if_learned(table: Table, findings: Sequence[Finding]) -> list[Finding]:
    """Return findings on accuracies, none of which is a verdict if no network has learned.

    Networks that guess are alike, whatever their blocks are, so that equal accuracies of such
    networks confirm nothing.

    Args:
        table: the table that the findings are from.
        findings: the findings, each of which compares accuracies.
    """
    shares: dict[str, list[float]] = {}
    for row in table:
        if row.measure == "top1":
            shares.setdefault(str(dict(row.case.factors)), []).append(row.value)
    best = max(float(np.mean(values)) for values in shares.values())
    if best >= LEARNED:
        return [*findings]
    guessing = (
        f"No network has learned: the best accuracy is {percent(best)}, and a guess among ten "
        f"classes has {percent(CHANCE)}."
    )
    return [
        replace(one, verdict="cannot be told", found=f"{guessing} {one.found}") for one in findings
    ]


def crossed(factors: Factors, **levels: Sequence[Factor]) -> list[dict[str, Factor]]:
    """Return one case with the given factors for each combination of the levels."""
    found = [dict(factors)]
    for name, values in levels.items():
        found = [{**case, name: value} for case in found for value in values]
    return found


def numbers(table: Table, factor: str) -> list[float]:
    """Return the different values of a numeric factor, in the order of the cases."""
    return [float(value) for value in table.levels(factor)]


def average(table: Table, measure: str, **factors: Factor) -> Estimate:
    """Return the mean of a measure over the seeds of one case."""
    return mean(list(table.by_seed(measure, **factors).values()))


def named(table: Table, factors: Factors) -> str:
    """Return the mean top-1 accuracy of a case as '61.2%'."""
    return percent(average(table, "top1", **factors).value)


def millions(number: float) -> str:
    """Return multiply-adds or parameters as '3.05 million'."""
    return f"{number / 1e6:.3g} million"


def curve(
    axis: Any, table: Table, cases: Sequence[Factors], label: str, number: int,
    intervals: bool = True,
) -> None:  # fmt: skip
    """Draw one curve: the mean top-1 accuracy of each case against its multiply-adds.

    Args:
        axis: the axis.
        table: the table.
        cases: the points of the curve.
        label: name of the curve.
        number: number of the curve, which gives its colour and its mark.
        intervals: True to draw the 95% interval of each mean. Runs of the same seed move together,
            so that these are wider than the intervals of differences.
    """
    places = [average(table, "multiply_adds", **case).value for case in cases]
    found = [average(table, "top1", **case) for case in cases]
    values = np.array([one.value for one in found])
    colour = COLOURS[number % len(COLOURS)]
    axis.plot(
        places, values, color=colour, marker=MARKERS[number % len(MARKERS)], markersize=5,
        linewidth=1.5, label=label,
    )  # fmt: skip
    ends = np.array([one.interval for one in found])
    if intervals and np.isfinite(ends).all():
        reach = np.abs(ends.T - values)
        axis.errorbar(places, values, yerr=reach, fmt="none", ecolor=colour, alpha=0.5, capsize=2)


def bars(axis: Any, shown: Sequence[tuple[str, Estimate]], title: str) -> None:
    """Draw differences in percentage points with their intervals, the first at the top.

    Args:
        axis: the axis.
        shown: (name, difference) pairs.
        title: title of the axis.
    """
    for place, (_, found) in enumerate(shown):
        axis.plot(found.value, place, marker="o", color=BLUE)
        if np.isfinite(found.interval).all():
            axis.plot(found.interval, [place, place], color=BLUE, linewidth=2, alpha=0.5)
    axis.axvline(0, color=GREY, linewidth=1)
    axis.set_yticks(range(len(shown)), [name for name, _ in shown])
    axis.set_ylim(len(shown) - 0.5, -0.5)
    axis.set_title(title, loc="left", fontsize=11)
    axis.set_xlabel("difference in top-1 accuracy, percentage points")
    axis.grid(alpha=0.25)


@contextmanager
def panels(count: int, path: Path, height: float = 4.2) -> Iterator[list[Any]]:
    """Yield the axes of a picture side by side, and write it at the end of the block.

    Args:
        count: number of axes.
        path: the PNG file.
        height: height of the picture in inches.
    """
    figure, axes = canvas(1, count, (max(8.6, 5.4 * count), height))
    yield axes
    save_figure(figure, path)


def in_percent(axis: Any) -> None:
    """Name the accuracies on the vertical axis in percent, at round numbers."""
    ticker = require("matplotlib.ticker")
    axis.set_ylabel("top-1 accuracy")
    axis.yaxis.set_major_locator(ticker.MaxNLocator(steps=[1, 2, 5, 10]))
    axis.yaxis.set_major_formatter(ticker.PercentFormatter(1))


def against_cost(axis: Any, title: str) -> None:
    """Name the axes of accuracies against multiply-adds, on a logarithmic scale."""
    ticker = require("matplotlib.ticker")
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value / 1e6:g}"))
    axis.xaxis.set_minor_formatter(ticker.NullFormatter())
    axis.set_xlabel("multiply-adds, millions")
    in_percent(axis)
    axis.set_title(title, loc="left", fontsize=11)
    axis.grid(alpha=0.25)
    axis.legend(frameon=False, fontsize=9)
