"""Study `residual`: where the shortcut is, at equal multiply-adds."""

from collections.abc import Sequence
from pathlib import Path

from mobilenetv2.spec.count import multiply_adds
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.variants import with_classic_blocks, with_wide_blocks
from mobilenetv2.studies.accuracy import average, bars, if_learned, millions, named, panels, points
from mobilenetv2.studies.networks import BASE, at_cost
from mobilenetv2.studies.statistics import Direction, Estimate
from mobilenetv2.studies.study import Case, Factor, Finding, Options, Outcome, Study, Table
from mobilenetv2.studies.training import LIMITS, PACKAGES, Plan, train

COST = 3_000_000
"""Multiply-adds of every network."""
PLAN = Plan(photos=6_000, epochs=8)
NETWORKS = {
    "bottlenecks": BASE,
    "expansions": with_wide_blocks(BASE),
    "projection": BASE.replace(shortcut="projection"),
    "classic": with_classic_blocks(BASE),
    "none": BASE.replace(shortcut="none"),
}
"""Shortcut -> network: identity between bottlenecks (the paper), identity between expansions, the
article's projection shortcut at every block of stride 1, ResNet's classic block, no shortcut."""
NAMES = {
    "bottlenecks": "identity between bottlenecks",
    "expansions": "identity between expansions",
    "projection": "projection shortcuts, as in the article",
    "classic": "classic residual blocks",
    "none": "no shortcuts",
}
SMALLEST = 0.5
"""Smallest difference in accuracy that anybody would care about, in percentage points."""
MARGIN = 1.0
"""Largest difference, in percentage points, at which two networks are said to do as well."""
CLAIMS: tuple[tuple[str, str, Direction, float], ...] = (
    ("expansions", "A shortcut between bottlenecks is better than one between expansions (paper, "
     "section 6.4, figure 6b).", "above", SMALLEST),
    ("classic", "The inverted residual is better than the classic one at equal multiply-adds (the "
     "article; paper, section 3.3).", "above", SMALLEST),
    ("none", "Shortcuts between bottlenecks are better than none (paper, section 6.4, figure 6b).",
     "above", SMALLEST),
    ("projection", "The article's projection shortcuts do as well as the identity at equal "
     "multiply-adds (the article uses the one, the paper the other).", "equal", MARGIN),
)  # fmt: skip
"""Findings: (the other network, claim, direction, smallest effect of interest)."""


def grid(options: Options) -> Sequence[dict[str, Factor]]:
    """Return the cases: the networks."""
    return [{"shortcut": name} for name in NETWORKS]


def network(case: Case) -> NetworkSpec:
    """Return the network of a case, at the width at which it has :data:`COST` multiply-adds."""
    return at_cost(NETWORKS[str(case.factors["shortcut"])], COST)


def measure(case: Case, options: Options) -> Outcome:
    """Train the network of a case; measure its cost at the paper's width, too."""
    spec = network(case)
    reference = at_cost(BASE, COST).width
    unchanged = multiply_adds(spec.at(width=reference))
    values = train(spec, case.seed, options, PLAN)
    return Outcome({**values, "multiply_adds_at_same_width": unchanged})


def gain(table: Table, other: str) -> Estimate:
    """Return the accuracy of the paper's network minus another's, in percentage points."""
    return points(table, [{"shortcut": "bottlenecks"}], [{"shortcut": other}])


def judge(table: Table) -> Sequence[Finding]:
    """Return how the paper's shortcuts compare with each other kind."""
    found = [
        gain(table, other).finding(claim, _sentence(table, other), direction, smallest)
        for other, claim, direction, smallest in CLAIMS
    ]
    return if_learned(table, found)


def _sentence(table: Table, other: str) -> str:
    both = []
    for name in ("bottlenecks", other):
        width, cost, size = (
            average(table, measure, shortcut=name).value
            for measure in ("width", "multiply_adds", "parameters")
        )
        both.append(
            f"{NAMES[name]}: {named(table, {'shortcut': name})} at width {width:g} with "
            f"{millions(cost)} multiply-adds and {size:,.0f} parameters"
        )
    return f"The difference in top-1 accuracy was {gain(table, other).text(1)} ({'; '.join(both)})."


def draw(table: Table, path: Path) -> None:
    """Draw the accuracy of each network, and what the paper's gains over each other one."""
    with panels(1, path, 3.6) as (axis,):
        shown = [(NAMES[other], gain(table, other)) for other, *_ in CLAIMS]
        bars(
            axis, shown, f"Identity between bottlenecks minus ... ({millions(COST)} multiply-adds)"
        )


STUDY = Study(
    name="residual",
    title="Where should the shortcut be?",
    about="The paper's shortcuts connect the bottlenecks. Five networks are brought to the same "
    "multiply-adds by their width: the paper's, one with shortcuts between the expanded tensors, "
    "one with the article's projection shortcuts, one with ResNet's classic blocks (compress, "
    "convolve, expand), and one without shortcuts. They are trained from scratch on a share of "
    "CIFAR-10 at 32 pixels, and tested on photos that they have not seen. Accuracies are compared "
    "seed by seed.",
    limits="With ten blocks the networks are shallow, and shortcuts matter more in deep ones. The "
    "table of layers was made for the paper's block, and the others take its place in it. "
    f"Multiply-adds are equal within 3%. {LIMITS}",
    grid=grid, measure=measure, judge=judge, draw=draw, packages=PACKAGES,
)  # fmt: skip
