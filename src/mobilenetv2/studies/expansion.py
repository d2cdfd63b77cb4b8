"""Study `expansion`: accuracy against multiply-adds, one curve for each expansion rate."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from math import log2
from pathlib import Path

import numpy as np

from mobilenetv2.evaluation.plots import GREY
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.studies.accuracy import (
    COLOURS,
    MARKERS,
    against_cost,
    by_seed,
    crossed,
    curve,
    if_learned,
    in_percent,
    millions,
    numbers,
    panels,
    points,
)
from mobilenetv2.studies.networks import BASE, STAGES, at_cost
from mobilenetv2.studies.statistics import LEVEL, Estimate, mean
from mobilenetv2.studies.study import Case, Factor, Finding, Options, Outcome, Study, Table
from mobilenetv2.studies.training import LIMITS, PACKAGES, Plan, train
from mobilenetv2.text import percent

RATES = (1, 2, 3, 4, 6, 8, 10)
COSTS = (1_500_000, 3_000_000, 6_000_000)
"""Multiply-adds of the networks, a size each."""
PLAN = Plan(photos=4_000, epochs=5)
FLAT = (5, 10)
"""Range of rates that the article calls nearly alike."""
MARGIN = 1.0
"""Largest difference, in percentage points, of rates that are called nearly alike."""


def grid(options: Options) -> Sequence[dict[str, Factor]]:
    """Return the cases: size of the network, and expansion rate."""
    if options.quick:
        return crossed({}, cost=(COSTS[0], COSTS[1]), rate=(1, 6, 10))
    return crossed({}, cost=COSTS, rate=RATES)


def network(case: Case) -> NetworkSpec:
    """Return the network of a case: all stages but the first have its rate.

    Its width is the one at which it has the case's multiply-adds, so that a lower rate has more
    channels between blocks. At rate 1 there is no expansion convolution, as in all published
    networks.
    """
    rate = int(case.factors["rate"])
    first, *others = STAGES
    stages = (first, *(replace(stage, expansion=rate) for stage in others))
    return at_cost(BASE.replace(stages=stages), int(case.factors["cost"]))


def measure(case: Case, options: Options) -> Outcome:
    """Train the network of a case."""
    return Outcome(train(network(case), case.seed, options, PLAN))


def judge(table: Table) -> Sequence[Finding]:
    """Return whether rates of 5 to 10 are alike, and whether the best rate moves with the size."""
    return if_learned(table, [_flat(table), _better_than_none(table), _moves(table)])


def cases(table: Table, rate: float) -> list[dict[str, Factor]]:
    """Return the cases of a rate, one for each size."""
    return crossed({"rate": rate}, cost=numbers(table, "cost"))


def _flat(table: Table) -> Finding:
    rates = [rate for rate in numbers(table, "rate") if FLAT[0] <= rate <= FLAT[1]]
    pairs = list(combinations(rates, 2))
    # Simultaneous intervals (Bonferroni), since the widest of the differences is judged.
    level = 1 - (1 - LEVEL) / len(pairs)
    found = {
        (low, high): points(table, cases(table, high), cases(table, low), level)
        for low, high in pairs
    }
    farthest = max(found.values(), key=lambda one: max(map(abs, one.interval)))
    each = ", ".join(
        f"{one.value:+.1f} ({one.interval[0]:+.1f} to {one.interval[1]:+.1f}) from rate {low:g} to "
        f"{high:g}" for (low, high), one in found.items()
    )  # fmt: skip
    return farthest.finding(
        "Expansion rates between 5 and 10 give nearly the same accuracy (the article; paper, "
        "section 4).",
        f"In the mean over the sizes, the differences in percentage points of top-1 accuracy were "
        f"{each} (n = {farthest.n}, simultaneous 95% intervals); nearly the same means closer than "
        f"{MARGIN:g} point.",
        "equal", MARGIN,
    )  # fmt: skip


def _better_than_none(table: Table) -> Finding:
    found = points(table, cases(table, 6), cases(table, 1))
    sizes = numbers(table, "cost")
    accuracies = "; ".join(
        f"{millions(cost)} multiply-adds: "
        + ", ".join(
            f"{percent(float(np.mean(list(values.values()))))} at rate {rate}"
            for rate in (1, 6)
            if (values := table.by_seed("top1", rate=rate, cost=cost))
        )
        for cost in sizes
    )
    return found.finding(
        "Expanding by 6 is better than not expanding, at equal multiply-adds (paper, section 3.4: "
        "ratios above 1 are the most useful).",
        f"The top-1 accuracy at rate 6 minus that at rate 1 was {found.text(1)} in the "
        f"mean over the sizes ({accuracies}).",
    )


def slopes(table: Table, cost: float) -> dict[int, float]:
    """Return, for each seed, what doubling the rate gains at one size, in percentage points.

    It is the slope of a least-squares line of accuracy against the logarithm of the rate, over all
    rates above 1: rate 1 is another block, without an expansion convolution.
    """
    rates = [rate for rate in numbers(table, "rate") if rate > 1]
    values = [by_seed(table, [{"rate": rate, "cost": cost}]) for rate in rates]
    places = [log2(rate) for rate in rates]
    seeds = [seed for seed in values[0] if all(seed in one for one in values)]
    return {
        seed: float(100 * np.polyfit(places, [one[seed] for one in values], 1)[0]) for seed in seeds
    }


def best_rates(table: Table) -> Mapping[float, float]:
    """Return the rate with the highest mean accuracy at each size."""

    def accuracy(cost: float, rate: float) -> float:
        return float(np.mean(list(table.by_seed("top1", rate=rate, cost=cost).values())))

    rates = numbers(table, "rate")
    return {cost: max(rates, key=partial(accuracy, cost)) for cost in numbers(table, "cost")}


def steepening(table: Table) -> Estimate:
    """Return what doubling the rate gains in the largest network more than in the smallest."""
    sizes = numbers(table, "cost")
    small, large = slopes(table, sizes[0]), slopes(table, sizes[-1])
    return mean([large[seed] - small[seed] for seed in small if seed in large]).of("points")


def _moves(table: Table) -> Finding:
    found = steepening(table)
    best = ", ".join(
        f"{rate:g} at {millions(cost)} multiply-adds" for cost, rate in best_rates(table).items()
    )
    return found.finding(
        "Smaller networks prefer lower expansion rates, and larger networks higher ones (the "
        "article; paper, section 4).",
        f"Doubling the rate gained {found.text(2)} of top-1 accuracy more in the "
        f"largest network than in the smallest; the rates with the highest means were {best}.",
    )


def draw(table: Table, path: Path) -> None:
    """Draw accuracy against multiply-adds for each rate, and against the rate for each size."""
    sizes, rates = numbers(table, "cost"), numbers(table, "rate")
    with panels(2, path) as (left, right):
        for number, rate in enumerate(rates):
            curve(left, table, cases(table, rate), f"rate {rate:g}", number, False)
        against_cost(left, "One curve for each expansion rate")
        for number, cost in enumerate(sizes):
            values = [table.by_seed("top1", rate=rate, cost=cost).values() for rate in rates]
            means = [float(np.mean(list(one))) for one in values]
            right.plot(
                rates, means, color=COLOURS[number], marker=MARKERS[number], markersize=5,
                label=f"{millions(cost)} multiply-adds",
            )  # fmt: skip
        right.axvspan(*FLAT, color=GREY, alpha=0.12, linewidth=0)
        right.set_xlabel("expansion rate (grey: 5 to 10)")
        in_percent(right)
        right.set_title("One curve for each size", loc="left", fontsize=11)
        right.grid(alpha=0.25)
        right.legend(frameon=False, fontsize=9)


STUDY = Study(
    name="expansion",
    title="Which expansion rate is best, and does it depend on the size of the network?",
    about="Networks with seven expansion rates are compared at equal multiply-adds, for three "
    "sizes: the width of each is solved for, so that a network with a lower rate has more channels "
    "between its blocks. They are trained from scratch on a share of CIFAR-10 at 32 pixels, and "
    "tested on photos that they have not seen. Accuracies are compared seed by seed.",
    limits="The three sizes are within a factor of four. Multiply-adds are equal within 3%. "
    + LIMITS,
    grid=grid, measure=measure, judge=judge, draw=draw, packages=PACKAGES,
)  # fmt: skip
