"""Cross-layer equalisation made for ReLU6: quiet channels use more of the 8 bits they share.

After Nagel et al., arXiv 1906.04721: a channel is divided by s where it is written and multiplied
by s where it is read; the function stays, and what is rounded changes. Two things are not theirs.

* What shares a scale is asked for. With a scale a weight it is the weight's rows: a channel whose
  row has the span a (of the weight's largest) and whose column in the next weight the span w is
  divided by ``sqrt(a / w)``, which leaves both with the same, as in the paper. With a scale a
  channel, rows need no help, but a tensor's channels still share one: a is then what the channel
  holds in calibration, w is of the largest in the column's rows, and s goes only half as far
  (:data:`EXPONENTS`), as rows of the next weight lose what its input wins.
* ReLU6 stays ReLU6. It commutes with s only where its 6 is not reached, before and after. A
  channel that reached 6 in calibration keeps s = 1; any other may grow until its largest value is
  6 / :data:`MARGIN`, so that pictures that were not seen have some room. With a scale a channel
  those behind a ReLU6 are left alone altogether: measured on Google's networks there is 0.2 to 0.5
  dB in it, and pictures of another kind than those of calibration, which reach the moved 6, pay 9.
  The linear tensors between blocks have no bound; those that additions tie together share one s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.graph.graph import LOGITS, Add, Conv, Graph, Linear, Pool
from mobilenetv2.graph.lowering import SIX
from mobilenetv2.model.folding import Folded
from mobilenetv2.quantization.calibration import Observation

MARGIN = 1.5
"""Between the largest value in calibration and 6, for channels that are made louder."""
EXPONENTS = {True: 0.25, False: 0.5}
"""Of a / w, by whether weights have a scale a channel."""
TINY = 1e-30
LARGEST_FACTOR = 64.0
"""A channel that hardly ever speaks is not made louder than that, nor its weights."""


@dataclass(slots=True)
class Stream:
    """Tensors whose channels can only be scaled together."""

    writers: list[str]
    tensors: list[str]
    readers: list[str] = field(default_factory=list)
    bounded: bool = False
    """One of them is behind a ReLU6."""


def streams(graph: Graph) -> list[Stream]:
    """Return all of a graph's, in order; the picture and the logits belong to none."""
    order: list[Stream] = []
    by_tensor: dict[str, Stream] = {}
    for operation in graph.operations:
        output = graph.tensors[operation.output]
        if isinstance(operation, Conv | Linear):
            if operation.input in by_tensor:
                by_tensor[operation.input].readers.append(operation.name)
            if operation.output == LOGITS:
                continue
            stream = Stream([operation.name], [operation.output])
            order.append(stream)
        elif isinstance(operation, Add):
            stream, later = sorted((by_tensor[name] for name in operation.inputs), key=order.index)
            if later is not stream:  # an addition ties its two tensors together
                stream.writers += later.writers
                stream.tensors += later.tensors
                stream.readers += later.readers
                order.remove(later)
                by_tensor |= dict.fromkeys(later.tensors, stream)
            stream.tensors.append(operation.output)
        elif isinstance(operation, Pool):
            stream = by_tensor[operation.input]
            stream.tensors.append(operation.output)
        else:
            continue
        stream.bounded |= output.high == SIX
        by_tensor[operation.output] = stream
    return order


def equalise(
    graph: Graph, folded: Folded, observed: Mapping[str, Observation], per_channel: bool = True
) -> tuple[Folded, dict[str, NDArray]]:
    """Return the weights of the same function with its channels scaled.

    Args:
        graph: float, of the weights and biases ``folded``.
        observed: of the graph on calibration pictures; on them the function is exactly the same
            but for float32's rounding.
        per_channel: whether weights will have a scale a channel.

    Returns:
        The scaled weights and biases, float32, and for each tensor the s of its channels.
    """
    pairs = dict(folded)
    depthwise = {op.name for op in graph.operations if isinstance(op, Conv) and op.groups > 1}
    factors: dict[str, NDArray] = {}
    for stream in streams(graph):
        s = _factors(pairs, depthwise, stream, observed, per_channel)
        for name in stream.writers:
            weight, bias = pairs[name]
            pairs[name] = (
                (weight / s.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.float32),
                (bias / s).astype(np.float32),
            )
        for name in stream.readers:
            weight, bias = pairs[name]
            pairs[name] = ((weight * _along(weight, s, name in depthwise)).astype(np.float32), bias)
        factors |= dict.fromkeys(stream.tensors, s)
    return pairs, factors


def scaled(
    observed: Mapping[str, Observation], factors: Mapping[str, NDArray]
) -> dict[str, Observation]:
    """Return what would be observed after equalisation."""
    return {
        name: Observation(*(part / factors[name] for part in (one.low, one.high, one.mean)))
        if name in factors
        else one
        for name, one in observed.items()
    }


def _along(weight: NDArray, s: NDArray, depthwise: bool) -> NDArray:
    """Shaped for the channels that a layer reads: a depthwise one reads by its first axis."""
    sides = [1] * weight.ndim
    sides[0 if depthwise else 1] = -1
    return s.reshape(sides)


def _factors(
    folded: Folded, depthwise: set[str], stream: Stream, observed: Mapping[str, Observation],
    per_channel: bool,
) -> NDArray:  # fmt: skip
    """float64 (channels,), 1 where a channel has to stay."""
    peaks = np.max([_loudest(observed[name]) for name in stream.tensors], axis=0)
    if stream.bounded and per_channel:
        return np.ones_like(peaks)
    if per_channel:
        span = peaks / max(float(peaks.max()), TINY)
    else:
        span = np.max([_rows(folded[name][0]) for name in stream.writers], axis=0)
    columns = np.max(
        [_columns(folded[name][0], name in depthwise, per_channel) for name in stream.readers],
        axis=0,
    )
    # A channel that is silent or that nobody hears has no better scale.
    heard = (peaks > 0) & (span > 0) & (columns > 0)
    ratio = np.where(heard, span, 1.0) / np.where(heard, columns, 1.0)
    s = np.clip(ratio ** EXPONENTS[per_channel], 1 / LARGEST_FACTOR, LARGEST_FACTOR)
    if stream.bounded:
        # A hair below 6 may be 6 in another runtime.
        least = np.minimum(1, peaks * MARGIN / SIX)
        s = np.where(peaks < SIX * (1 - 1e-4), np.maximum(s, least), 1)
    return np.asarray(s)


def _loudest(one: Observation) -> NDArray:
    return np.asarray(np.maximum(one.high, -one.low))


def _rows(weight: NDArray) -> NDArray:
    """Each row's largest weight, of the largest of all."""
    peaks = np.abs(weight).reshape(len(weight), -1).max(1)
    return np.asarray(peaks / max(float(peaks.max()), TINY))


def _columns(weight: NDArray, depthwise: bool, per_channel: bool) -> NDArray:
    """The largest weight that reads each channel, of those that share its scale."""
    size = np.abs(weight).reshape(*weight.shape[:2], -1).max(2)
    if per_channel:
        size = size / np.maximum(size.max(1, keepdims=True), TINY)
    else:
        size = size / max(float(size.max()), TINY)
    return np.asarray(size[:, 0] if depthwise else size.max(0))
