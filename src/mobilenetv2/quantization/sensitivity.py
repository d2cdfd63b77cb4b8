"""Sensitivity of each layer: only that layer is quantised, and the logits are compared."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.evaluation.plots import BLUE, GREY, canvas, save_figure
from mobilenetv2.evaluation.predictions import best_classes
from mobilenetv2.files import write_atomically
from mobilenetv2.graph.graph import INPUT, LOGITS, Add, Conv, Linear
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.quantization.calibration import Pictures
from mobilenetv2.quantization.post_training import Settings, quantise
from mobilenetv2.quantization.scheme import Scheme
from mobilenetv2.runtime.engines.onnxruntime import library, session_options
from mobilenetv2.spec.network import Outputs
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import finite, json_text

RED = "#c0392b"
WORST = 5
"""Number of parts that the figure highlights."""
PICTURES = 32
"""Maximum number of images for each part."""
BATCH = 8


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Effect of quantising one part of the network."""

    name: str
    """Name of the part: a layer (weights and output), 'blocks.N' (the sum), or 'input'."""
    signal_to_noise: float
    """Signal-to-noise ratio of the logits in dB; infinite without a change, lower is worse."""
    agreement: float
    """Fraction of the images whose first class is the float network's."""


def measure(
    config: ModelConfig, arrays: Arrays, pictures: Pictures, settings: Settings | None = None
) -> list[Sensitivity]:
    """Return the effect of every part, in network order, on the first :data:`PICTURES` images.

    Args:
        arrays: canonical.
        pictures: uint8 (height, width, channels) each, at the network's size. They are also used
            for calibration, because this compares layers and does not measure the network.
    """
    settings, pictures = settings or Settings(), pictures[:PICTURES]
    plain = quantise(config, arrays, pictures, dataclasses.replace(settings, correct_biases=False))
    scheme = quantise(config, arrays, pictures, settings) if settings.correct_biases else plain
    exact = _logits(plain, pictures, frozenset())
    effects = []
    for name, only in parts(scheme).items():
        # A corrected bias belongs to rounded weights: what stays float keeps its own.
        own = {layer: scheme.folded[layer] for layer in only if layer in scheme.folded}
        alone = dataclasses.replace(plain, folded={**plain.folded, **own})
        rounded = _logits(alone, pictures, only)
        effects.append(compare(name, exact, rounded, config.spec.classifier.outputs))
    return effects


def compare(
    name: str, exact: NDArray, rounded: NDArray, outputs: Outputs = "softmax"
) -> Sensitivity:
    """Return the figures of a part from exact and rounded logits, (images, classes) each."""
    exact, rounded = exact.astype(np.float64), rounded.astype(np.float64)
    noise, signal = float(((rounded - exact) ** 2).sum()), float((exact**2).sum())
    decibels = 10 * math.log10(signal / noise) if noise and signal else math.inf
    first, second = (best_classes(logits, outputs) for logits in (exact, rounded))
    return Sensitivity(name, decibels, float((first == second).mean()))


def parts(scheme: Scheme) -> dict[str, frozenset[str]]:
    """Return the quantised names of each part that is shown, in network order."""
    groups = {INPUT: frozenset({INPUT})}
    for operation in scheme.graph.operations:
        if isinstance(operation, Conv | Linear):
            groups[operation.name] = frozenset({operation.name, operation.output})
        elif isinstance(operation, Add):
            groups[operation.output] = frozenset({operation.output})
    return groups


def _logits(scheme: Scheme, pictures: Pictures, only: frozenset[str]) -> NDArray:
    session = library().InferenceSession(
        write_onnx(scheme.quantised(only)), session_options(), providers=["CPUExecutionProvider"],
        # It would quantise float weights by itself: see mobilenetv2.graph.onnx.
        disabled_optimizers=["WeightBiasQuantization"],
    )  # fmt: skip
    logits = []
    for start in range(0, len(pictures), BATCH):
        batch = np.stack([*pictures[start : start + BATCH]])
        x = engine_input(batch, scheme.config.preprocessing)
        logits.append(session.run([LOGITS], {INPUT: x})[0])
    return np.concatenate(logits)


def save(rows: Sequence[Sensitivity], folder: Path) -> None:
    """Write ``sensitivity.json`` and ``sensitivity.png`` into a folder that exists."""
    records = [
        {
            "part": row.name, "signal_to_noise_db": finite(row.signal_to_noise),
            "agreement": row.agreement,
        }
        for row in rows
    ]  # fmt: skip
    draw(rows, folder / "sensitivity.png")
    write_atomically(folder / "sensitivity.json", json_text(records, indent=1) + "\n")


def draw(rows: Sequence[Sensitivity], path: Path) -> None:
    """Draw a bar for every part, in network order from the top, with the worst in red.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure, (axis,) = canvas(1, 1, (8, 1.4 + 0.19 * len(rows)))
    levels = sorted(row.signal_to_noise for row in rows if math.isfinite(row.signal_to_noise))
    # The second best: a picture that 8 bits hold exactly would flatten all the rest.
    most = levels[-2] if len(levels) > 1 else 1.0
    shown = np.array([min(row.signal_to_noise, most) for row in rows])
    worst = set(np.argsort(shown, kind="stable")[:WORST].tolist())
    places = np.arange(len(rows))
    colours = [RED if place in worst else BLUE for place in places]
    axis.barh(places, shown, color=colours, height=0.75)
    for place, row in zip(places, rows, strict=True):
        axis.annotate(
            f"{row.signal_to_noise:.0f} dB, {row.agreement:.0%}"
            + (" (the bar is cut)" if row.signal_to_noise > most else ""),
            (max(shown[place], 0), place),
            fontsize=6, color=GREY, va="center", xytext=(3, 0), textcoords="offset points",
        )  # fmt: skip
    axis.set_yticks(places, [row.name for row in rows], fontsize=7)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlim(min(0.0, *shown), max(most, 1.0) * 1.15)
    axis.set_xlabel("signal-to-noise ratio of the logits in dB; agreement with the float top-1")
    axis.set_title("Each layer alone in 8 bits: the shortest bars lose most", loc="left")
    save_figure(figure, path)
