"""Study `information`: what an activation loses of points that a random matrix embeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import require
from mobilenetv2.evaluation.metrics import wilson
from mobilenetv2.evaluation.plots import BLUE, GREY, canvas, save_figure
from mobilenetv2.studies.statistics import Estimate, exact, t_quantile
from mobilenetv2.studies.study import Case, Factor, Finding, Options, Outcome, Study, Table

SPIRAL = "spiral"
CHANNELS = "channels"
DIMENSIONS = {SPIRAL: 2, CHANNELS: 24}
"""Dimensions of each set of points: the paper's spiral, and pixels of a tensor of 24 channels."""
SIZES = {SPIRAL: (2, 3, 5, 15, 30), CHANNELS: (24, 36, 60, 180, 360)}
"""Dimensions n of the embedding: the paper's, and the same multiples of 24."""
ACTIVATIONS = {
    "linear": (-np.inf, np.inf),
    "relu": (0.0, np.inf),
    "relu6": (0.0, 6.0),
}
"""Range in which each activation returns its input; it clips to this range."""
SCALES = (1, 3, 10)
"""Standard deviations of the embedded values. Only ReLU6 depends on it; BatchNorm makes it 1."""
POINTS = {SPIRAL: 1000, CHANNELS: 4000}
"""Number of points; those in 24 dimensions are drawn anew for each matrix."""
DRAWS = {SPIRAL: (2000, 100), CHANNELS: (20, 3)}
"""Number of matrices for each seed, in full and with ``--quick``."""
TURNS = 2
FEW = 0.01
"""Share of collapsed points up to which the study says that information is kept."""
MOST = 0.1
"""Share of collapsed points up to which it says that most of it is kept."""
COLOURS = {
    ("linear", 1): GREY, ("relu", 1): BLUE,
    ("relu6", 1): "#f2b66d", ("relu6", 3): "#dd7d1c", ("relu6", 10): "#8f3f06",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Loss:
    """Measures of one embedding and activation."""

    collapsed: float
    """Share of points that their outputs do not determine; see :func:`collapsed`."""
    more: float
    """Share of collapsed points, minus ReLU's share for the same matrix."""
    unread: float
    """Share of the points' variance that the best affine map of the outputs does not give."""
    back: float
    """Relative squared error after the (pseudo)inverse of the embedding, as in the paper's figure
    1: the squared distance to the points, divided by their variance."""


def spiral(count: int = POINTS[SPIRAL]) -> NDArray:
    """Return an Archimedean spiral of two turns, (count, 2), with a mean square of 1."""
    angle = np.linspace(0.02, 1, count) * TURNS * 2 * np.pi
    points = angle[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return np.asarray(points / np.sqrt((points**2).mean()))


def embedding(generator: np.random.Generator, size: int, dimensions: int) -> NDArray:
    """Return a matrix T (size, dimensions) of normal numbers that keeps the mean square of points.

    The paper does not say how its random matrix is distributed.
    """
    return np.asarray(generator.standard_normal((size, dimensions)) / np.sqrt(dimensions))


def activate(values: NDArray, activation: str) -> NDArray:
    """Return the activation of values."""
    return np.asarray(np.clip(values, *ACTIVATIONS[activation]))


def collapsed(values: NDArray, activation: str, dimensions: int) -> NDArray:
    """Return which points their outputs do not determine, bool (points,).

    An output inside the range of its activation gives one linear equation of the point; an output
    at a bound gives an inequality, which holds around the point, too. With fewer equations than
    dimensions, all points of a line through this one have the same outputs: they collapse into one.
    With as many or more, the point is the only solution, since rows of a random matrix are
    independent (paper, appendix A, on the invertibility of ReLU).

    Args:
        values: embedded points before the activation, (points, n).
        dimensions: dimensions of the points.
    """
    low, high = ACTIVATIONS[activation]
    return np.asarray(((values > low) & (values < high)).sum(1) < dimensions)


def loss(points: NDArray, matrix: NDArray, scale: float, activation: str) -> Loss:
    """Measure what an activation of embedded points loses.

    Args:
        points: (points, dimensions).
        matrix: T, (n, dimensions).
        scale: factor on T, which is taken back afterwards.
    """
    matrix = scale * matrix
    values = points @ matrix.T
    outputs = activate(values, activation)
    variance = ((points - points.mean(0)) ** 2).sum()
    returned = outputs @ np.linalg.pinv(matrix).T
    shares = [
        float(collapsed(values, kind, points.shape[1]).mean()) for kind in (activation, "relu")
    ]
    return Loss(
        shares[0],
        shares[0] - shares[1],
        _unread(points, outputs),
        float(((returned - points) ** 2).sum() / variance),
    )


def _unread(points: NDArray, outputs: NDArray) -> float:
    """Return the share of variance that an affine map misses, fitted to every other point.

    It is measured on the points between those.
    """
    inputs = np.column_stack([outputs, np.ones(len(outputs))])
    fitted, *_ = np.linalg.lstsq(inputs[::2], points[::2], rcond=1e-10)
    held = points[1::2]
    missed = ((inputs[1::2] @ fitted - held) ** 2).sum()
    return float(missed / ((held - held.mean(0)) ** 2).sum())


def grid(options: Options) -> Sequence[dict[str, Factor]]:
    """Return the cases: points, activation, scale and n."""
    return [
        {"points": points, "activation": activation, "scale": scale, "n": size}
        for points in (SPIRAL, CHANNELS)
        for activation, scale in COLOURS
        for size in SIZES[points]
    ]


def measure(case: Case, options: Options) -> Outcome:
    """Measure many random matrices; the case's seed draws them all.

    Cases with the same seed, points and n have the same matrices.
    """
    points, size = str(case.factors["points"]), int(case.factors["n"])
    activation, scale = str(case.factors["activation"]), float(case.factors["scale"])
    draws = DRAWS[points][options.quick]
    losses = [
        loss(drawn, matrix, scale, activation)
        for drawn, matrix in _draws(points, size, case.seed, draws)
    ]
    found = {
        "collapsed": [one.collapsed for one in losses],
        "more": [one.more for one in losses],
        "unread": [one.unread for one in losses],
    }
    values: dict[str, float] = {"draws": draws}
    for name, shares in found.items():
        values |= {name: float(np.mean(shares)), f"{name} deviation": float(np.std(shares, ddof=1))}
    # A random 2 x 2 matrix can be nearly singular: the mean of this over matrices is infinite.
    values["back"] = float(np.median([one.back for one in losses]))
    return Outcome(values)


def _draws(points: str, size: int, seed: int, count: int) -> Sequence[tuple[NDArray, NDArray]]:
    """Return pairs of points and a matrix."""
    generator = np.random.default_rng([seed, size])
    dimensions, drawn = DIMENSIONS[points], []
    shape = (POINTS[points], dimensions)
    for _ in range(count):
        fresh = spiral() if points == SPIRAL else generator.standard_normal(shape)
        drawn.append((fresh, embedding(generator, size, dimensions)))
    return drawn


def pooled(table: Table, measure: str, **factors: Factor) -> Estimate:
    """Return the mean of a measure over the matrices of all seeds, with its 95% interval."""
    means = table.by_seed(measure, **factors)
    deviations = table.by_seed(f"{measure} deviation", **factors)
    count = round(sum(table.by_seed("draws", **factors).values()))
    mean = float(np.mean(list(means.values())))
    error = sqrt(float(np.mean(np.square(list(deviations.values())))) / count)
    half = error * t_quantile(0.975, count - len(means))
    interval = (mean - half, mean + half)
    if measure == "collapsed" and factors["points"] == SPIRAL and mean < FEW:
        # Neighbours on the spiral collapse together and rarely, so that no matrix may have done it,
        # and the deviation is 0. Wilson's interval is for zeros and ones, which have the largest
        # deviation of all shares with the same mean.
        interval = (wilson(floor(mean * count), count)[0], wilson(ceil(mean * count), count)[1])
    return Estimate(mean, interval, count)


def judge(table: Table) -> Sequence[Finding]:
    """Return what was found about figure 1 of the paper and its activations."""
    return [_narrow(table), _wide(table), _linear(table), _bounded(table), _channels(table)]


def _relu(table: Table, measure: str, size: int, points: str = SPIRAL) -> Estimate:
    return pooled(table, measure, points=points, activation="relu", scale=1, n=size)


def _narrow(table: Table) -> Finding:
    two, three = (_relu(table, "collapsed", size) for size in (2, 3))
    return three.of("share").finding(
        "ReLU in 2 or 3 dimensions loses information: points of the spiral collapse into each "
        "other (paper, section 3.2, figure 1).",
        f"Of the spiral's points, {_percent(two)} collapsed at n = 2, and {_percent(three)} at "
        "n = 3.",
        smallest=FEW,
    )


def _wide(table: Table) -> Finding:
    fifteen, thirty = (_relu(table, "collapsed", size) for size in (15, 30))
    unread = _relu(table, "unread", 30)
    back = table.by_seed("back", points=SPIRAL, activation="relu", scale=1, n=30)
    return fifteen.of("share").finding(
        "ReLU in 15 to 30 dimensions keeps the information, in a bent form (paper, section 3.2, "
        "figure 1).",
        f"Of the spiral's points, {_percent(fifteen, 2)} collapsed at n = 15, and "
        f"{_percent(thirty, 2)} at n = 30; there, the best affine map missed "
        f"{_percent(unread, 3)} of the variance, but the pseudoinverse, by which the figure "
        f"returns, had an error of {np.median(list(back.values())):.0%} of it (median).",
        "equal", FEW,
    )  # fmt: skip


def _linear(table: Table) -> Finding:
    linear = table.where(activation="linear")
    worst = max(row.value for row in linear if row.measure in ("collapsed", "back"))
    return exact(worst).finding(
        "A linear bottleneck keeps the information (paper, section 3.2).",
        "Without an activation, the largest share of collapsed points and the largest relative "
        f"error after the pseudoinverse, at any n, was {worst:.0e}.",
        "equal", 1e-12,
    )  # fmt: skip


def _bounded(table: Table) -> Finding:
    more = {
        scale: pooled(table, "more", points=SPIRAL, activation="relu6", scale=scale, n=15)
        for scale in SCALES
    }
    shown = ", ".join(
        f"{100 * one.value:.2f} points at a standard deviation of {scale} "
        f"({_interval(one, 2)})" for scale, one in more.items()
    )  # fmt: skip
    most = more[10].scaled(100, "points")
    return most.finding(
        "ReLU6 loses more than ReLU where many values exceed its bound.",
        f"At n = 15, more points collapsed with ReLU6 than with ReLU: {shown}; BatchNorm gives a "
        "deviation of 1.",
    )


def _channels(table: Table) -> Finding:
    little, more = (_relu(table, "collapsed", size, CHANNELS) for size in (36, 60))
    unread = _relu(table, "unread", 180, CHANNELS)
    return more.of("share").finding(
        "An expansion before ReLU keeps most of the information of a narrow tensor (paper, section "
        "3.2).",
        f"Of points in 24 dimensions, {_percent(little)} collapsed at an expansion by 1.5, and "
        f"{_percent(more)} by 2.5: a point needs 24 active outputs, and half of all are active; "
        f"at 7.5, the best affine map missed {_percent(unread)} of the variance.",
        "equal", MOST,
    )  # fmt: skip


def _percent(estimate: Estimate, digits: int = 1) -> str:
    return f"{100 * estimate.value:.{digits}f}% ({_interval(estimate, digits)})"


def _interval(estimate: Estimate, digits: int) -> str:
    low, high = (100 * end for end in estimate.interval)
    return f"95% interval {low:.{digits}f} to {high:.{digits}f}, n = {estimate.n}"


def draw(table: Table, path: Path) -> None:
    """Draw the spiral after every embedding, and what is lost against dimension."""
    figure, axes = canvas(3, 3, (10, 10))
    points, seed = spiral(), table[0].case.seed
    order = np.linspace(0, 1, len(points))
    axes[0].scatter(*points.T, c=order, cmap="viridis", s=3)
    axes[0].set_title("Input", loc="left", fontsize=10)
    for axis, size in zip(axes[1:6], SIZES[SPIRAL], strict=True):
        ((_, matrix),) = _draws(SPIRAL, size, seed, 1)
        returned = activate(points @ matrix.T, "relu") @ np.linalg.pinv(matrix).T
        axis.scatter(*returned.T, c=order, cmap="viridis", s=3)
        axis.set_title(f"ReLU in {size} dimensions, back by T⁺", loc="left", fontsize=10)
    for axis in axes[:6]:
        axis.set_aspect("equal", adjustable="datalim")
        axis.set_xticks([])
        axis.set_yticks([])
    _lines(axes[6], table, SPIRAL, "collapsed", "Spiral: collapsed points")
    _lines(axes[7], table, SPIRAL, "unread", "Spiral: variance that the best\naffine map misses")
    _lines(axes[8], table, CHANNELS, "collapsed", "24 channels: collapsed points")
    axes[7].legend(frameon=False, fontsize=8)
    save_figure(figure, path)


def _lines(axis: Any, table: Table, points: str, measure: str, title: str) -> None:
    """Draw a measure against n, a line for each activation, with 95% intervals."""
    for (activation, scale), colour in COLOURS.items():
        name = activation if activation != "relu6" else f"relu6, deviation {scale}"
        shown = [
            pooled(table, measure, points=points, activation=activation, scale=scale, n=size)
            for size in SIZES[points]
        ]
        same = (activation, scale) == ("relu6", 1)  # as ReLU, nearly
        axis.plot(
            SIZES[points], [one.value for one in shown], color=colour, marker="o", markersize=3,
            linestyle="--" if same else "-", label=name,
        )  # fmt: skip
        lows, highs = zip(*(one.interval for one in shown), strict=True)
        axis.fill_between(SIZES[points], lows, highs, color=colour, alpha=0.2, linewidth=0)
    axis.set_xscale("log")
    axis.set_xticks(SIZES[points], [str(size) for size in SIZES[points]])
    axis.minorticks_off()
    axis.yaxis.set_major_formatter(require("matplotlib.ticker").PercentFormatter(1, 0))
    axis.set_title(title, loc="left", fontsize=10)
    axis.set_xlabel("dimensions n")
    axis.grid(alpha=0.25)


STUDY = Study(
    name="information",
    title="Does ReLU in a narrow space lose information?",
    about=(
        "The paper (section 3.2, figure 1) embeds a spiral of 2 dimensions into n dimensions by a "
        "random matrix, applies ReLU, and returns by the inverse of the matrix. Points collapse at "
        "n = 2 and 3 and not at n = 15 and 30, and the paper concludes that a bottleneck should be "
        "linear. Here each case has many random matrices of normal numbers: 2,000 for each seed, "
        "and 20 in 24 dimensions. A point has collapsed if its outputs do not determine it: fewer "
        "of them than the point has dimensions lie inside the activation's range, so that a whole "
        "line of points has the same outputs. The second measure is the share of the points' "
        "variance that the best affine map of the outputs misses; it is fitted to every other "
        "point, and measured on the rest. The same is measured without an activation, with ReLU6 "
        "at three scales, and for points of a normal distribution in 24 dimensions, the channels "
        "of a bottleneck, with the same ratios of dimensions."
    ),
    limits=(
        "Random matrices are not trained ones, which may put the points where ReLU keeps them; "
        "what a trained network loses is the subject of the study linear-bottleneck."
    ),
    grid=grid, measure=measure, judge=judge, draw=draw,
)  # fmt: skip
