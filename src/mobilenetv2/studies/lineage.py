"""Study `lineage`: MobileNetV1's, MobileNetV2's and ResNet's block at equal multiply-adds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mobilenetv2.evaluation.plots import BLUE
from mobilenetv2.spec.count import (
    activation_memory,
    bottleneck_memory,
    multiply_adds,
    parameters,
    peak_memory,
)
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.variants import with_classic_blocks
from mobilenetv2.studies.accuracy import (
    average,
    bars,
    by_seed,
    if_learned,
    millions,
    named,
    panels,
    points,
)
from mobilenetv2.studies.latency import time_in_turns
from mobilenetv2.studies.networks import BASE, SEPARABLE_STAGES, at_cost
from mobilenetv2.studies.statistics import Estimate, exact, mean
from mobilenetv2.studies.study import Case, Factor, Finding, Options, Outcome, Study, Table
from mobilenetv2.studies.training import LIMITS, PACKAGES, Plan, costs, train

BLOCKS = ("inverted", "separable", "bottleneck")
NAMES = {
    "inverted": "MobileNetV2's inverted residual",
    "separable": "MobileNetV1's separable block",
    "bottleneck": "ResNet's bottleneck",
}
SMALL = {
    "inverted": BASE,
    "separable": BASE.replace(stages=SEPARABLE_STAGES, head="none"),
    "bottleneck": with_classic_blocks(BASE),
}
"""Networks that are trained, for pictures of 32 pixels."""
WHOLE = {
    "inverted": published("torchvision"),
    "separable": published("mobilenet-v1"),
    "bottleneck": published("resnet-bottleneck"),
}
"""Networks that are timed, for pictures of 224 pixels and 1,000 classes."""
SMALL_COST, WHOLE_COST = 3_000_000, multiply_adds(WHOLE["inverted"])
"""Multiply-adds of the networks that are trained, and of those that are timed."""
PLAN = Plan(photos=5_000, epochs=8)
SECONDS, QUICK_SECONDS = 4.0, 0.4
"""Seconds of counted runs of each network in a case, in full and with ``--quick``."""
SMALLEST = 0.5
"""Smallest difference in accuracy that anybody would care about, in percentage points."""
ALIKE = 10.0
"""Largest difference in latency that is called none, in percent."""
MEGABYTE = 1e6


def grid(options: Options) -> Sequence[dict[str, Factor]]:
    """Return the cases: each block's network is trained, and one is timed."""
    return [{"part": part, "block": block} for part in ("accuracy", "runtime") for block in BLOCKS]


def network(case: Case) -> NetworkSpec:
    """Return the network of a case, at the width at which it has its part's multiply-adds."""
    small = case.factors["part"] == "accuracy"
    networks, cost = (SMALL, SMALL_COST) if small else (WHOLE, WHOLE_COST)
    return at_cost(networks[str(case.factors["block"])], cost)


def measure(case: Case, options: Options) -> Outcome:
    """Train the network of a case, or measure its latency and memory.

    A timed network takes turns with MobileNetV2's, so that the ratio of the two does not depend on
    what the machine does meanwhile. MobileNetV2's own case times it against itself.
    """
    spec = network(case)
    if case.factors["part"] == "accuracy":
        return Outcome(train(spec, case.seed, options, PLAN))
    seconds = QUICK_SECONDS if options.quick else SECONDS
    own, reference = time_in_turns([spec, WHOLE["inverted"]], case.seed, seconds)
    values = {
        **costs(spec),
        "bytes_between_blocks": bottleneck_memory(spec),
        "peak_bytes_split": peak_memory(spec),
        "activation_bytes": activation_memory(spec),
    }
    timed = {
        "milliseconds": own.milliseconds,
        "percent_slower": 100 * (own.milliseconds / reference.milliseconds - 1),
        "megabytes": own.memory / MEGABYTE,
        "megabytes_more": (own.memory - reference.memory) / MEGABYTE,
    }
    return Outcome(values, timed)


def judge(table: Table) -> Sequence[Finding]:
    """Return how the blocks compare in accuracy, cost, latency and memory."""
    trained = [
        _accuracy(table, "separable", "paper, section 6.1, figure 5"),
        _accuracy(table, "bottleneck", "the article; paper, section 3.3"),
    ]
    return [
        *if_learned(table, trained),
        _cheaper(),
        _latency(table, "separable"),
        _latency(table, "bottleneck"),
        _memory(table, "separable"),
        _memory(table, "bottleneck"),
    ]


def gain(table: Table, other: str) -> Estimate:
    """Return the accuracy with MobileNetV2's block minus that with another, in points."""
    return points(
        table,
        [{"part": "accuracy", "block": "inverted"}],
        [{"part": "accuracy", "block": other}],
    )


def _accuracy(table: Table, other: str, source: str) -> Finding:
    found, both = gain(table, other), []
    for block in ("inverted", other):
        case: dict[str, Factor] = {"part": "accuracy", "block": block}
        cost, size = (
            average(table, measure, **case).value for measure in ("multiply_adds", "parameters")
        )
        both.append(
            f"{NAMES[block]}: {named(table, case)} with {millions(cost)} multiply-adds and "
            f"{size:,.0f} parameters"
        )
    return found.finding(
        f"At equal multiply-adds, MobileNetV2's block is more accurate than {NAMES[other]} "
        f"({source}).",
        f"The difference in top-1 accuracy was {found.text(1)} ({'; '.join(both)}).",
        smallest=SMALLEST,
    )


def _cheaper() -> Finding:
    first, second = published("mobilenet-v1"), published("paper")
    numbers = [(multiply_adds(spec), parameters(spec)) for spec in (first, second.at(classes=1000))]
    share = 100 * (numbers[1][0] / numbers[0][0] - 1)
    return exact(share, "%").finding(
        "The whole network costs less than MobileNetV1 (paper, table 4).",
        f"MobileNetV1 has {millions(numbers[0][0])} multiply-adds and {millions(numbers[0][1])} "
        f"parameters, MobileNetV2 {millions(numbers[1][0])} and {millions(numbers[1][1])}: "
        f"{share:+.0f}% multiply-adds.",
        "below",
    )


def _timed(table: Table, measure: str, block: str) -> Estimate:
    return mean(list(by_seed(table, [{"part": "runtime", "block": block}], measure).values()))


def _latency(table: Table, block: str) -> Finding:
    found = _timed(table, "percent_slower", block).of("%")
    own = _timed(table, "milliseconds", block)
    null = _timed(table, "percent_slower", "inverted")
    reference = _timed(table, "milliseconds", "inverted")
    return found.finding(
        f"At equal multiply-adds, {NAMES[block]} takes the time of MobileNetV2's block "
        "(multiply-adds are the paper's measure of cost).",
        f"In ONNX Runtime with one thread at 224 pixels, its network took {own.value:.1f} ms, "
        f"{found.text(1)} compared with MobileNetV2's {reference.value:.1f} ms; the same "
        f"network against itself differed by {null.value:+.1f}%.",
        "equal", ALIKE,
    )  # fmt: skip


def _memory(table: Table, block: str) -> Finding:
    found = _timed(table, "megabytes_more", block).of("MB")
    own = _timed(table, "megabytes", block)
    sizes = {}
    for name in ("inverted", block):
        between, all_of_it = (
            average(table, measure, part="runtime", block=name).value / MEGABYTE
            for measure in ("bytes_between_blocks", "activation_bytes")
        )
        sizes[name] = f"{between:.2f} MB (16 bits) and {all_of_it:.1f} MB (32 bits)"
    return found.finding(
        f"MobileNetV2 needs less memory than a network of {NAMES[block]} with the same "
        "multiply-adds (paper, section 5 and table 3).",
        f"A process of ONNX Runtime held at most {own.value:.0f} MB, {found.text(1)} compared "
        "with MobileNetV2; the largest tensor between blocks and all inputs and outputs of "
        f"convolutions together are {sizes[block]}, MobileNetV2's {sizes['inverted']}.",
    )


def draw(table: Table, path: Path) -> None:
    """Draw what MobileNetV2's block gains in accuracy, and the latency and memory of each."""
    with panels(3, path, 3.4) as axes:
        others = BLOCKS[1:]
        shown = [(NAMES[block].partition("'s ")[0], gain(table, block)) for block in others]
        bars(axes[0], shown, "Accuracy of MobileNetV2's block minus ...")
        short = [NAMES[block].partition("'s ")[0] for block in BLOCKS]
        for axis, measure, title in (
            (axes[1], "milliseconds", "Latency, ms (ONNX Runtime, one thread)"),
            (axes[2], "megabytes", "Memory of the process, MB"),
        ):
            values = [_timed(table, measure, block).value for block in BLOCKS]
            axis.barh(np.arange(len(BLOCKS)), values, color=BLUE, alpha=0.75)
            for place, value in enumerate(values):
                axis.text(value, place, f" {value:.1f}", va="center", fontsize=9)
            axis.set_yticks(range(len(BLOCKS)), short)
            axis.set_ylim(len(BLOCKS) - 0.5, -0.5)
            axis.set_xlim(0, 1.2 * max(values))
            axis.set_title(title, loc="left", fontsize=11)


STUDY = Study(
    name="lineage",
    title="What did MobileNetV2's block gain over MobileNetV1's and ResNet's?",
    about="Networks of the three blocks are brought to the same multiply-adds by their width. "
    "Small ones are trained from scratch on a share of CIFAR-10 at 32 pixels, and tested on photos "
    "that they have not seen; accuracies are compared seed by seed. Whole ones, for 224 pixels and "
    "1,000 classes, are exported to ONNX with random weights, and run in ONNX Runtime, each in a "
    "process of its own, in turns with MobileNetV2.",
    limits="Latency and memory are those of one runtime on one machine, and ResNet's own tables "
    f"have other depths. Multiply-adds are equal within 3%. {LIMITS}",
    grid=grid, measure=measure, judge=judge, draw=draw, alone=True,
    packages=(*PACKAGES, "onnxruntime"),
)  # fmt: skip
