"""Cross-layer equalisation for ReLU6: small channels use more of the 8 bits that they share.

The method is Nagel et al., arXiv 1906.04721: a channel is divided by s in the layer that writes it
and multiplied by s in the layers that read it. The function stays the same, but the rounding
changes. Two things differ from the paper.

* The ratio depends on what shares a scale. With one scale per weight, the rows of the weight share
  it. Let a be the span of a channel's row (relative to the weight's largest), and w the span of its
  column in the next weight. The channel is divided by ``sqrt(a / w)``, after which both spans are
  equal, as in the paper. With one scale per channel, rows need no equalisation, but the channels of
  a tensor still share a scale. Then a is the channel's span in calibration, w is relative to the
  largest in the column's rows, and s goes only half as far (:data:`EXPONENTS`), since the rows of
  the next weight lose what its input gains.
* ReLU6 stays ReLU6. It commutes with s only if its bound of 6 is not reached, before and after. A
  channel that reached 6 in calibration keeps s = 1. Another channel may grow until its largest
  value is 6 / :data:`MARGIN`, which leaves room for new images. With one scale per channel,
  channels after a ReLU6 are not changed at all. On Google's networks this would gain 0.2 to 0.5 dB,
  but images of another kind than those of calibration, which reach the moved 6, would lose 9 dB.
  The linear tensors between blocks have no bound; those connected by additions share one s.
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
"""Factor between the largest value in calibration and 6, for channels that are scaled up."""
EXPONENTS = {True: 0.25, False: 0.5}
"""Exponents of a / w by ``per_channel``."""
TINY = 1e-30
LARGEST_FACTOR = 64.0
"""Largest factor for a channel, or for its weights, so that rare values are not scaled too far."""


@dataclass(slots=True)
class Stream:
    """Tensors whose channels can only be scaled together."""

    writers: list[str]
    tensors: list[str]
    readers: list[str] = field(default_factory=list)
    bounded: bool = False
    """True if one of them follows a ReLU6."""


def streams(graph: Graph) -> list[Stream]:
    """Return all streams of a graph in order; the image and the logits belong to none."""
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
                stream.bounded |= later.bounded
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
    """Return weights of the same function with its channels scaled.

    Args:
        graph: a float graph with the weights and biases ``folded``.
        observed: observations of the graph on calibration images. On these the function stays the
            same, except for float32's rounding.
        per_channel: True if weights will have one scale per channel.

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
    """Return the observations as they would be after equalisation."""
    return {
        name: Observation(*(part / factors[name] for part in (one.low, one.high, one.mean)))
        if name in factors
        else one
        for name, one in observed.items()
    }


def _along(weight: NDArray, s: NDArray, depthwise: bool) -> NDArray:
    """Return s in the shape for a layer's input channels."""
    sides = [1] * weight.ndim
    sides[0 if depthwise else 1] = -1
    return s.reshape(sides)


def _factors(
    folded: Folded, depthwise: set[str], stream: Stream, observed: Mapping[str, Observation],
    per_channel: bool,
) -> NDArray:  # fmt: skip
    """Return the factors, float64 (channels,), with 1 for channels that must not change."""
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
    """Return the largest weight of each row, relative to the largest of all."""
    peaks = np.abs(weight).reshape(len(weight), -1).max(1)
    return np.asarray(peaks / max(float(peaks.max()), TINY))


def _columns(weight: NDArray, depthwise: bool, per_channel: bool) -> NDArray:
    """Return the relative size of the largest weight that reads each channel."""
    size = np.abs(weight).reshape(*weight.shape[:2], -1).max(2)
    if per_channel:
        size = size / np.maximum(size.max(1, keepdims=True), TINY)
    else:
        size = size / max(float(size.max()), TINY)
    return np.asarray(size[:, 0] if depthwise else size.max(0))
