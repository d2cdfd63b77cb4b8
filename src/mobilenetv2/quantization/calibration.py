"""What a tensor holds on calibration pictures, and the range that its 8 bits span.

Two passes: :func:`observe` finds each channel's extremes, :func:`count` then fills histograms that
need no guess of their ends. The network runs in ONNX Runtime with every tensor as an output, a few
pictures at a time, so that memory does not grow with their number.

A wide range cuts nothing off and has coarse steps, a narrow one the other way round. The methods:

* 'min-max': nothing is cut off.
* 'percentile': a small share of the values is, however large they are.
* 'mse': the mean squared error of rounding and cutting together is least.
* 'entropy': the distribution changes least (Kullback-Leibler divergence), as in TensorRT's
  calibration (Migacz, GTC 2017).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import DataError
from mobilenetv2.graph.graph import INPUT, Graph, Tensor
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.progress import track
from mobilenetv2.quantization.scheme import LEVELS, Range
from mobilenetv2.runtime import onnxruntime
from mobilenetv2.runtime.engine import Artifact

BINS = 4096
"""Sixteen for each of the 256 levels of a range that is not cut."""
VALUES = 16_000_000
"""Of all tensors together, that are in memory at a time."""

Pictures = NDArray | Sequence[NDArray]
"""uint8 (height, width, channels) each, at the network's size, as ``images.preprocess`` gives."""
Method = Literal["min-max", "percentile", "mse", "entropy"]
PERCENTILE = 99.99
SHARES = np.linspace(1.0, 0.1, 91)
"""Of the whole range, that are tried."""
ROUNDS = 2
"""In which the two ends are moved, one after the other."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One tensor, channel by channel; each float64 (channels,)."""

    low: NDArray
    high: NDArray
    mean: NDArray
    """Over pictures and positions."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often a tensor's values come near each of evenly spaced centres."""

    low: float
    """The first centre: the smallest value, 0 at the most."""
    high: float
    """The last centre: the largest value, 0 at the least."""
    counts: NDArray
    """int64 (bins,)."""

    @property
    def centres(self) -> NDArray:
        """float64 (bins,). What sits at the ends (0 and 6 of ReLU6) is counted exactly there."""
        return np.linspace(self.low, self.high, len(self.counts))


def observe(graph: Graph, pictures: Pictures) -> dict[str, Observation]:
    """Return extremes and means of every tensor of a float graph, by name."""
    seen: dict[str, Observation] = {}
    for tensors in run_graph(graph, pictures):
        for name, values in tensors.items():
            flat = values.reshape(*values.shape[:2], -1)
            low, high = (ends.astype(np.float64) for ends in (flat.min((0, 2)), flat.max((0, 2))))
            mean = flat.mean(2, dtype=np.float64).sum(0)
            if name in seen:
                low, high = np.minimum(low, seen[name].low), np.maximum(high, seen[name].high)
                mean = seen[name].mean + mean
            seen[name] = Observation(low, high, mean)
    return {
        name: replace(seen[name], mean=seen[name].mean / len(pictures)) for name in graph.tensors
    }


def count(
    graph: Graph, pictures: Pictures, observed: Mapping[str, Observation]
) -> dict[str, Histogram]:
    """Return histograms of every tensor, by name.

    Args:
        observed: of the same graph and pictures.
    """
    ends = {
        name: (min(float(one.low.min()), 0.0), max(float(one.high.max()), 0.0))
        for name, one in observed.items()
    }
    counts = {name: np.zeros(BINS, np.int64) for name in ends}
    for tensors in run_graph(graph, pictures):
        for name, values in tensors.items():
            low, high = ends[name]
            if high > low:
                places = (values.ravel() - np.float32(low)) * np.float32((BINS - 1) / (high - low))
                # Rounded: the bins lie around their centres. Rounding errors stay inside.
                places = np.clip(np.rint(places), 0, BINS - 1).astype(np.int32)
            else:
                places = np.zeros(values.size, np.int32)
            counts[name] += np.bincount(places, minlength=BINS)
    return {name: Histogram(*ends[name], counts[name]) for name in ends}


def run_graph(graph: Graph, pictures: Pictures) -> Iterator[dict[str, NDArray]]:
    """Yield all tensors of a few pictures after the other: float32 (batch, channels, ...) by name.

    Raises:
        DataError: no picture.
    """
    if len(pictures) == 0:
        raise DataError("calibration: not one picture is given")
    config, data = graph.config, write_onnx(graph.with_intermediates())
    engine = onnxruntime.create_engine(Artifact(config, "onnx", data, "calibration"))
    each = sum(tensor.channels * tensor.pixels for tensor in graph.tensors.values())
    batch = max(1, min(32, VALUES // each))
    for start in track(range(0, len(pictures), batch), "calibrating", len(pictures), batch):
        x = engine_input(np.stack([*pictures[start : start + batch]]), config.preprocessing)
        outputs = engine.session.run(list(engine.outputs), {engine.input: x})
        yield {INPUT: x, **dict(zip(engine.outputs, outputs, strict=True))}


def calibrate(histogram: Histogram, method: Method, tensor: Tensor | None = None) -> Range:
    """Return the range by a method's name, never beyond what the tensor can hold."""
    chosen = METHODS[method](histogram)
    if tensor is None:
        return chosen
    return Range(max(chosen.low, tensor.low), min(chosen.high, tensor.high))


def min_max(histogram: Histogram) -> Range:
    """Return the range from the smallest to the largest value."""
    return Range(min(histogram.low, 0.0), max(histogram.high, 0.0))


def percentile(histogram: Histogram, percent: float = PERCENTILE) -> Range:
    """Return a range with at least ``percent`` of the values inside, and half of the rest at the
    most beyond either end."""
    total = np.cumsum(histogram.counts)
    beyond = total[-1] * (1 - percent / 100) / 2
    centres = histogram.centres
    low = centres[np.searchsorted(total, beyond, side="right")]
    high = centres[np.searchsorted(total, total[-1] - beyond, side="left")]
    return Range(min(float(low), 0.0), max(float(high), 0.0))


def mse(histogram: Histogram) -> Range:
    """Return the range of the least mean squared error; :func:`min_max` is among those tried."""
    whole = best = min_max(histogram)
    least = squared_error(histogram, best)
    for end in ("high", "low") * ROUNDS:
        for share in SHARES.tolist():
            candidate = replace(best, **{end: share * getattr(whole, end)})
            error = squared_error(histogram, candidate)
            if error < least:
                best, least = candidate, error
    return best


def squared_error(histogram: Histogram, given: Range) -> float:
    """Return the mean of (value - what its 8 bits stand for) squared."""
    centres = histogram.centres
    integers = np.clip(np.rint(centres / given.scale) + given.zero_point, 0, LEVELS)
    errors = (centres - given.scale * (integers - given.zero_point)) ** 2
    return float(errors @ histogram.counts / max(histogram.counts.sum(), 1))


def entropy(histogram: Histogram) -> Range:
    """Return the range of the least divergence of the distribution that is cut off and rounded from
    that which is only cut off; both ends move towards 0 together."""
    tried = [Range(share * histogram.low, share * histogram.high) for share in SHARES.tolist()]
    return min(tried, key=lambda candidate: divergence(histogram, candidate))


def divergence(histogram: Histogram, given: Range) -> float:
    """Return the Kullback-Leibler divergence in nats, infinite where a bin is hit no more.

    Exact zeros, of which ReLU makes many, are left out: every range has them.
    """
    centres, counts = histogram.centres, histogram.counts.astype(np.float64)
    counts = np.where(np.abs(centres) < 1e-12, 0.0, counts)
    inside = (centres >= given.low - 1e-12) & (centres <= given.high + 1e-12)
    reference = counts[inside]
    if reference.sum() == 0:
        return np.inf
    levels = np.clip(np.rint(centres[inside] / given.scale) + given.zero_point, 0, LEVELS)
    levels = levels.astype(np.int64)
    # Each level's values are spread evenly over its bins that were hit at all.
    hit = reference > 0
    sums = np.bincount(levels, reference, LEVELS + 1)
    bins = np.maximum(np.bincount(levels, hit, LEVELS + 1), 1)
    rounded = np.where(hit, (sums / bins)[levels], 0.0)
    # What was cut off counts at the ends of the reference only: that is the price of cutting.
    reference = reference.copy()
    reference[0] += counts[centres < given.low - 1e-12].sum()
    reference[-1] += counts[centres > given.high + 1e-12].sum()
    p, q = reference / reference.sum(), rounded / rounded.sum()
    some = p > 0
    if (q[some] == 0).any():
        return np.inf
    return float((p[some] * np.log(p[some] / q[some])).sum())


METHODS: dict[Method, Callable[[Histogram], Range]] = {
    "min-max": min_max,
    "percentile": percentile,
    "mse": mse,
    "entropy": entropy,
}
