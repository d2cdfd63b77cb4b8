"""What the tensors of the float network hold on calibration pictures.

Two passes: :func:`observe` finds each channel's extremes, :func:`count` then fills histograms that
need no guess of their ends. The network runs in ONNX Runtime with every tensor as an output, a few
pictures at a time, so that memory does not grow with their number.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import DataError
from mobilenetv2.graph.onnx_writer import INPUT, Form, write_folded
from mobilenetv2.images.normalise import engine_input
from mobilenetv2.model.folding import Folded
from mobilenetv2.quantize.tensors import tensors
from mobilenetv2.runtime import onnxruntime
from mobilenetv2.runtime.engine import Artifact
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

BINS = 4096
"""Sixteen for each of the 256 levels of a range that is not cut."""
VALUES = 16_000_000
"""Of all tensors together, that are in memory at a time."""

Pictures = NDArray | Sequence[NDArray]
"""uint8 (height, width, channels) each, at the network's size, as ``images.preprocess`` gives."""
Step = Callable[[int], None]
"""Is told how many more pictures are done."""


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


def observe(
    config: ModelConfig, folded: Folded, pictures: Pictures, step: Step | None = None
) -> dict[str, Observation]:
    """Extremes and means of every tensor of a scheme, by name.

    Args:
        step: told after each few pictures.

    Raises:
        DataError: no picture.
        SpecError: a network of other blocks than MobileNetV2's.
    """
    return observe_graph(
        write_folded(config, folded, Form(intermediates=True)), config, pictures, step
    )


def observe_graph(
    graph: bytes, config: ModelConfig, pictures: Pictures, step: Step | None = None
) -> dict[str, Observation]:
    """:func:`observe` of an ONNX file of the network, with its tensors as outputs."""
    low: dict[str, NDArray] = {}
    high: dict[str, NDArray] = {}
    total: dict[str, NDArray] = {}
    for found in run(graph, config, pictures, step):
        for name, values in found.items():
            flat = values.reshape(*values.shape[:2], -1)
            least, most = flat.min((0, 2)), flat.max((0, 2))
            mean = flat.mean(2, dtype=np.float64).sum(0)
            low[name] = np.minimum(low[name], least) if name in low else least
            high[name] = np.maximum(high[name], most) if name in high else most
            total[name] = total[name] + mean if name in total else mean
    return {
        name: Observation(
            low[name].astype(np.float64), high[name].astype(np.float64), total[name] / len(pictures)
        )
        for name in tensors(config.spec)
    }


def count(
    config: ModelConfig,
    folded: Folded,
    pictures: Pictures,
    observed: Mapping[str, Observation],
    step: Step | None = None,
) -> dict[str, Histogram]:
    """Histograms of every tensor, by name.

    Args:
        observed: of the same network and pictures.
    """
    ends = {
        name: (min(float(one.low.min()), 0.0), max(float(one.high.max()), 0.0))
        for name, one in observed.items()
    }
    counts = {name: np.zeros(BINS, np.int64) for name in ends}
    graph = write_folded(config, folded, Form(intermediates=True))
    for found in run(graph, config, pictures, step):
        for name, values in found.items():
            low, high = ends[name]
            if high > low:
                places = (values.ravel() - np.float32(low)) * np.float32((BINS - 1) / (high - low))
                # Rounded: the bins lie around their centres. Rounding errors stay inside.
                places = np.clip(np.rint(places), 0, BINS - 1).astype(np.int32)
            else:
                places = np.zeros(values.size, np.int32)
            counts[name] += np.bincount(places, minlength=BINS)
    return {name: Histogram(*ends[name], counts[name]) for name in ends}


def run(
    graph: bytes, config: ModelConfig, pictures: Pictures, step: Step | None = None
) -> Iterator[dict[str, NDArray]]:
    """All tensors of a few pictures after the other: float32 (batch, channels, ...) by name.

    Raises:
        DataError: no picture.
    """
    if len(pictures) == 0:
        raise DataError("calibration: not one picture is given")
    engine = onnxruntime.start(Artifact(config, "onnx", graph, "calibration"))
    batch = _batch(config.spec)
    for start in range(0, len(pictures), batch):
        x = engine_input(np.stack([*pictures[start : start + batch]]), config.preprocessing)
        found = engine.session.run(list(engine.outputs), {engine.input: x})
        yield {INPUT: x, **dict(zip(engine.outputs, found, strict=True))}
        if step:
            step(len(x))


def _batch(spec: NetworkSpec) -> int:
    each = sum(tensor.channels * tensor.pixels for tensor in tensors(spec).values())
    return max(1, min(32, VALUES // each))
