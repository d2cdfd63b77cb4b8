"""Study `width-and-size`: accuracy against multiply-adds over width and resolution."""

from collections.abc import Sequence
from math import log2, prod
from pathlib import Path
from typing import Any

import numpy as np

from mobilenetv2.spec.catalogue import GRID
from mobilenetv2.spec.count import multiply_adds, parameters
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.studies.accuracy import (
    COLOURS,
    MARKERS,
    against_cost,
    crossed,
    curve,
    if_learned,
    numbers,
    panels,
)
from mobilenetv2.studies.networks import BASE
from mobilenetv2.studies.statistics import Estimate, exact, mean
from mobilenetv2.studies.study import Case, Factor, Finding, Options, Outcome, Study, Table
from mobilenetv2.studies.training import LIMITS, PACKAGES, Plan, train

WIDTHS, SIZES = (0.25, 0.35, 0.5, 0.7), (32, 40, 48)
PLAN = Plan(photos=4_000, epochs=6)
MARGIN = 1.0
"""Largest difference of two gains, in percentage points, at which they are called alike."""
MILLIONS: dict[float, tuple[float, dict[int, int]]] = {
    1.4: (6.06, {224: 582}),
    1.3: (5.34, {224: 509}),
    1.0: (3.47, {224: 300, 192: 221, 160: 154, 128: 99, 96: 56}),
    0.75: (2.61, {224: 209, 192: 153, 160: 107, 128: 69, 96: 39}),
    0.5: (1.95, {224: 97, 192: 71, 160: 50, 128: 32, 96: 18}),
    0.35: (1.66, {224: 59, 192: 43, 160: 30, 128: 20, 96: 11}),
}
"""TF-slim's table: width -> (millions of parameters, input size -> millions of multiply-adds).

Source: tensorflow/models, research/slim/nets/mobilenet/README.md.
"""


def grid(options: Options) -> Sequence[dict[str, Factor]]:
    """Return the cases: width, and height and width of the input in pixels."""
    if options.quick:
        return crossed({}, width=WIDTHS[:2], size=SIZES[:2])
    return crossed({}, width=WIDTHS, size=SIZES)


def network(case: Case) -> NetworkSpec:
    """Return the network of a case."""
    return BASE.at(width=float(case.factors["width"]), size=int(case.factors["size"]))


def measure(case: Case, options: Options) -> Outcome:
    """Train the network of a case."""
    return Outcome(train(network(case), case.seed, options, PLAN))


def published_rows() -> list[tuple[float, int, float, int]]:
    """Return (width, size, top-1 share, multiply-adds) of TF-slim's 22 checkpoints."""
    return [
        (float(width), size, top1 / 100, multiply_adds(_slim(float(width), size)))
        for width, sizes in GRID.items() for size, top1 in sizes.items()
    ]  # fmt: skip


def departures() -> list[str]:
    """Return what differs from TF-slim's table, a sentence each.

    The table counts whole millions of multiply-adds, and hundredths of a million of parameters,
    both cut and not rounded. Its parameters leave out BatchNorm.
    """
    found = []
    for width, (size_millions, sizes) in MILLIONS.items():
        count = without_batch_norm(_slim(width, 224))
        if count // 10_000 != round(size_millions * 100):
            found.append(f"width {width:g}: {count:,} parameters, published {size_millions}M")
        for size, cost_millions in sizes.items():
            cost = multiply_adds(_slim(width, size))
            if cost // 1_000_000 != cost_millions:
                found.append(
                    f"width {width:g} at {size}: {cost:,} multiply-adds, published {cost_millions}M"
                )
    return found


def without_batch_norm(spec: NetworkSpec) -> int:
    """Return the number of parameters without BatchNorm's scales and shifts."""
    shapes = parameter_shapes(spec)
    return parameters(spec) - sum(
        prod(shape) for name, shape in shapes.items() if name.endswith((".bn.scale", ".bn.shift"))
    )


def _slim(width: float, size: int) -> NetworkSpec:
    return published("tf-slim", width=width, size=(size, size))


def gains(rows: Sequence[tuple[float, float, float, float]]) -> tuple[float, float]:
    """Return what doubling the multiply-adds gains, by width and by resolution.

    They are the two slopes of a least-squares plane: accuracy against the logarithm of the
    multiply-adds at one size, and against that of the number of pixels.

    Args:
        rows: (width, size, accuracy, multiply-adds) of networks.

    Returns:
        Gains in percentage points: (by width, by resolution).
    """
    largest = max(size for _, size, _, _ in rows)
    cost = {width: count for width, size, _, count in rows if size == largest}
    columns = [[log2(cost[width]), 2 * log2(size), 1.0] for width, size, _, _ in rows]
    slopes, *_ = np.linalg.lstsq(np.array(columns), np.array([row[2] for row in rows]), rcond=None)
    return float(100 * slopes[0]), float(100 * slopes[1])


def gains_here(table: Table) -> tuple[Estimate, Estimate, Estimate]:
    """Return the gains by width and by resolution, and the second minus the first."""
    by_width, by_size = np.transpose([gains(rows) for rows in rows_by_seed(table).values()])
    each = by_width, by_size, by_size - by_width
    width, size, difference = (mean(values).of("points") for values in each)
    return width, size, difference


def rows_by_seed(table: Table) -> dict[int, list[tuple[float, float, float, float]]]:
    """Return the rows of :func:`gains` for each seed."""
    found: dict[int, list[tuple[float, float, float, float]]] = {}
    for case in crossed({}, width=table.levels("width"), size=table.levels("size")):
        costs = table.by_seed("multiply_adds", **case)
        for seed, top1 in table.by_seed("top1", **case).items():
            row = (float(case["width"]), float(case["size"]), top1, costs[seed])
            found.setdefault(seed, []).append(row)
    return found


def judge(table: Table) -> Sequence[Finding]:
    """Return whether width and resolution are interchangeable, and whether the counts are exact."""
    by_width, by_size, difference = gains_here(table)
    # The two widest networks are published at one size only, which says nothing of resolution.
    slim = gains([row for row in published_rows() if row[0] <= 1])
    said = f"{slim[0]:.1f} points by width and {slim[1]:.1f} by resolution"
    wrong = departures()
    trained = [
        difference.finding(
            "Width and resolution are interchangeable: doubling the multiply-adds gains as much by "
            "the one as by the other (the paper's section 4 tunes both; in TF-slim's table: " + said
            + ").",
            f"Doubling the multiply-adds gained {by_size.text(1)} of top-1 accuracy by "
            f"resolution and {by_width.text(1)} by width; the difference was "
            f"{difference.text(1)}.",
            "equal", MARGIN,
        ),
        by_width.finding(
            "A wider network is more accurate (paper, figure 5).",
            f"Doubling the multiply-adds by width gained {by_width.text(1)} of top-1 "
            "accuracy.",
        ),
        by_size.finding(
            "A network is more accurate on larger pictures (paper, figure 5).",
            "Doubling the multiply-adds by resolution gained "
            f"{by_size.text(1)} of top-1 accuracy.",
        ),
    ]  # fmt: skip
    counted = exact(len(wrong)).finding(
        "The multiply-adds and parameters that TF-slim publishes for its 22 checkpoints are "
        "those of the paper's network.",
        "; ".join(wrong) or "All 22 are, counted with 1,001 classes and cut to whole millions "
        "of multiply-adds and hundredths of a million of parameters; the published parameters "
        "leave out BatchNorm's scales and shifts.",
        "equal", 0.5,
    )  # fmt: skip
    return [*if_learned(table, trained), counted]


def draw(table: Table, path: Path) -> None:
    """Draw accuracy against multiply-adds, a curve for each width: here and as published."""
    with panels(2, path) as (left, right):
        sizes = table.levels("size")
        for number, width in enumerate(numbers(table, "width")):
            curve(left, table, crossed({"width": width}, size=sizes), f"width {width:g}", number)
        against_cost(left, f"Here: {' to '.join(map(str, (sizes[0], sizes[-1])))} pixels, CIFAR-10")
        _draw_published(right)


def _draw_published(axis: Any) -> None:
    rows = published_rows()
    for number, width in enumerate(dict.fromkeys(width for width, *_ in rows)):
        places = [(cost, top1) for other, _, top1, cost in rows if other == width]
        axis.plot(
            *zip(*places, strict=True), color=COLOURS[number], marker=MARKERS[number],
            markersize=5, label=f"width {width:g}",
        )  # fmt: skip
    against_cost(axis, "TF-slim's table: 96 to 224 pixels, ImageNet")


STUDY = Study(
    name="width-and-size",
    title="Is a wider network or a larger picture worth its multiply-adds?",
    about="Networks of four widths are trained at three input sizes from scratch on a share of "
    "CIFAR-10, and tested on photos that they have not seen. What doubling the multiply-adds gains "
    "by width and by resolution is fitted for each seed. TF-slim's published grid of 22 "
    "checkpoints stands beside it; its multiply-adds and parameters are counted from the specs.",
    limits="CIFAR-10's photos have 32 pixels, so that larger inputs are enlarged and add no "
    "detail, unlike ImageNet's: the gain by resolution is that of a finer grid of features only. "
    + LIMITS,
    grid=grid, measure=measure, judge=judge, draw=draw, packages=PACKAGES,
)  # fmt: skip
