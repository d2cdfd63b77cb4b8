"""Writing of int8 files, and their comparison with the float network on held-out photos."""

import contextlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.dataset import Split
from mobilenetv2.errors import ArtifactError, DataError, require
from mobilenetv2.evaluation.metrics import Z95, wilson
from mobilenetv2.evaluation.predictions import best_classes, predict_split
from mobilenetv2.exporting.job import Options, Request, find_formats, place_files, versions
from mobilenetv2.exporting.openvino import converted, write_ir
from mobilenetv2.formats import INT8, OF_INT8
from mobilenetv2.graph.litert import write_litert
from mobilenetv2.graph.lowering import lower_folded
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.folding import Folded
from mobilenetv2.process import errors_only
from mobilenetv2.progress import track
from mobilenetv2.quantization.scheme import Scheme
from mobilenetv2.runtime.engines.engine import Engine
from mobilenetv2.runtime.engines.openvino import reason
from mobilenetv2.runtime.predictor import EnginePredictor
from mobilenetv2.spec.network import Outputs
from mobilenetv2.spec.records import ModelConfig, Preprocessing

NNCF = "nncf"
"""Name of the method that leaves calibration and bias correction to Intel's NNCF."""
NNCF_METHOD = (
    "post-training by NNCF {version}: symmetric weights with a scale a channel, symmetric "
    "activations, fast bias correction, {count} pictures"
)
MOST_LOST = 2.0
"""Largest allowed loss of top-1 accuracy, in points."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Results of a quantised network and its float network on the same photos."""

    photos: int
    right: int
    float_right: int
    both: int
    """Number of photos that both networks classify correctly."""
    same: int
    """Number of photos with the same top-1 class in both networks."""
    difference: float
    """Mean absolute difference of the logits."""

    @property
    def top1(self) -> float:
        """Top-1 accuracy of the quantised network, 0 to 1."""
        return self.right / self.photos

    @property
    def drop(self) -> float:
        """Loss of top-1 accuracy in points; negative if int8 is better."""
        return 100 * (self.float_right - self.right) / self.photos

    @property
    def drop_interval(self) -> tuple[float, float]:
        """Paired 95% confidence interval of the drop, in points.

        Agresti and Min, Statistics in Medicine 24 (2005): half a photo is added to each of the
        four combinations of right and wrong, so that no loss on few photos is not a certainty.
        """
        lost, won = self.float_right - self.both + 0.5, self.right - self.both + 0.5
        count = self.photos + 2
        half = Z95 * math.sqrt(lost + won - (lost - won) ** 2 / count) / count
        centre = (lost - won) / count
        return (100 * (centre - half), 100 * (centre + half))

    @property
    def agreement(self) -> float:
        """Fraction of photos with the same top-1 class in both networks."""
        return self.same / self.photos

    @property
    def passed(self) -> bool:
        """True if the loss is allowed."""
        return self.drop <= MOST_LOST

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, with the drop in points and other values as fractions."""
        return {
            "photos": self.photos,
            "top1": self.top1,
            "top1_interval": list(wilson(self.right, self.photos)),
            "float_top1": self.float_right / self.photos,
            "drop_points": self.drop,
            "drop_interval": list(self.drop_interval),
            "agreement": self.agreement,
            "agreement_interval": list(wilson(self.same, self.photos)),
            "mean_abs_difference": self.difference,
            "passed": self.passed,
        }


class Judge:
    """Photos with their labels, and the predictions of the float network for them.

    Args:
        split: photos to measure on.
        outputs: output of the network for each class of the dataset.
        reference: engine of the float network.
        kind: kind of the outputs.
    """

    def __init__(
        self, split: Split, outputs: Sequence[int], record: Preprocessing, reference: Engine,
        kind: Outputs = "softmax",
    ) -> None:  # fmt: skip
        self.split, self.record, self.kind = split, record, kind
        self.truth = np.array([outputs[photo.label] for photo in split.photos])
        self.expected = self._logits(reference, "float32")

    def compare(self, engine: Engine, label: str) -> Judgement:
        """Return the results of another engine on the same photos."""
        found = self._logits(engine, label)
        answers, before = (best_classes(logits, self.kind) for logits in (found, self.expected))
        right, float_right = answers == self.truth, before == self.truth
        return Judgement(
            len(found), int(right.sum()), int(float_right.sum()), int((right & float_right).sum()),
            int((answers == before).sum()), float(np.abs(found - self.expected).mean()),
        )  # fmt: skip

    def _logits(self, engine: Engine, label: str) -> NDArray:
        predict = EnginePredictor(engine, self.record)
        logits, _ = predict_split(predict, self.split, self.record, f"measuring {label}")
        return logits


@dataclass(frozen=True, slots=True)
class Quantiser:
    """Writer of int8 files that measures each of them (an ``exporting.job.Maker``)."""

    scheme: Scheme
    folded: Folded
    """Float network for NNCF, which quantises by itself."""
    pictures: NDArray
    """Calibration images, uint8 (photos, height, width, channels)."""
    judge: Judge
    known: Mapping[str, Any]
    """Photos and method, for the record beside each file."""
    nncf: bool = False
    """True if NNCF writes the OpenVINO file."""
    force: bool = False
    """True to keep files that lose too much accuracy."""

    def write(self, request: Request, out: Path) -> None:
        """Write the file of a scheme, or the file of NNCF."""
        if self.nncf:
            write_nncf(self.scheme.config, self.folded, self.pictures, out)
        else:
            write_int8(request.format.name, self.scheme, out)

    def compare(self, request: Request, engine: Engine) -> Judgement:
        """Compare the predictions for the photos with the float network's."""
        return self.judge.compare(engine, request.label)

    def refusal(self, verdict: Judgement) -> str:
        """Return the reason why a file is not kept; '' if it is."""
        if verdict.passed or self.force:
            return ""
        return (
            f"not kept, since it loses {verdict.drop:.1f} points of top-1 accuracy and at most "
            f"{MOST_LOST:.1f} are allowed; try more calibration photos, another method or train, "
            "or keep it with force"
        )

    def facts(self, request: Request) -> dict[str, Any]:
        """Return further facts for the record beside a file."""
        packages = (*request.format.packages, *((NNCF,) if self.nncf else ()))
        return {
            "reference": "the float32 network in ONNX Runtime", **self.known,
            "versions": versions(packages),
        }  # fmt: skip


def requests(names: Sequence[str], out: Path, nncf: bool = False) -> list[Request]:
    """Return a request for each format.

    Args:
        names: names of formats; none for the format of ``out``'s ending.
        out: path of a file, or of a folder for several files.
        nncf: True if NNCF writes the file, which supports OpenVINO only.

    Raises:
        ArtifactError: a format is unknown or has no int8, or ``out`` is the path of one file and
            there are several.
    """
    formats = find_formats(names, out)
    for made in formats:
        if not made.int8:
            raise ArtifactError(f"{out}: {made.name} has no int8; choose {', '.join(OF_INT8)}")
    if nncf and [made.name for made in formats] != ["openvino"]:
        raise ArtifactError("method nncf is for the format openvino only")
    return place_files(formats, [Options(INT8)], out)


def write_int8(name: str, scheme: Scheme, out: Path) -> None:
    """Write a scheme as the file of a format, without a measurement."""
    if name == "openvino":
        # On MobileNetV2 this is more exact than NNCF (benchmarks/int8-clothing.md).
        made = converted(write_onnx(scheme.quantised()))
        write_ir(made, scheme.config, out, method=scheme.method)
    elif name == "litert":
        # uint8 input and output, as in published files: with one mean and deviation for all
        # channels, a pixel is the integer itself, and MediaPipe accepts nothing else.
        out.write_bytes(write_litert(scheme.quantised(), unsigned=True))
    elif name == "onnx":
        out.write_bytes(write_onnx(scheme.quantised()))
    else:
        raise ArtifactError(f"{out}: {name} has no int8; choose {', '.join(OF_INT8)}")


def write_nncf(config: ModelConfig, folded: Folded, pictures: NDArray, out: Path) -> None:
    """Write an OpenVINO file (.xml, and the .bin beside it) by NNCF, Intel's own quantiser.

    NNCF selects the operations to quantise and corrects biases itself, so its input is the network
    without equalisation. An equalised network has a larger error (measured on the published
    ImageNet network: a logit's error of 0.22 to 0.24 instead of 0.15).

    Args:
        config: config of the network.
        folded: float weights and biases, neither equalised nor corrected.
        pictures: calibration images, uint8 (n, height, width, channels) at the network's size, not
            those of the measurement.
        out: path of the .xml file.
    """
    if not len(pictures):
        raise DataError("there are no photos for calibration; give some")
    require("openvino")
    nncf = require("nncf")

    class Shown(list[NDArray]):
        """List of images that shows progress while NNCF reads it."""

        def __iter__(self) -> Iterator[NDArray]:
            return track(super().__iter__(), "calibrating", len(self))

    def prepared(picture: NDArray) -> NDArray:
        return engine_input(picture[np.newaxis], config.preprocessing)

    made = converted(write_onnx(lower_folded(config, folded)))
    try:
        # NNCF prints progress bars and advice on stdout, which is for results.
        with errors_only("nncf"), contextlib.redirect_stdout(io.StringIO()):
            # The best of NNCF's presets and bias corrections: MIXED (asymmetric activations) had an
            # error of 0.18, and the slow correction the same error in twice the time.
            made = nncf.quantize(
                made,
                nncf.Dataset(Shown(pictures), prepared),
                preset=nncf.QuantizationPreset.PERFORMANCE,
                fast_bias_correction=True,
                subset_size=len(pictures),
            )
    except Exception as error:  # no narrower common base of NNCF's and OpenVINO's
        raise ArtifactError(f"NNCF cannot quantise the network ({reason(error)})") from None
    method = NNCF_METHOD.format(version=nncf.__version__, count=len(pictures))
    write_ir(made, config, out, method=method)
