"""Study `memory`: memory and time of a block whose expansion is computed in slices."""

import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.editions import numpy as edition
from mobilenetv2.errors import require
from mobilenetv2.evaluation.plots import BLUE, GREY, canvas, save_figure
from mobilenetv2.model.folding import Folded, fold
from mobilenetv2.spec.blocks import Block, Padding, resolve
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.studies.statistics import Estimate, mean
from mobilenetv2.studies.statistics import judge as verdict_on
from mobilenetv2.studies.study import Case, Factor, Finding, Options, Outcome, Study, Table

WHOLE, ALL = 1, "all"
SPLITS: tuple[Factor, ...] = (WHOLE, 2, 3, 4, 5, 6, ALL)
"""Numbers of slices of the expanded tensor; 'all' is one slice for each of its channels."""
SMALL = (2, 3, 4, 5)
"""Splits that the paper recommends."""
ENGINES = ("numpy", "torch")
ROUNDS = 9
"""Number of runs of the whole and the split network in turns, whose times are compared."""
SCRATCH = 4096
"""Values of an intermediate product that is added at once (16 KB): it stays in the nearest cache,
and it is small beside the tensors."""
LITTLE = 0.25
"""Additional time up to which the study says that a split costs little."""
MUCH = 0.25
"""Share of the memory that a significant reduction saves at least."""
CLOSE = 0.1
"""Largest difference of measured and computed memory, as a share of the computed."""
BYTES = 4
ORANGE = "#dd7d1c"


@dataclass(frozen=True, slots=True)
class Layers:
    """An inverted block with folded BatchNorm, as the two functions below run it."""

    expand: tuple[NDArray, NDArray] | None
    """Weight (inner, in) and bias (inner,); None if the block has no expansion."""
    depthwise: tuple[NDArray, NDArray]
    """Weight (inner, 3, 3) and bias (inner,)."""
    project: tuple[NDArray, NDArray]
    """Weight (out, inner) and bias (out,)."""
    stride: int
    padding: Padding
    out_size: tuple[int, int]
    bound: float
    """Upper bound of the activation: 6 for ReLU6, infinity for ReLU."""
    residual: bool


@dataclass(frozen=True, slots=True)
class Held:
    """Values that are held at once while a block runs, computed from its sizes."""

    ends: int
    """Values of the block's input and output."""
    slice: int
    """Values of the largest slice of the expanded tensor, before and after the 3x3 convolution."""

    @property
    def bytes(self) -> int:
        """Number of bytes in float32."""
        return BYTES * (self.ends + self.slice)


def layers_of(spec: NetworkSpec, folded: Folded, block: Block) -> Layers:
    """Return a block of a network with identity shortcuts and inverted blocks only."""
    assert block.kind == "inverted" and block.shortcut is None
    matrices = [
        (weight.squeeze() if step.role == "depthwise" else weight[..., 0, 0], bias)
        for step in block.steps
        for weight, bias in [folded[step.name]]
    ]
    return Layers(
        matrices[0] if block.expand else None, matrices[-2], matrices[-1], block.stride,
        block.depthwise.padding, block.out_size,
        6.0 if spec.numerics.activation == "relu6" else np.inf, block.residual,
    )  # fmt: skip


def slices(channels: int, split: Factor) -> list[slice]:
    """Return the parts of the expanded channels, as equal as they can be."""
    count = channels if split == ALL else min(int(split), channels)
    ends = np.linspace(0, channels, count + 1).round().astype(int)
    return [slice(int(low), int(high)) for low, high in pairwise(ends)]


def held(block: Block, split: Factor) -> Held:
    """Return the values that a block needs (paper, section 5.1)."""
    channels = max(part.stop - part.start for part in slices(block.inner_channels, split))
    inside, outside = (
        int(np.prod(size)) for size in (block.depthwise.in_size, block.depthwise.out_size)
    )
    return Held(
        block.in_channels * inside + block.out_channels * outside,
        # Without an expansion the depthwise convolution reads the block's input itself.
        channels * (outside + (inside if block.expand else 0)),
    )


def run_in_slices(layers: Layers, x: NDArray, split: Factor) -> NDArray:
    """Return the output of a block; only one slice of the expanded tensor exists at a time.

    The projection is a sum over the expanded channels, and everything before it treats each of them
    by itself. So a slice is expanded, convolved, activated, and its part of the sum added.

    Args:
        layers: the block.
        x: (in_channels, height, width).
        split: number of slices.

    Returns:
        (out_channels, out_height, out_width).
    """
    parts = slices(len(layers.depthwise[1]), split)
    most = max(part.stop - part.start for part in parts)
    project, bias = layers.project
    out = np.empty((len(bias), *layers.out_size), x.dtype)
    out[...] = bias[:, None, None]
    narrow = np.empty((most, *layers.out_size), x.dtype)
    wide = None if layers.expand is None else np.empty((most, *x.shape[1:]), x.dtype)
    for part in parts:
        count = part.stop - part.start
        if layers.expand is None or wide is None:
            expanded = x[part]
        else:
            expanded = wide[:count]
            weight, shift = (array[part] for array in layers.expand)
            np.matmul(weight, _pixels(x), out=_pixels(expanded))
            expanded += shift[:, None, None]
            _activate(expanded, layers.bound)
        _convolve(layers, part, expanded, narrow[:count])
        _add_product(project[:, part], _pixels(narrow[:count]), _pixels(out))
    if layers.residual:
        out += x
    return out


def _pixels(x: NDArray) -> NDArray:
    """Return a tensor as a matrix (channels, pixels), without a copy."""
    return x.reshape(len(x), -1)


def _activate(x: NDArray, bound: float) -> None:
    """Clip ``x`` in place to 0 to ``bound``."""
    np.clip(x, 0, bound, out=x)


def _convolve(layers: Layers, part: slice, x: NDArray, out: NDArray) -> None:
    """Write the activated depthwise convolution of a slice into ``out``."""
    weight, bias = (array[part] for array in layers.depthwise)
    out[...] = bias[:, None, None]
    group = max(1, SCRATCH // (out.shape[1] * out.shape[2]))
    scratch = np.empty((min(group, len(x)), *out.shape[1:]), x.dtype)
    for first in range(0, len(x), group):
        chosen = slice(first, first + group)
        for row in range(3):
            for column in range(3):
                (to_rows, rows), (to_columns, columns) = (
                    _overlap(place - before, layers.stride, side, out_side)
                    for place, (before, _), side, out_side in zip(
                        (row, column), layers.padding, x.shape[1:], out.shape[1:], strict=True
                    )
                )
                seen, target = x[chosen, rows, columns], out[chosen, to_rows, to_columns]
                product = scratch[: len(seen), : target.shape[1], : target.shape[2]]
                np.multiply(seen, weight[chosen, row, column, None, None], out=product)
                target += product
    _activate(out, layers.bound)


def _overlap(shift: int, stride: int, side: int, out_side: int) -> tuple[slice, slice]:
    """Return the outputs that read a pixel inside the image, and these pixels, along one side.

    Output number o reads the pixel ``o * stride + shift``; pixels outside are zeros.
    """
    first = max(0, -(shift // stride))
    last = min(out_side - 1, (side - 1 - shift) // stride)
    start = first * stride + shift
    return slice(first, last + 1), slice(start, last * stride + shift + 1, stride)


def _add_product(weight: NDArray, x: NDArray, out: NDArray) -> None:
    """Add ``weight @ x`` to ``out``, some pixels at a time."""
    width = max(1, SCRATCH // len(out))
    for first in range(0, out.shape[1], width):
        pixels = slice(first, first + width)
        target = out[:, pixels]
        target += weight @ x[:, pixels]


def torch_runner(layers: Layers, split: Factor) -> Callable[[NDArray], NDArray]:
    """Return a function that computes the same with PyTorch's operators."""
    torch = require("torch")
    functional = torch.nn.functional
    parts = slices(len(layers.depthwise[1]), split)
    activate = torch.nn.functional.relu6 if layers.bound == 6 else torch.nn.functional.relu

    def tensor(array: NDArray) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array))

    steps = [
        (
            layers.expand and [tensor(layers.expand[0][part, :, None, None]),
                               tensor(layers.expand[1][part])],
            [tensor(layers.depthwise[0][part, None]), tensor(layers.depthwise[1][part])],
            tensor(layers.project[0][:, part, None, None]),
            part,
        )
        for part in parts
    ]  # fmt: skip
    bias = tensor(layers.project[1])
    (top, bottom), (left, right) = layers.padding

    def run(x: NDArray) -> NDArray:
        given, total = tensor(x[None]), None
        for expand, depthwise, project, part in steps:
            y = given[:, part]
            if expand:
                y = activate(functional.conv2d(given, *expand), inplace=True)
            if (top, left) != (bottom, right):
                y, padding = functional.pad(y, (left, right, top, bottom)), (0, 0)
            else:
                padding = (top, left)
            y = functional.conv2d(y, *depthwise, layers.stride, padding, groups=y.shape[1])
            y = functional.conv2d(
                activate(y, inplace=True), project, bias if total is None else None
            )
            total = y if total is None else total.add_(y)
        found = total + given if layers.residual else total
        return np.asarray(found[0].numpy())

    return run


def measured_bytes(layers: Layers, x: NDArray, split: Factor) -> int:
    """Return the largest number of bytes that Python and NumPy hold at once, with ``x``.

    NumPy's own buffers, some 50 KB, are counted. Weights are not, and neither are the buffers of
    the library that multiplies matrices, whose size does not depend on the tensors.
    """
    run_in_slices(layers, x, split)  # what is made once does not count
    tracemalloc.start()
    try:
        given = x.copy()
        run_in_slices(layers, given, split)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def spec_of(options: Options) -> NetworkSpec:
    """Return the paper's network; with ``--quick`` its narrowest one."""
    return NetworkSpec(width=0.35) if options.quick else NetworkSpec()


def grid(options: Options) -> Sequence[dict[str, Factor]]:
    """Return the cases: library and split."""
    splits = (WHOLE, 2, 5, ALL) if options.quick else SPLITS
    return [{"engine": engine, "split": split} for engine in ENGINES for split in splits]


def measure(case: Case, options: Options) -> Outcome:
    """Run every block of a network with random weights on its input in the edition."""
    split, engine = case.factors["split"], str(case.factors["engine"])
    spec = spec_of(options)
    network = edition.build(spec, seed=case.seed)
    generator = np.random.default_rng(case.seed)
    image = generator.standard_normal((1, spec.input_channels, *spec.size)).astype(np.float32)
    tensors = network.intermediates(image)
    folded = fold(spec, network.arrays)
    values, timed = dict[str, float](), dict[str, float]()
    inputs, different = [], 0.0
    whole, parts = list[Callable[[NDArray], NDArray]](), list[Callable[[NDArray], NDArray]]()
    for block in resolve(spec).blocks:
        layers, name = layers_of(spec, folded, block), f"block {block.index}"
        x = tensors[f"blocks.{block.index - 1}" if block.index else "stem"][0]
        inputs.append(x)
        whole.append(_runner(engine, layers, WHOLE))
        parts.append(_runner(engine, layers, split))
        expected = tensors[f"blocks.{block.index}"][0]
        difference = np.abs(parts[-1](x) - expected).max() / np.abs(expected).max()
        different = max(different, float(difference))
        if engine == "numpy":
            needed = held(block, split)
            values[f"{name} ends"] = BYTES * needed.ends
            values[f"{name} slice"] = BYTES * needed.slice
            timed[f"{name} measured"] = measured_bytes(layers, x, split)
    # Rounding differs between processors, so that this is no value.
    timed["difference"] = different
    times = np.array(list(_times(whole, parts, inputs, 2 if options.quick else ROUNDS)))
    timed |= {"whole milliseconds": float(np.median(times[:, 0])),
              "milliseconds": float(np.median(times[:, 1])),
              "slowdown": float(np.median(times[:, 1] / times[:, 0]))}  # fmt: skip
    return Outcome(values, timed)


def _runner(engine: str, layers: Layers, split: Factor) -> Callable[[NDArray], NDArray]:
    if engine == "torch":
        return torch_runner(layers, split)
    return lambda x: run_in_slices(layers, x, split)


def _times(
    whole: Sequence[Callable[[NDArray], NDArray]],
    parts: Sequence[Callable[[NDArray], NDArray]],
    inputs: Sequence[NDArray],
    rounds: int,
) -> Iterator[tuple[float, float]]:
    """Yield the milliseconds of all blocks, whole and split, which take turns."""
    for number in range(rounds + 1):
        taken = {}
        order = (whole, parts) if number % 2 else (parts, whole)
        for blocks in order:
            start = time.perf_counter()
            for block, x in zip(blocks, inputs, strict=True):
                block(x)
            taken[id(blocks)] = 1000 * (time.perf_counter() - start)
        if number:  # the first round warms up
            yield taken[id(whole)], taken[id(parts)]


def block_bytes(table: Table, split: Factor, what: str) -> list[float]:
    """Return the bytes of every block: of its 'ends' or its 'slice', or all 'measured' ones."""
    found: dict[int, float] = {}
    for row in table.where(engine="numpy", split=split):
        if row.measure.startswith("block ") and row.measure.endswith(f" {what}"):
            index = int(row.measure.split()[1])
            found[index] = max(row.value, found.get(index, 0))  # over the seeds
    return [found[index] for index in sorted(found)]


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
        "The memory of a split block is dominated by its input and output, not by the tensors "
        "inside (paper, section 5.1).",
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
        worst.value, worst.interval, worst.n,
    )  # fmt: skip


def _dear(table: Table) -> Finding:
    numpy, torch = (_slowdown(table, engine, ALL) for engine in ENGINES)
    slowest = min(numpy, torch, key=lambda one: one.value)
    return Finding(
        "Many small matrix products instead of one cost time (paper, section 5.1).",
        verdict_on(slowest.interval, "above"),
        f"Channel by channel, the blocks' time changed by {_percent(numpy)} with numpy and by "
        f"{_percent(torch)} with torch.",
        slowest.value, slowest.interval, slowest.n,
    )  # fmt: skip


def _slowdown(table: Table, engine: str, split: Factor) -> Estimate:
    """Return the additional time of a split as a share of the whole block's; n counts seeds."""
    ratios = table.by_seed("slowdown", engine=engine, split=split)
    return mean([ratio - 1 for ratio in ratios.values()])


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
    for split, colour, width in ((WHOLE, GREY, 0.8), (middle, BLUE, 0.5)):
        ends, inner, measured = (
            np.array(block_bytes(table, split, what)) / 1e6
            for what in ("ends", "slice", "measured")
        )
        places = np.arange(len(ends))
        blocks.bar(places, ends, width, color=colour, label=f"{split}: input and output")
        blocks.bar(places, inner, width, ends, color=colour, alpha=0.4, label=f"{split}: slice")
        blocks.plot(places, measured, "_", color="black", markersize=8)
    blocks.plot([], [], "_", color="black", label="measured")
    blocks.set_title(f"Memory by block, whole and in {middle} slices, MB", loc="left", fontsize=10)
    blocks.set_xlabel("block")
    found = [peak(table, split) for split in splits]
    places = np.arange(len(splits))
    inner = [(one.computed - one.ends) / 1e6 for one in found]
    peaks.bar(places, [one.ends / 1e6 for one in found], color=BLUE, label="input and output")
    peaks.bar(places, inner, bottom=[one.ends / 1e6 for one in found], color=BLUE, alpha=0.4,
              label="slice of the expanded tensor")  # fmt: skip
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
        "bytes at once, with the block's input and output and without the weights. The time is of "
        "all 17 blocks on one thread; whole and split take turns, and the ratio of their times is "
        "compared. Each output is compared with the NumPy edition's."
    ),
    limits=(
        "Times are of one machine and of two libraries, neither of which was written for split "
        "blocks; a runtime that fuses a block could be faster or slower. PyTorch's memory is not "
        "measured."
    ),
    grid=grid, measure=measure, judge=judge, draw=draw, alone=True, packages=("torch",),
)  # fmt: skip
