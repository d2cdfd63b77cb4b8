"""int8 files, judged against the float network on photos that neither was made with."""

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
from mobilenetv2.runtime.engine import Engine
from mobilenetv2.runtime.openvino import reason
from mobilenetv2.runtime.predictor import engine_predictor
from mobilenetv2.spec.network import Outputs
from mobilenetv2.spec.records import ModelConfig, Preprocessing

NNCF = "nncf"
"""The other way to an OpenVINO file: Intel's own calibration and bias correction."""
NNCF_METHOD = (
    "post-training by NNCF {version}: symmetric weights with a scale a channel, symmetric "
    "activations, fast bias correction, {count} pictures"
)
MOST_LOST = 2.0
"""Points of top-1 that int8 may lose."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One network on the judged photos, beside its float self."""

    photos: int
    right: int
    float_right: int
    both: int
    """How many both are right on."""
    same: int
    """How many have the float network's best class."""
    difference: float
    """Mean |difference| of the logits."""

    @property
    def top1(self) -> float:
        """Share of photos that it is right on."""
        return self.right / self.photos

    @property
    def drop(self) -> float:
        """Points of top-1 lost; negative where int8 is better."""
        return 100 * (self.float_right - self.right) / self.photos

    @property
    def drop_interval(self) -> tuple[float, float]:
        """95% interval of the drop, in points: paired, since both saw the same photos.

        Agresti and Min, Statistics in Medicine 24 (2005): half a photo is added to each of the
        four combinations of right and wrong, so that none lost of few is no certainty.
        """
        lost, won = self.float_right - self.both + 0.5, self.right - self.both + 0.5
        count = self.photos + 2
        half = Z95 * math.sqrt(lost + won - (lost - won) ** 2 / count) / count
        centre = (lost - won) / count
        return (100 * (centre - half), 100 * (centre + half))

    @property
    def agreement(self) -> float:
        """Share of photos with the float network's best class."""
        return self.same / self.photos

    @property
    def passed(self) -> bool:
        """Whether it loses no more than is allowed."""
        return self.drop <= MOST_LOST

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: fractions, the drop in points."""
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
    """Photos with their truth, and what the float network answers for them.

    Args:
        split: the judged photos.
        outputs: class of the dataset -> output of the network.
        reference: the float network's engine.
        kind: what the network's logits mean.
    """

    def __init__(
        self, split: Split, outputs: Sequence[int], record: Preprocessing, reference: Engine,
        kind: Outputs = "softmax",
    ) -> None:  # fmt: skip
        self.split, self.record, self.kind = split, record, kind
        self.truth = np.array([outputs[photo.label] for photo in split.photos])
        self.expected = self._logits(reference, "float32")

    def compare(self, engine: Engine, label: str) -> Judgement:
        """Return how another engine answers for the same photos."""
        found = self._logits(engine, label)
        answers, before = (best_classes(logits, self.kind) for logits in (found, self.expected))
        right, float_right = answers == self.truth, before == self.truth
        return Judgement(
            len(found), int(right.sum()), int(float_right.sum()), int((right & float_right).sum()),
            int((answers == before).sum()), float(np.abs(found - self.expected).mean()),
        )  # fmt: skip

    def _logits(self, engine: Engine, label: str) -> NDArray:
        predict = engine_predictor(engine, self.record)
        logits, _ = predict_split(predict, self.split, self.record, f"measuring {label}")
        return logits


@dataclass(frozen=True, slots=True)
class Quantiser:
    """Makes int8 files and judges each: an ``exporting.job.Maker``."""

    scheme: Scheme
    folded: Folded
    """The float network, for NNCF, which quantises by itself."""
    pictures: NDArray
    """That were calibrated on: uint8 (photos, height, width, channels)."""
    judge: Judge
    known: Mapping[str, Any]
    """For the record beside each file: which photos, which method."""
    nncf: bool = False
    """OpenVINO's file by NNCF."""
    force: bool = False
    """Keep what loses too much, as well."""

    def write(self, request: Request, out: Path) -> None:
        """Write the file of a scheme, or NNCF's."""
        if self.nncf:
            write_nncf(self.scheme.config, self.folded, self.pictures, out)
        else:
            write_int8(request.format.name, self.scheme, out)

    def compare(self, request: Request, engine: Engine) -> Judgement:
        """Compare the answers for the judged photos with the float network's."""
        return self.judge.compare(engine, request.label)

    def refusal(self, verdict: Judgement) -> str:
        """Return why a file is not kept; '' where it is."""
        if verdict.passed or self.force:
            return ""
        return (
            f"it loses {verdict.drop:.1f} points of top-1 where at most {MOST_LOST:.1f} are "
            "allowed, so it was not kept; more calibration photos, another method or train "
            "may help, and force keeps it"
        )

    def facts(self, request: Request) -> dict[str, Any]:
        """Return what else is written down beside a file."""
        packages = (*request.format.packages, *((NNCF,) if self.nncf else ()))
        return {
            "reference": "the float32 network in ONNX Runtime", **self.known,
            "versions": versions(packages),
        }  # fmt: skip


def requests(names: Sequence[str], out: Path, nncf: bool = False) -> list[Request]:
    """Return a request for each format, as :func:`mobilenetv2.exporting.verify.requests`.

    Args:
        nncf: OpenVINO's file by NNCF, which makes no others.

    Raises:
        ArtifactError: a format that is unknown or has no int8, or a place for one file where there
            are to be several.
    """
    formats = find_formats(names, out)
    for made in formats:
        if not made.int8:
            raise ArtifactError(f"{out}: int8 is made of {', '.join(OF_INT8)}, not of {made.name}")
    if nncf and [made.name for made in formats] != ["openvino"]:
        raise ArtifactError("method nncf is for the format openvino alone")
    return place_files(formats, [Options(INT8)], out)


def write_int8(name: str, scheme: Scheme, out: Path) -> None:
    """Write a scheme as the file of a format, unjudged."""
    if name == "openvino":
        # On MobileNetV2 this is more exact than NNCF (benchmarks/int8-clothing.md).
        made = converted(write_onnx(scheme.quantised()))
        write_ir(made, scheme.config, out, method=scheme.method)
    elif name == "litert":
        # Ends of uint8, as published files have them: a pixel is the integer where the
        # preprocessing is one mean and deviation, and MediaPipe takes nothing else.
        out.write_bytes(write_litert(scheme.quantised(), unsigned=True))
    elif name == "onnx":
        out.write_bytes(write_onnx(scheme.quantised()))
    else:
        raise ArtifactError(f"{out}: int8 is not made of {name}; choose {', '.join(OF_INT8)}")


def write_nncf(config: ModelConfig, folded: Folded, pictures: NDArray, out: Path) -> None:
    """Write an OpenVINO file (.xml, and the .bin beside it) by NNCF, Intel's own quantiser.

    NNCF chooses by itself what is worth quantising and corrects the biases of what it has
    quantised, so that it is given the network as it is: an equalised one comes out worse (measured
    on the published ImageNet network: a logit's error of 0.22 to 0.24 instead of 0.15).

    Args:
        folded: float weights and biases, neither equalised nor corrected.
        pictures: to calibrate on, uint8 (n, height, width, channels) at the network's size. Not
            those that the result is judged on.
    """
    if not len(pictures):
        raise DataError("no picture to calibrate on; give some")
    require("openvino")
    nncf = require("nncf")

    class Shown(list[NDArray]):
        """Pictures that show how far they are."""

        def __iter__(self) -> Iterator[NDArray]:
            return track(super().__iter__(), "calibrating", len(self))

    def prepared(picture: NDArray) -> NDArray:
        return engine_input(picture[np.newaxis], config.preprocessing)

    made = converted(write_onnx(lower_folded(config, folded)))
    try:
        # It prints bars and advice on stdout, where results belong.
        with errors_only("nncf"), contextlib.redirect_stdout(io.StringIO()):
            # Of its presets and bias corrections these did best: MIXED (activations that are not
            # symmetric) had an error of 0.18, the slow correction the same error in twice the time.
            made = nncf.quantize(
                made,
                nncf.Dataset(Shown(pictures), prepared),
                preset=nncf.QuantizationPreset.PERFORMANCE,
                fast_bias_correction=True,
                subset_size=len(pictures),
            )
    except Exception as error:  # its own classes and OpenVINO's have nothing narrower in common
        raise ArtifactError(f"NNCF cannot quantise the network ({reason(error)})") from None
    method = NNCF_METHOD.format(version=nncf.__version__, count=len(pictures))
    write_ir(made, config, out, method=method)
