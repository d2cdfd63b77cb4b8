"""Cross-layer equalisation made for ReLU6: quiet channels use all of their tensor's 8 bits.

After Nagel et al., arXiv 1906.04721: a channel is divided by s where it is written and multiplied
by s where it is read; the function stays, and what is rounded changes. Two things are not theirs.

* Weights here have a scale a channel, so that rows need no help: what shares one scale is a
  tensor's channels. Their spans take the first weight's place. A channel of span a (of its
  tensor's) whose column of the next weight has the span w (of its rows') is divided by
  ``sqrt(a / w)``: the loss is then shared evenly between what is written and what is read. A
  depthwise weight has a scale for each channel that it reads, so that w costs nothing there, and
  the channel is divided by a. (With one scale a weight, the first weight's rows count as theirs.)
* ReLU6 stays ReLU6. It commutes with s only where its 6 is not reached, before and after. A
  channel that reached 6 in calibration keeps s = 1; any other may grow until its largest value is
  6 / :data:`MARGIN`, so that pictures that were not seen have room. The linear tensors between
  blocks have no bound; those that additions tie together share one s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.quantize.observation import Observation
from mobilenetv2.quantize.tensors import CLASSIFIER, SIX
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.weights.dialects.onnx_writer import FEATURES
from mobilenetv2.weights.folding import Folded

MARGIN = 1.5
"""Between the largest value in calibration and 6, for channels that are made louder."""
LARGEST_FACTOR = 64.0
"""A channel that hardly ever speaks is not made louder than that, nor its weights."""


@dataclass(slots=True)
class Stream:
    """Tensors whose channels can only be scaled together."""

    writers: list[str]
    tensors: list[str]
    readers: list[str] = field(default_factory=list)
    activated: bool = False
    """One of them is behind an activation."""


def streams(spec: NetworkSpec) -> list[Stream]:
    """All of a network's, in order; the picture and the logits belong to none."""
    network = resolve(spec)
    now = Stream([network.stem.name], [network.stem.name], activated=True)
    found = [now]
    for block in network.blocks:
        before = now
        for step in block.steps:
            now.readers.append(step.name)
            now = Stream([step.name], [step.name], activated=not step.linear)
            found.append(now)
        if block.shortcut:
            before.readers.append(block.shortcut.name)
            now.writers.append(block.shortcut.name)
            now.tensors.append(block.shortcut.name)
        if block.residual:
            now.tensors.append(f"blocks.{block.index}")
            if not block.shortcut:
                before.writers += now.writers
                before.tensors += now.tensors
                found.remove(now)
                now = before
    if network.head:
        now.readers.append(network.head.name)
        now = Stream([network.head.name], [network.head.name], activated=True)
        found.append(now)
    now.tensors.append(FEATURES)
    now.readers.append(CLASSIFIER)
    return found


def equalise(
    spec: NetworkSpec,
    folded: Folded,
    observed: Mapping[str, Observation],
    per_channel: bool = True,
    margin: float = MARGIN,
) -> tuple[Folded, dict[str, NDArray]]:
    """The same function with its channels scaled.

    Args:
        observed: of ``folded`` on calibration pictures; on them the function is exactly the same
            but for float32's rounding.
        per_channel: whether weights will have a scale a channel.

    Returns:
        The scaled weights and biases, float32, and for each tensor the s of its channels.
    """
    found = {name: (weight.copy(), bias.copy()) for name, (weight, bias) in folded.items()}
    factors: dict[str, NDArray] = {}
    for stream in streams(spec):
        s = _factors(spec, found, stream, observed, per_channel, margin)
        for name in stream.writers:
            weight, bias = found[name]
            found[name] = (
                (weight / s.reshape(-1, 1, 1, 1)).astype(np.float32),
                (bias / s).astype(np.float32),
            )
        for name in stream.readers:
            weight, bias = found[name]
            found[name] = ((weight * _along(weight, s)).astype(np.float32), bias)
        factors |= dict.fromkeys(stream.tensors, s)
    return found, factors


def scaled(
    observed: Mapping[str, Observation], factors: Mapping[str, NDArray]
) -> dict[str, Observation]:
    """What would be observed after equalisation."""
    return {
        name: Observation(*(part / factors[name] for part in (one.low, one.high, one.mean)))
        if name in factors
        else one
        for name, one in observed.items()
    }


def _along(weight: NDArray, s: NDArray) -> NDArray:
    """Shaped for the channels that a layer reads: a depthwise one reads by its first axis."""
    sides = [1] * weight.ndim
    sides[0 if _depthwise(weight) else 1] = -1
    return s.reshape(sides)


def _depthwise(weight: NDArray) -> bool:
    return weight.ndim == 4 and weight.shape[1] == 1 and weight.shape[2] > 1


def _factors(
    spec: NetworkSpec, folded: Folded, stream: Stream, observed: Mapping[str, Observation],
    per_channel: bool, margin: float,
) -> NDArray:  # fmt: skip
    """float64 (channels,), 1 where a channel has to stay."""
    peaks = np.max(
        [np.maximum(observed[n].high, -observed[n].low) for n in stream.tensors], axis=0
    )
    alive = peaks > 0
    span = np.where(alive, peaks, 1.0) / max(float(peaks.max()), 1e-30)
    if not per_channel:
        rows = np.max([_rows(folded[name][0]) for name in stream.writers], axis=0)
        span = np.where(rows > 0, rows, 1.0)
    columns = np.max([_columns(folded[n][0], per_channel) for n in stream.readers], axis=0)
    free = per_channel and all(_depthwise(folded[name][0]) for name in stream.readers)
    s = span if free else np.sqrt(span / np.where(columns > 0, columns, 1.0))
    s = np.where(alive & (columns > 0), s, 1.0)
    s = np.clip(s, 1 / LARGEST_FACTOR, LARGEST_FACTOR)
    if stream.activated and spec.numerics.activation == "relu6":
        # Rounding errors of another runtime are no reason to take a channel for one below 6.
        s = np.where(peaks < SIX * (1 - 1e-4), np.maximum(s, np.minimum(1, peaks * margin / SIX)), 1.0)
    return s


def _rows(weight: NDArray) -> NDArray:
    """Each row's largest weight, of the largest of all."""
    peaks = np.abs(weight).reshape(len(weight), -1).max(1)
    return np.asarray(peaks / max(float(peaks.max()), 1e-30))


def _columns(weight: NDArray, per_channel: bool) -> NDArray:
    """The largest weight that reads each channel, of those that share its scale."""
    size = np.abs(weight).reshape(*weight.shape[:2], -1).max(2)
    if per_channel:
        size = size / np.maximum(size.max(1, keepdims=True), 1e-30)
    else:
        size = size / max(float(size.max()), 1e-30)
    return np.asarray(size[:, 0] if _depthwise(weight) else size.max(0))
