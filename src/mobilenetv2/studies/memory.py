"""Study `memory`: memory and time of a block whose expansion is computed in slices."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.editions import numpy as edition
from mobilenetv2.errors import require
from mobilenetv2.evaluation.plots import BLUE, GREY, canvas, save_figure
from mobilenetv2.model.folding import fold
from mobilenetv2.spec.blocks import Block, resolve
from mobilenetv2.spec.count import split_memory
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.studies.split_block import (
    ALL,
    BYTES,
    Layers,
    layers_of,
    measured_bytes,
    run_in_slices,
    slice_count,
    torch_runner,
)
from mobilenetv2.studies.statistics import Estimate, mean
from mobilenetv2.studies.statistics import judge as verdict_on
from mobilenetv2.studies.study import Case, Factor, Finding, Options, Outcome, Study, Table

WHOLE = 1
SPLITS: tuple[Factor, ...] = (WHOLE, 2, 3, 4, 5, 6, ALL)
"""Numbers of slices of the expanded tensor; 'all' is one slice for each of its channels."""
SMALL = (2, 3, 4, 5)
"""Splits that the paper recommends."""
ENGINES = ("numpy", "torch")
ROUNDS = 9
"""Number of runs of a whole and a split block in turns, whose times are compared."""
LITTLE = 0.25
"""Additional time up to which the study says that a split costs little."""
MUCH = 0.25
"""Share of the memory that a significant reduction saves at least."""
CLOSE = 0.1
"""Largest difference of measured and computed memory, as a share of the computed."""
ORANGE = "#dd7d1c"


def spec_of(options: Options) -> NetworkSpec:
    """Return the paper's network; with ``--quick`` its narrowest one."""
    return NetworkSpec(width=0.35) if options.quick else NetworkSpec()


@cache
def blocks_of(spec: NetworkSpec, seed: int) -> tuple[tuple[Block, Layers, NDArray, NDArray], ...]:
    """Return every block of a network with random weights, with its input and output.

    The edition computes these for one random image: (channels, height, width).
    """
    network = edition.build(spec, seed=seed)
    generator = np.random.default_rng(seed)
    image = generator.standard_normal((1, spec.input_channels, *spec.size)).astype(np.float32)
    tensors, folded = network.intermediates(image), fold(spec, network.arrays)
    names = ["stem", *(f"blocks.{block.index}" for block in resolve(spec).blocks)]
    return tuple(
        (block, layers_of(spec, folded, block), tensors[before][0], tensors[after][0])
        for block, (before, after) in zip(resolve(spec).blocks, pairwise(names), strict=True)
    )


def grid(options: Options) -> Sequence[dict[str, Factor]]:
    """Return the cases: library, split and block."""
    splits = (WHOLE, 2, 5, ALL) if options.quick else SPLITS
    return [
        {"engine": engine, "split": split, "block": block.index}
        for engine in ENGINES for split in splits for block in resolve(spec_of(options)).blocks
    ]  # fmt: skip


def measure(case: Case, options: Options) -> Outcome:
    """Run a block of a network with random weights on its input in the edition."""
    split, engine = case.factors["split"], case.factors["engine"]
    blocks = blocks_of(spec_of(options), case.seed)
    block, layers, x, expected = blocks[int(case.factors["block"])]
    whole, parts = (
        torch_runner(layers, one)
        if engine == "torch"
        else partial(run_in_slices, layers, split=one)
        for one in (WHOLE, split)
    )
    times = np.array(list(_times(whole, parts, x, 2 if options.quick else ROUNDS)))
    before, after = (float(one) for one in np.median(times, 0))
    error = float(np.abs(parts(x) - expected).max() / np.abs(expected).max())
    # Rounding differs between processors, and buffers between versions of NumPy.
    timed = {"whole milliseconds": before, "milliseconds": after, "difference": error}
    if engine == "torch":
        return Outcome({}, timed)
    needed = split_memory(block, slice_count(block.inner_channels, split))
    return Outcome(
        {"ends": BYTES * needed.ends, "slice": BYTES * needed.slice},
        {"measured": measured_bytes(layers, x, split), **timed},
    )


def _times(
    whole: Callable[[NDArray], NDArray], parts: Callable[[NDArray], NDArray], x: NDArray,
    rounds: int,
) -> Iterator[tuple[float, float]]:  # fmt: skip
    """Yield the milliseconds of a whole and a split block, which take turns."""
    for number in range(rounds + 1):
        taken = []
        for run in (whole, parts):
            start = time.perf_counter()
            run(x)
            taken.append(1000 * (time.perf_counter() - start))
        if number:  # the first round warms up
            yield taken[0], taken[1]


def block_bytes(table: Table, split: Factor, what: str) -> list[float]:
    """Return the bytes of every block: of its 'ends' or its 'slice', or all 'measured' ones."""
    chosen = table.where(engine="numpy", split=split)
    return [  # over the seeds
        max(chosen.by_seed(what, block=block).values()) for block in chosen.levels("block")
    ]


@dataclass(frozen=True, slots=True)
class Peak:
    """The block that takes most memory at one split, and its bytes."""

    block: int
    ends: float
    computed: float
    measured: float


def peak(table: Table, split: Factor) -> Peak:
    """Return the block with the largest measured memory."""
    ends, inner, measured = (
        block_bytes(table, split, what) for what in ("ends", "slice", "measured")
    )
    block = int(np.argmax(measured))
    return Peak(block, ends[block], ends[block] + inner[block], measured[block])


def judge(table: Table) -> Sequence[Finding]:
    """Return what was found about section 5.1 of the paper."""
    peaks = {split: peak(table, split) for split in table.levels("split")}
    return [
        _reduced(peaks), _dominated(peaks), _cheap(table), _dear(table), _formula(peaks)
    ]  # fmt: skip


def _exactly(claim: str, holds: bool, found: str, value: float) -> Finding:
    """Return a finding about memory, which no seed changes."""
    return Finding(claim, "held" if holds else "did not hold", found, value, (value, value), 1)


def _formula(peaks: dict[Factor, Peak]) -> Finding:
    more = [one.measured / one.computed - 1 for one in peaks.values()]
    worst = max(more, key=abs)
    return _exactly(
        "A block needs the memory of its input, its output and one slice of the expanded tensor "
        "(paper, section 5.1).",
        abs(worst) < CLOSE,
        f"The measured peak of the network was {100 * min(more):.1f}% to {100 * max(more):.1f}% "
        "above the computed one, over all splits.",
        worst,
    )


def _reduced(peaks: dict[Factor, Peak]) -> Finding:
    whole = peaks[WHOLE].measured
    saved = {split: 1 - one.measured / whole for split, one in peaks.items()}
    shown = ", ".join(
        f"{_kilobytes(one.measured)} {_times_split(split)} (block {one.block})"
        for split, one in peaks.items()
    )
    small = [split for split in peaks if split in SMALL]
    return _exactly(
        "A split into 2 to 5 slices significantly reduces the memory of a block (paper, section "
        "5.1).",
        min(saved[split] for split in small) > MUCH,
        f"The largest block took {shown}: {saved[small[0]]:.0%} less in {small[0]} slices, "
        f"{saved[small[-1]]:.0%} in {small[-1]}, and {saved[ALL]:.0%} channel by channel.",
        saved[small[-1]],
    )


def _dominated(peaks: dict[Factor, Peak]) -> Finding:
    shares = {split: one.ends / one.measured for split, one in peaks.items()}
    shown = ", ".join(f"{share:.0%} {_times_split(split)}" for split, share in shares.items())
    return _exactly(
        "The memory of a block that runs channel by channel is dominated by its input and output, "
        "not by the tensors inside (paper, section 5.1).",
        shares[ALL] > 0.5,
        f"Input and output were {shown} of the largest block's memory.",
        shares[ALL],
    )


def _cheap(table: Table) -> Finding:
    """Judge the recommended splits by the slowest of them, with either library."""
    slow = {
        (engine, split): _slowdown(table, engine, split)
        for engine in ENGINES for split in table.levels("split") if split in SMALL
    }  # fmt: skip
    (engine, split), worst = max(slow.items(), key=lambda item: item[1].value)
    shown = "; ".join(
        f"{name}: " + ", ".join(
            f"{one.value:+.0%} in {parts}" for (of, parts), one in slow.items() if of == name
        ) for name in ENGINES
    )  # fmt: skip
    return Finding(
        "A split into 2 to 5 slices keeps most of the speed of optimised matrix products (paper, "
        "section 5.1).",
        verdict_on((worst.interval[0] - LITTLE, worst.interval[1] - LITTLE), "below"),
        f"The blocks' time changed by {shown} slices; the largest change, {engine} in {split}, was "
        f"{_percent(worst)}, where up to {LITTLE:.0%} counts as little.",
        worst.value, worst.interval, worst.n, "share",
    )  # fmt: skip


def _dear(table: Table) -> Finding:
    numpy, torch = (_slowdown(table, engine, ALL) for engine in ENGINES)
    slowest = min(numpy, torch, key=lambda one: one.value)
    return Finding(
        "Many small matrix products instead of one cost time (paper, section 5.1).",
        verdict_on(slowest.interval, "above"),
        f"Channel by channel, the blocks' time changed by {_percent(numpy)} with numpy and by "
        f"{_percent(torch)} with torch.",
        slowest.value, slowest.interval, slowest.n, "share",
    )  # fmt: skip


def _slowdown(table: Table, engine: str, split: Factor) -> Estimate:
    """Return the additional time of a split as a share of the whole blocks'; n counts seeds."""
    totals: dict[str, dict[int, float]] = {"milliseconds": {}, "whole milliseconds": {}}
    for row in table.where(engine=engine, split=split):
        if row.measure in totals:
            sums = totals[row.measure]
            sums[row.case.seed] = sums.get(row.case.seed, 0) + row.value
    after, before = totals.values()
    return mean([after[seed] / before[seed] - 1 for seed in after])


def _percent(estimate: Estimate) -> str:
    low, high = (f"{end:+.0%}" for end in estimate.interval)
    return f"{estimate.value:+.0%} (95% interval {low} to {high}, n = {estimate.n})"


def _times_split(split: Factor) -> str:
    return {WHOLE: "whole", ALL: "channel by channel"}.get(split, f"in {split} slices")


def _kilobytes(count: float) -> str:
    return f"{count / 1000:,.0f} KB"


def draw(table: Table, path: Path) -> None:
    """Draw memory by block and by split, and time by split."""
    figure, (blocks, peaks, times) = canvas(1, 3, (13, 4.4))
    splits = table.levels("split")
    names = ["all" if split == ALL else str(split) for split in splits]
    middle = splits[len(splits) // 2]
    for split, colour, shift in ((WHOLE, GREY, -0.2), (middle, BLUE, 0.2)):
        ends, inner, measured = (
            np.array(block_bytes(table, split, what)) / 1e6
            for what in ("ends", "slice", "measured")
        )
        places, name = np.arange(len(ends)) + shift, _times_split(split)
        blocks.bar(places, ends, 0.4, color=colour, label=f"{name}: input and output")
        blocks.bar(places, inner, 0.4, ends, color=colour, alpha=0.4, label=f"{name}: inside")
        blocks.plot(places, measured, "_", color="black", markersize=6)
    blocks.set_xticks(range(0, len(ends), 2))
    blocks.plot([], [], "_", color="black", label="measured")
    blocks.set_title(f"Memory by block, whole and in {middle} slices, MB", loc="left", fontsize=10)
    blocks.set_xlabel("block")
    found, places = [peak(table, split) for split in splits], np.arange(len(splits), dtype=float)
    outside = [one.ends / 1e6 for one in found]
    slices = [(one.computed - one.ends) / 1e6 for one in found]
    peaks.bar(places, outside, color=BLUE, label="input and output")
    peaks.bar(
        places, slices, bottom=outside, color=BLUE, alpha=0.4, label="slice of the expanded tensor"
    )
    peaks.plot(
        places, [one.measured / 1e6 for one in found], "_", color="black", markersize=14,
        label="measured",
    )  # fmt: skip
    peaks.set_title("Largest block of the network, MB", loc="left", fontsize=10)
    for engine, colour in zip(ENGINES, (BLUE, ORANGE), strict=True):
        slow = [_slowdown(table, engine, split) for split in splits]
        reach = [one.interval[1] - one.value if one.n > 1 else 0 for one in slow]
        times.errorbar(
            places, [1 + one.value for one in slow], reach, color=colour, marker="o",
            markersize=4, capsize=3, label=engine,
        )  # fmt: skip
    times.axhline(1, color=GREY, linewidth=1, linestyle="--")
    times.set_title("Time, split to whole", loc="left", fontsize=10)
    times.set_yscale("log")
    ticks = require("matplotlib.ticker")
    times.yaxis.set_major_formatter(ticks.FormatStrFormatter("%g"))
    times.yaxis.set_minor_formatter(ticks.NullFormatter())
    times.yaxis.set_major_locator(ticks.LogLocator(10, (1, 2, 5)))
    for axis in (peaks, times):
        axis.set_xticks(places, names)
        axis.set_xlabel("slices")
    for axis in (blocks, peaks, times):
        axis.grid(alpha=0.25)
        axis.legend(frameon=False, fontsize=8)
    save_figure(figure, path)


STUDY = Study(
    name="memory",
    title="How much memory does a block need if its expansion is computed in slices?",
    about=(
        "The projection of an inverted block is a sum over the expanded channels, and the "
        "depthwise convolution treats each of them by itself. So the expanded tensor never has to "
        "exist as a whole: the paper (section 5.1) computes it in t slices, and recommends t "
        "between 2 and 5, since more slices mean smaller matrix products, which are slower. Here "
        "every block of the paper's network (width 1.0, 224 pixels, one image, float32, random "
        "weights) runs whole and split, in NumPy and with PyTorch's operators. The memory is "
        "computed from the sizes and measured with tracemalloc in NumPy: the largest number of "
        "bytes at once, with the block's input and output and without the weights. The time is the "
        "sum of all 17 blocks on one thread; a whole and a split block take turns, and medians are "
        "compared. Each output is compared with the NumPy edition's."
    ),
    limits=(
        "Times are of one machine and of two libraries, neither of which was written for split "
        "blocks; a runtime that fuses a block could be faster or slower. PyTorch's memory is not "
        "measured."
    ),
    grid=grid, measure=measure, judge=judge, draw=draw, alone=True, packages=("torch",),
)  # fmt: skip
