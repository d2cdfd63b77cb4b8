"""A trained network to eight bits with nothing but some pictures."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from mobilenetv2.errors import SpecError
from mobilenetv2.graph.onnx_writer import INPUT
from mobilenetv2.images.normalise import engine_input
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.quantize import bias_correction, equalisation
from mobilenetv2.quantize.calibration import METHODS, Method, calibrate
from mobilenetv2.quantize.observation import Pictures, Step, count, observe
from mobilenetv2.quantize.scheme import Range, Scheme
from mobilenetv2.quantize.tensors import tensors
from mobilenetv2.spec.records import ModelConfig, Preprocessing

PASSES = 2
"""Over the pictures: progress is told twice for each."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a network is quantised.

    The defaults are what did best on Google's networks and on one of clothes. What matters is a
    scale a channel (without it nearly all answers change) and corrected biases (6 to 9 dB of the
    logits' signal to noise, where folded weights were not of 8 bits before); 'min-max', 'mse' and
    'percentile' are within 2 dB, 'entropy' cuts off too much, equalising is worth 0.2 dB or less.
    """

    method: Method = "mse"
    """How a tensor's range is found (:mod:`mobilenetv2.quantize.calibration`)."""
    equalise: bool = True
    correct_biases: bool = True
    per_channel: bool = True
    """A scale for each of a weight's output channels; False is one a weight."""
    weight_bits: int = 8
    """7 for processors whose int8 products saturate (:mod:`mobilenetv2.quantize.onnx`)."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SpecError(
                f"calibration {self.method!r} is unknown; known are: {', '.join(METHODS)}"
            )
        if self.weight_bits not in (7, 8):
            raise SpecError(f"weights of {self.weight_bits} bits are not there; 7 or 8 are")

    def words(self, pictures: int) -> str:
        """What was done, for people and for a file's metadata."""
        parts = [
            f"post-training, ranges by {self.method} of {pictures} pictures",
            f"{self.weight_bits}-bit weights with a scale a "
            f"{'channel' if self.per_channel else 'tensor'}",
        ]
        parts += ["equalised"] if self.equalise else []
        parts += ["biases corrected"] if self.correct_biases else []
        return ", ".join(parts)


NAIVE = Settings("min-max", equalise=False, correct_biases=False, per_channel=False)
"""What is done where nothing is known about the network."""


def quantise(
    config: ModelConfig,
    arrays: Arrays,
    pictures: Pictures,
    settings: Settings | None = None,
    step: Step | None = None,
) -> Scheme:
    """The network in eight bits.

    Args:
        arrays: canonical.
        pictures: to calibrate on, uint8 (height, width, channels) each, at the network's size. Not
            those that the result is judged on.
        settings: None is the default.
        step: told how many pictures more are done, each of them :data:`PASSES` times.

    Raises:
        SpecError: a network of other blocks than MobileNetV2's.
        WeightsError: the arrays do not fit the config.
        DataError: no picture.
    """
    settings = settings or Settings()
    folded = fold(config.spec, arrays)
    observed = observe(config, folded, pictures, step)
    if settings.equalise:
        folded, factors = equalisation.equalise(config.spec, folded, observed, settings.per_channel)
        observed = equalisation.scaled(observed, factors)
    histograms = count(config, folded, pictures, observed, step)
    ranges = {
        name: calibrate(histograms[name], settings.method, tensor)
        for name, tensor in tensors(config.spec).items()
    }
    ranges[INPUT] = input_range(config.preprocessing)
    scheme = Scheme(
        config, folded, ranges, settings.per_channel, settings.words(len(pictures)),
        settings.weight_bits,
    )  # fmt: skip
    if settings.correct_biases:
        scheme = dataclasses.replace(scheme, folded=bias_correction.correct(scheme, observed))
    return scheme


def input_range(record: Preprocessing) -> Range:
    """From black to white: what a picture can hold is known without any."""
    ends = np.zeros((2, 1, 1, record.channels), np.uint8)
    ends[1] = 255
    values = engine_input(ends, record)
    return Range(float(values.min()), float(values.max()))
