"""An int8 OpenVINO file: of a scheme, as in the other formats, or by NNCF, Intel's own quantiser.

NNCF chooses by itself what is worth quantising and corrects the biases of what it has quantised, so
that it is given the network as it is: an equalised one comes out worse (measured on the published
ImageNet network: a logit's error of 0.22 to 0.24 instead of 0.15).
"""

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, DataError, require
from mobilenetv2.export.openvino import converted, write_ir
from mobilenetv2.graph.lowering import lower_folded
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.folding import Folded
from mobilenetv2.progress import track
from mobilenetv2.quantize.scheme import Scheme
from mobilenetv2.runtime.openvino import reason
from mobilenetv2.spec.records import ModelConfig

METHOD = (
    "post-training by NNCF {version}: symmetric weights with a scale a channel, symmetric "
    "activations, fast bias correction, {count} pictures"
)


def write(config: ModelConfig, folded: Folded, pictures: NDArray, out: Path) -> None:
    """Write the network in eight bits as ``out`` (.xml), and the .bin beside it.

    Args:
        folded: float weights and biases, neither equalised nor corrected.
        pictures: to calibrate on, uint8 (n, height, width, channels) at the network's size. Not
            those that the result is judged on.

    Raises:
        DataError: no picture.
        ArtifactError: NNCF or OpenVINO failed.
        MissingExtra: one of them is not installed.
    """
    if not len(pictures):
        raise DataError("no picture to calibrate on; give some")
    require("openvino")
    nncf = require("nncf")

    def prepared(picture: NDArray) -> NDArray:
        return engine_input(picture[np.newaxis], config.preprocessing)

    made = converted(write_onnx(lower_folded(config, folded)))
    try:
        with _quiet():
            # Of its presets and bias corrections these did best: MIXED (activations that are not
            # symmetric) had an error of 0.18, the slow correction the same error in twice the time.
            made = nncf.quantize(
                made,
                nncf.Dataset(_Shown(pictures), prepared),
                preset=nncf.QuantizationPreset.PERFORMANCE,
                fast_bias_correction=True,
                subset_size=len(pictures),
            )
    except Exception as error:  # its own classes and OpenVINO's have nothing narrower in common
        raise ArtifactError(f"NNCF cannot quantise the network ({reason(error)})") from None
    method = METHOD.format(version=nncf.__version__, count=len(pictures))
    write_ir(made, config, out, method=method)


class _Shown:
    """Pictures that show how far they are."""

    def __init__(self, pictures: NDArray) -> None:
        self.pictures = pictures

    def __iter__(self) -> Iterator[NDArray]:
        return track(self.pictures, "calibrating", len(self.pictures))

    def __len__(self) -> int:
        return len(self.pictures)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """NNCF prints bars and advice on stdout, where results belong."""
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def write_scheme(scheme: Scheme, out: Path) -> None:
    """A scheme as an IR: the same integers as in the other formats.

    On MobileNetV2 this is more exact than :func:`write` (benchmarks/int8-clothing.md).
    """
    write_ir(converted(write_onnx(scheme.quantised())), scheme.config, out, method=scheme.method)
