"""Study `linear-bottleneck`: accuracy with and without an activation after the projection."""

from collections.abc import Sequence
from pathlib import Path

from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.studies.accuracy import (
    against_cost,
    bars,
    crossed,
    curve,
    if_learned,
    named,
    numbers,
    panels,
    points,
)
from mobilenetv2.studies.networks import BASE
from mobilenetv2.studies.statistics import Estimate
from mobilenetv2.studies.study import Case, Factor, Finding, Options, Outcome, Study, Table
from mobilenetv2.studies.training import LIMITS, PACKAGES, Plan, train

PROJECTIONS = ("linear", "relu", "relu6")
NAMES = {"linear": "linear", "relu": "ReLU", "relu6": "ReLU6"}
WIDTHS = (0.35, 0.5, 0.75)
PLAN = Plan(photos=4_000, epochs=8)
SMALLEST = 0.5
"""Smallest difference in accuracy that anybody would care about, in percentage points."""


def grid(options: Options) -> Sequence[dict[str, Factor]]:
    """Return the cases: width, and what follows the projection."""
    widths = WIDTHS[:1] if options.quick else WIDTHS
    return crossed({}, width=widths, projection=PROJECTIONS)


def network(case: Case) -> NetworkSpec:
    """Return the network of a case. Activations have no cost: those of one width cost the same."""
    width, projection = float(case.factors["width"]), str(case.factors["projection"])
    return BASE.replace(width=width, projection=projection)


def measure(case: Case, options: Options) -> Outcome:
    """Train the network of a case."""
    return Outcome(train(network(case), case.seed, options, PLAN))


def gain(table: Table, activation: str, widths: Sequence[float]) -> Estimate:
    """Return the accuracy of linear projections minus that with an activation, in points.

    It is the mean over the widths.
    """
    return points(
        table,
        crossed({"projection": "linear"}, width=widths),
        crossed({"projection": activation}, width=widths),
    )


def judge(table: Table) -> Sequence[Finding]:
    """Return whether linear projections are better than ReLU6 and ReLU, and more so if narrow."""
    widths = numbers(table, "width")
    findings = [_better(table, "relu6", widths), _better(table, "relu", widths)]
    return if_learned(table, [*findings, *([_narrow(table, widths)] if len(widths) > 1 else [])])


def _better(table: Table, activation: str, widths: Sequence[float]) -> Finding:
    found, name = gain(table, activation, widths), NAMES[activation]
    each = "; ".join(
        f"width {width:g}: {named(table, {'projection': 'linear', 'width': width})} linear, "
        f"{named(table, {'projection': activation, 'width': width})} {name}"
        for width in widths
    )
    sentence = (
        f"The top-1 accuracy of linear projections minus that with {name} was "
        f"{found.text(1)} in the mean over the widths ({each})."
    )
    where = "section 6.4, figure 6a" if activation == "relu6" else "section 3.2"
    return found.finding(
        f"A linear projection is better than one with {name} (paper, {where}).", sentence,
        smallest=SMALLEST,
    )  # fmt: skip


def _narrow(table: Table, widths: Sequence[float]) -> Finding:
    narrow, narrow6, wide, wide6 = (
        crossed({"projection": name}, width=[width])
        for width in (widths[0], widths[-1])
        for name in ("linear", "relu6")
    )
    # The difference of two differences, seed by seed: (narrow + wide6) - (narrow6 + wide).
    found = points(table, narrow + wide6, narrow6 + wide).scaled(2)
    return found.finding(
        "An activation after the projection costs more where the bottleneck has fewer channels "
        "(it follows from the paper, section 3.2: ReLU keeps more in more dimensions).",
        f"What ReLU6 costs at width {widths[0]:g} minus what it costs at width {widths[-1]:g} was "
        f"{found.text(1)}.",
        smallest=SMALLEST,
    )


def draw(table: Table, path: Path) -> None:
    """Draw accuracies against multiply-adds, and what linear projections gain at each width."""
    widths = numbers(table, "width")
    with panels(2, path) as (left, right):
        for number, name in enumerate(PROJECTIONS):
            cases = crossed({"projection": name}, width=widths)
            curve(left, table, cases, NAMES[name], number)
        against_cost(left, "After the projection")
        shown = [
            (f"{NAMES[name]}, width {width:g}", gain(table, name, [width]))
            for name in ("relu6", "relu") for width in widths
        ]  # fmt: skip
        bars(right, shown, "Linear minus ...")


STUDY = Study(
    name="linear-bottleneck",
    title="Does an activation after the projection cost accuracy?",
    about="The paper's blocks end with a linear projection, since ReLU would destroy information "
    "in a tensor of few channels. Three networks that differ only after the projection (nothing, "
    "ReLU, ReLU6) are trained from scratch on a share of CIFAR-10 at 32 pixels, at three widths, "
    "and tested on photos that they have not seen. Accuracies are compared seed by seed.",
    limits=LIMITS,
    grid=grid, measure=measure, judge=judge, draw=draw, packages=PACKAGES,
)  # fmt: skip
