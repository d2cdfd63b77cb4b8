"""Calibration: statistics of tensors on calibration images, and the ranges of their 8 bits.

There are two passes: :func:`observe` finds each channel's extremes; :func:`count` then fills
histograms between them. The network runs in ONNX Runtime with every tensor as an output, a few
images at a time, so that the memory does not grow with their number.

A wide range clips nothing but has coarse steps; a narrow range clips values but has fine steps. The
methods are:

* 'min-max': clip nothing.
* 'percentile': clip a small fraction of the values.
* 'mse': minimise the mean squared error of rounding and clipping together.
* 'entropy': minimise the change of the distribution (Kullback-Leibler divergence), as in TensorRT's
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
from mobilenetv2.runtime.engines import onnxruntime
from mobilenetv2.runtime.engines.engine import Artifact

BINS = 4096
"""Number of bins, sixteen for each of the 256 levels of a range without clipping."""
VALUES = 16_000_000
"""Maximum number of values of all tensors that are in memory at a time."""

Pictures = NDArray | Sequence[NDArray]
"""Images, uint8 (height, width, channels) each, at the network's size, as from ``preprocess``."""
Method = Literal["min-max", "percentile", "mse", "entropy"]
PERCENTILE = 99.99
SHARES = np.linspace(1.0, 0.1, 91)
"""Fractions of the whole range that are tried."""
ROUNDS = 2
"""Number of rounds in which the two ends are moved in turn."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Statistics of one tensor by channel; each array is float64 (channels,)."""

    low: NDArray
    high: NDArray
    mean: NDArray
    """Mean over images and positions."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Histogram of a tensor's values around evenly spaced centres."""

    low: float
    """First centre: the smallest value, or 0 if that is smaller."""
    high: float
    """Last centre: the largest value, or 0 if that is larger."""
    counts: NDArray
    """Number of values per bin, int64 (bins,)."""

    @property
    def centres(self) -> NDArray:
        """Centres of the bins, float64 (bins,); both ends are centres themselves."""
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
        observed: observations of the same graph on the same images.
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
    """Yield all tensors for a few images at a time: float32 (batch, channels, ...) by name.

    Raises:
        DataError: there is no image.
    """
    if len(pictures) == 0:
        raise DataError("calibration needs at least one image")
    config, data = graph.config, write_onnx(graph.with_intermediates())
    engine = onnxruntime.create_engine(Artifact(config, "onnx", data, "calibration"))
    each = sum(tensor.channels * tensor.pixels for tensor in graph.tensors.values())
    batch = max(1, min(32, VALUES // each))
    for start in track(range(0, len(pictures), batch), "calibrating", len(pictures), batch):
        x = engine_input(np.stack([*pictures[start : start + batch]]), config.preprocessing)
        outputs = engine.session.run(list(engine.outputs), {engine.input: x})
        yield {INPUT: x, **dict(zip(engine.outputs, outputs, strict=True))}


def calibrate(histogram: Histogram, method: Method, tensor: Tensor | None = None) -> Range:
    """Return the range found by a method, limited to the tensor's bounds."""
    chosen = METHODS[method](histogram)
    if tensor is None:
        return chosen
    return Range(max(chosen.low, tensor.low), min(chosen.high, tensor.high))


def min_max(histogram: Histogram) -> Range:
    """Return the range from the smallest to the largest value."""
    return Range(min(histogram.low, 0.0), max(histogram.high, 0.0))


def percentile(histogram: Histogram, percent: float = PERCENTILE) -> Range:
    """Return a range that contains at least ``percent`` of the values.

    At most half of the others lie beyond either end.
    """
    total = np.cumsum(histogram.counts)
    beyond = total[-1] * (1 - percent / 100) / 2
    centres = histogram.centres
    low = centres[np.searchsorted(total, beyond, side="right")]
    high = centres[np.searchsorted(total, total[-1] - beyond, side="left")]
    return Range(min(float(low), 0.0), max(float(high), 0.0))


def mse(histogram: Histogram) -> Range:
    """Return the range with the smallest mean squared error, among others of :func:`min_max`."""
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
    """Return the mean squared difference between values and their 8-bit representations."""
    centres = histogram.centres
    integers = np.clip(np.rint(centres / given.scale) + given.zero_point, 0, LEVELS)
    errors = (centres - given.scale * (integers - given.zero_point)) ** 2
    return float(errors @ histogram.counts / max(histogram.counts.sum(), 1))


def entropy(histogram: Histogram) -> Range:
    """Return the range with the smallest divergence of the rounded from the clipped distribution.

    Both ends move towards 0 together.
    """
    tried = [Range(share * histogram.low, share * histogram.high) for share in SHARES.tolist()]
    return min(tried, key=lambda candidate: divergence(histogram, candidate))


def divergence(histogram: Histogram, given: Range) -> float:
    """Return the Kullback-Leibler divergence in nats; infinite if a bin that was hit becomes empty.

    Exact zeros, of which ReLU makes many, are left out, since every range contains them.
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
