"""Study `article-versions`: what the departures of the article's two versions cost and gain."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mobilenetv2.editions import numpy as plain
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.count import multiply_adds, parameters
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.studies.accuracy import (
    average,
    bars,
    crossed,
    if_learned,
    millions,
    named,
    panels,
    points,
)
from mobilenetv2.studies.networks import BASE, at_cost
from mobilenetv2.studies.statistics import Direction, Estimate, exact
from mobilenetv2.studies.study import Case, Factor, Finding, Options, Outcome, Study, Table
from mobilenetv2.studies.training import LIMITS, PACKAGES, Plan, train

ROUNDED = BASE.at(width=0.35).replace(divisor=8)
"""The paper's network, with channels rounded to multiples of 8, at a width that needs rounding."""
VERSIONS: dict[str, NetworkSpec] = {
    "paper": ROUNDED,
    "biases": ROUNDED.replace(conv_bias=True),
    "projection shortcuts": ROUNDED.replace(shortcut="projection"),
    "expansion always": ROUNDED.replace(expand="always"),
    "article-torch": ROUNDED.replace(conv_bias=True, shortcut="projection", expand="always"),
    "unrounded widths": ROUNDED.replace(rounding="truncate"),
    "article-keras": ROUNDED.replace(rounding="truncate", expand="always"),
}
"""Version -> network that is trained: the paper's, each departure alone, and the two versions."""
EQUAL_COST = {
    "paper as article-torch": ("article-torch", 1), "paper as article-keras": ("article-keras", 4),
}  # fmt: skip
"""Name of the paper's network at the cost of a version -> the version, and the divisor of channels.

In multiples of 8, its multiply-adds grow in steps that are too large to meet the version's."""
PARITY = ("article-torch", "article-keras")
"""Versions whose spec is compared with the article's own code."""
SIZES = {"article-torch": 65, "article-keras": 64}
"""Height and width in pixels of the compared networks; the odd one pads otherwise."""
ALPHA = 0.35
"""Width of the compared Keras version, at which rounding matters; the other has one width."""
SAME = 1e-4
"""Largest difference of logits, as a share of the largest, of what is called the same network."""
PLAN = Plan(photos=5_000, epochs=8)
SMALLEST, MARGIN = 0.5, 1.0
"""Smallest difference in accuracy of interest, and the largest that is called none, in points."""


def grid(options: Options) -> Sequence[dict[str, Factor]]:
    """Return the cases: each version is trained, and the two are compared with their code."""
    names = ("paper", "article-torch") if options.quick else (*VERSIONS, *EQUAL_COST)
    return [*map(_trained, names), *crossed({"part": "parity"}, version=PARITY)]


def network(name: str) -> NetworkSpec:
    """Return the network of a version, or the paper's at the cost of one."""
    if name in VERSIONS:
        return VERSIONS[name]
    version, divisor = EQUAL_COST[name]
    return at_cost(ROUNDED.replace(divisor=divisor), multiply_adds(VERSIONS[version]))


def measure(case: Case, options: Options) -> Outcome:
    """Train a version, or compare its spec with the article's code."""
    name = str(case.factors["version"])
    if case.factors["part"] == "accuracy":
        return Outcome(train(network(name), case.seed, options, PLAN))
    return Outcome({"difference": difference(name, case.seed)})


def difference(name: str, seed: int) -> float:
    """Return the largest difference between the logits of the article's code and of its spec.

    The spec is run by the NumPy edition in float64. The difference is a share of the largest logit.

    Args:
        name: 'article-torch' or 'article-keras'.
        seed: seed of the weights and of the input.
    """
    side = SIZES[name]
    width = ALPHA if name == "article-keras" else 1.0
    spec = published(name, width=width, size=side, classes=10)
    arrays = random_arrays(spec, seed)
    x = np.random.default_rng(seed).normal(size=(2, 3, side, side)).astype(np.float32)
    reference = plain.MobileNetV2(spec, dtype=np.float64)
    plain.load(reference, arrays)
    expected = reference(x.astype(np.float64))
    run = _in_torch if name == "article-torch" else _in_keras
    return float(np.abs(run(spec, arrays, x) - expected).max() / np.abs(expected).max())


def _in_torch(spec: NetworkSpec, arrays: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    import torch

    from mobilenetv2.editions.article import torch as article

    net = article.MobileNetV2(spec.classes)
    article.load(net, arrays)
    with torch.no_grad():
        return np.asarray(net.eval()(torch.from_numpy(x)))


def _in_keras(spec: NetworkSpec, arrays: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    from mobilenetv2.editions.article import keras as article

    net = article.MobileNetV2((*spec.size, 3), spec.classes, spec.width)
    article.load(net, arrays)
    return np.asarray(net.predict_on_batch(x.transpose(0, 2, 3, 1)))


CLAIMS: tuple[tuple[str, str, str, Direction, float], ...] = (
    ("biases", "paper", "Biases before BatchNorm change nothing, since BatchNorm subtracts them "
     "(editions/article).", "equal", MARGIN),
    ("projection shortcuts", "paper", "Projection shortcuts, which the article's PyTorch version "
     "has, gain accuracy for what they cost.", "above", SMALLEST),
    ("article-torch", "paper as article-torch", "The article's PyTorch version is as accurate as "
     "the paper's network with the same multiply-adds.", "equal", MARGIN),
    ("unrounded widths", "paper", "Channels that are not rounded to multiples of 8, as in the "
     "article's Keras version, cost no accuracy.", "equal", MARGIN),
    ("article-keras", "paper as article-keras", "The article's Keras version is as accurate as the "
     "paper's network with the same multiply-adds.", "equal", MARGIN),
)  # fmt: skip
"""Findings: (version, compared with, claim, direction, smallest effect of interest)."""


def gain(table: Table, version: str, other: str) -> Estimate:
    """Return the accuracy of a version minus that of another, in percentage points."""
    return points(table, [_trained(version)], [_trained(other)])


def _trained(version: str) -> dict[str, Factor]:
    return {"part": "accuracy", "version": version}


def judge(table: Table) -> Sequence[Finding]:
    """Return what the departures cost and gain, and whether the specs are the article's code."""
    known = set(table.levels("version"))
    found = [
        gain(table, version, other).finding(
            claim, _sentence(table, version, other), direction, smallest
        )
        for version, other, claim, direction, smallest in CLAIMS
        if {version, other} <= known
    ]
    found = if_learned(table, found)
    return [*found, _parity(table), _whole("article-torch", 1.0), _whole("article-keras", ALPHA)]


def _sentence(table: Table, version: str, other: str) -> str:
    both = []
    for name in (version, other):
        cost, size = (
            average(table, measure, **_trained(name)).value
            for measure in ("multiply_adds", "parameters")
        )
        both.append(
            f"{name}: {named(table, _trained(name))} with {millions(cost)} multiply-adds and "
            f"{size:,.0f} parameters"
        )
    return (
        f"The difference in top-1 accuracy was {gain(table, version, other).text(1)} "
        f"({'; '.join(both)})."
    )


def _parity(table: Table) -> Finding:
    worst = {
        name: max(table.by_seed("difference", part="parity", version=name).values())
        for name in PARITY
    }
    shown = ", ".join(f"{value:.0e} for {name}" for name, value in worst.items())
    return exact(max(worst.values())).finding(
        "The specs of the two versions compute what the article's code computes.",
        f"The largest difference of a logit, as a share of the largest, was {shown}.",
        "equal", SAME,
    )  # fmt: skip


def _whole(name: str, width: float) -> Finding:
    """Return what a whole version costs, for 224 pixels and 1,000 classes."""
    spec = published(name, width=width)
    paper = published("paper", width=width, classes=1000)
    costs = [(multiply_adds(one), parameters(one)) for one in (spec, paper)]
    share = 100 * (costs[0][0] / costs[1][0] - 1)
    return exact(share, "%").finding(
        f"The article's {'PyTorch' if name == 'article-torch' else 'Keras'} version costs no more "
        f"than the paper's network at width {width:g}.",
        f"It has {costs[0][0]:,} multiply-adds ({share:+.1f}%) and {costs[0][1]:,} parameters; "
        f"the paper's has {costs[1][0]:,} and {costs[1][1]:,} (224 pixels, 1,000 classes).",
        "below",
    )


def draw(table: Table, path: Path) -> None:
    """Draw the accuracy of each version minus that of the network that it is compared with."""
    known = set(table.levels("version"))
    shown = [
        (f"{version} minus {other}", gain(table, version, other))
        for version, other, *_ in CLAIMS if {version, other} <= known
    ]  # fmt: skip
    with panels(1, path, 3.6) as (axis,):
        bars(axis, shown or [("article-torch minus paper", gain(table, "article-torch", "paper"))],
             "The article's departures")  # fmt: skip


STUDY = Study(
    name="article-versions",
    title="What do the article's two versions pay and gain?",
    about="The article's PyTorch version keeps biases before BatchNorm, expands in the first "
    "block, and has a projection shortcut at every block of stride 1; its Keras version does not "
    "round the channels of projections, and expands in the first block, too. Each departure and "
    "both versions are trained from scratch on a share of CIFAR-10 at 32 pixels, beside the "
    "paper's network at the same width and at the same multiply-adds, and tested on photos that "
    "they have not seen. Accuracies are compared seed by seed.",
    limits=f"What rounding changes depends on the width, and one is trained. {LIMITS}",
    grid=grid, measure=measure, judge=judge, draw=draw, packages=(*PACKAGES, "keras"),
)  # fmt: skip
