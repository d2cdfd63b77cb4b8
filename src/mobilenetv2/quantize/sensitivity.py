"""Which layers suffer: each is quantised alone, and the logits are compared with the float ones."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import DataError, require
from mobilenetv2.evaluate.pictures import BLUE, GREY
from mobilenetv2.files import write_atomically
from mobilenetv2.images.preprocess import normalise
from mobilenetv2.quantize.observation import Pictures, Step
from mobilenetv2.quantize.onnx import write
from mobilenetv2.quantize.scheme import Scheme
from mobilenetv2.quantize.tensors import CLASSIFIER, sources
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.weights.dialects.onnx_writer import INPUT, OUTPUT

RED = "#c0392b"
WORST = 5
"""Layers that the picture sets off."""
BATCH = 8
ERRORS_ONLY = 3


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The network with one part of it in eight bits."""

    name: str
    """A layer's, whose weights and output they are; 'blocks.N': the sum; 'input'."""
    signal_to_noise: float
    """Of the logits, in dB; infinite where nothing changed. Less is worse."""
    agreement: float
    """Share of the pictures whose first class is the float network's."""


def measure(scheme: Scheme, pictures: Pictures, step: Step | None = None) -> list[Sensitivity]:
    """Every part alone, in network order.

    Args:
        pictures: uint8 (height, width, channels) each, at the network's size; a few dozen do.
        step: told after each part how many are done: 1.

    Raises:
        DataError: no picture.
    """
    if len(pictures) == 0:
        raise DataError("sensitivity: not one picture is given")
    exact = _logits(scheme, pictures, frozenset())
    found = []
    for name, parts in _parts(scheme).items():
        rounded = _logits(scheme, pictures, parts)
        found.append(compare(name, exact, rounded))
        if step:
            step(1)
    return found


def compare(name: str, exact: NDArray, rounded: NDArray) -> Sensitivity:
    """The figures from logits, (pictures, classes) each."""
    exact, rounded = exact.astype(np.float64), rounded.astype(np.float64)
    noise = float(((rounded - exact) ** 2).sum())
    signal = float((exact**2).sum())
    decibels = 10 * math.log10(signal / noise) if noise and signal else math.inf
    return Sensitivity(name, decibels, float((exact.argmax(1) == rounded.argmax(1)).mean()))


def _parts(scheme: Scheme) -> dict[str, frozenset[str]]:
    """What is shown as one -> the names that are quantised for it."""
    spec = scheme.config.spec
    sums = {
        block.convolutions[-1].name: f"blocks.{block.index}"
        for block in resolve(spec).blocks if block.residual
    }  # fmt: skip
    found = {INPUT: frozenset({INPUT})}
    for name in sources(spec):
        found[name] = frozenset({name, OUTPUT} if name == CLASSIFIER else {name})
        if name in sums:
            found[sums[name]] = frozenset({sums[name]})
    return found


def _logits(scheme: Scheme, pictures: Pictures, only: frozenset[str]) -> NDArray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    # Else it would quantise more than was asked for: see mobilenetv2.quantize.onnx.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        write(scheme, only=only), options, providers=["CPUExecutionProvider"]
    )
    found = []
    for start in range(0, len(pictures), BATCH):
        batch = np.stack([*pictures[start : start + BATCH]])
        x = normalise(batch, scheme.config.preprocessing)
        found.append(session.run([OUTPUT], {INPUT: x})[0])
    return np.concatenate(found)


def draw(rows: Sequence[Sensitivity], path: Path, title: str = "") -> None:
    """A PNG: a bar for every part, in network order from the top, the worst set off in red.

    Raises:
        MissingExtra: matplotlib is not installed.
        OSError: the place cannot be written.
    """
    figure = require("matplotlib.figure").Figure(
        figsize=(8, 1.4 + 0.19 * len(rows)), layout="constrained"
    )
    axis = figure.subplots()
    finite = [row.signal_to_noise for row in rows if math.isfinite(row.signal_to_noise)]
    most = max(finite, default=1.0)
    shown = [min(row.signal_to_noise, most) for row in rows]
    worst = sorted(range(len(rows)), key=lambda index: shown[index])[:WORST]
    colours = [RED if index in worst else BLUE for index in range(len(rows))]
    places = np.arange(len(rows))
    axis.barh(places, shown, color=colours, height=0.75)
    for place, row, value in zip(places, rows, shown, strict=True):
        axis.annotate(
            f"{value:.0f} dB, {row.agreement:.0%}", (max(value, 0), place), fontsize=6,
            color=GREY, va="center", xytext=(3, 0), textcoords="offset points",
        )  # fmt: skip
    axis.set_yticks(places, [row.name for row in rows], fontsize=7)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlim(min(0.0, *shown), most * 1.15)
    axis.set_xlabel("signal to quantisation noise of the logits, dB (less is worse); top-1 as float")
    axis.set_title(title or "Each layer alone in eight bits", loc="left")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomically(path, buffer.getvalue())
