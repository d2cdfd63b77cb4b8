"""int8 files, judged against the float network on photos that neither was made with."""

import importlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.dataset import Split
from mobilenetv2.errors import ArtifactError
from mobilenetv2.evaluate.metrics import Z95, wilson
from mobilenetv2.evaluate.predictions import class_scores, predict_split
from mobilenetv2.export.job import Options, Request, find_format, format_of, place_files, versions
from mobilenetv2.formats import INT8, OF_INT8
from mobilenetv2.graph.litert import write_litert
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.model.folding import Folded
from mobilenetv2.quantize.scheme import Range, Scheme
from mobilenetv2.runtime.engine import Engine
from mobilenetv2.runtime.predictor import engine_predictor
from mobilenetv2.spec.network import Outputs
from mobilenetv2.spec.records import ModelConfig, Preprocessing

NNCF = "nncf"
"""The other way to an OpenVINO file: Intel's own calibration and bias correction."""
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
        """For JSON: fractions, the drop in points."""
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
        answers, before = (
            class_scores(logits, self.kind).argmax(1) for logits in (found, self.expected)
        )
        return Judgement(
            len(found), int((answers == self.truth).sum()), int((before == self.truth).sum()),
            int(((answers == self.truth) & (before == self.truth)).sum()),
            int((answers == before).sum()), float(np.abs(found - self.expected).mean()),
        )  # fmt: skip

    def _logits(self, engine: Engine, label: str) -> NDArray:
        predict = engine_predictor(engine, self.record)
        logits, _ = predict_split(predict, self.split, self.record, f"measuring {label}")
        return logits


@dataclass(frozen=True, slots=True)
class Quantiser:
    """Makes int8 files and judges each: a ``export.job.Maker``."""

    scheme: Scheme
    folded: Folded
    """The float network, for converters that quantise by themselves."""
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
        write_int8(request.format.name, self.scheme, self.folded, self.pictures, out, self.nncf)

    def compare(self, request: Request, engine: Engine) -> Judgement:
        """Compare the answers for the judged photos with the float network's."""
        return self.judge.compare(engine, request.label)

    def refusal(self, verdict: Judgement) -> str:
        """Return why a file is not kept; '' where it is."""
        if verdict.passed or self.force:
            return ""
        return (
            f"it loses {verdict.drop:.1f} points of top-1 where at most {MOST_LOST:.1f} are "
            "allowed, so it was not kept; more calibration photos, another --method or --train "
            "may help, and --force keeps it"
        )

    def facts(self, request: Request) -> dict[str, Any]:
        """Return what else is written down beside a file."""
        packages = (*request.format.packages, *((NNCF,) if self.nncf else ()))
        return {
            "reference": "the float32 network in ONNX Runtime", **self.known,
            "versions": versions(packages),
        }  # fmt: skip


def requests(names: Sequence[str], out: Path, nncf: bool = False) -> list[Request]:
    """Return what ``--format A,B`` asks for.

    Args:
        names: formats; none takes the one that ``out`` ends in.
        out: as for :func:`mobilenetv2.export.job.place_files`.
        nncf: OpenVINO's file by NNCF, which makes no others.

    Raises:
        ArtifactError: a format that is not made in int8, or a place for one file where there are to
            be several.
    """
    formats = [find_format(name) for name in names] or [format_of(out)]
    for made in formats:
        if not made.int8:
            raise ArtifactError(f"{out}: int8 is made of {', '.join(OF_INT8)}, not of {made.name}")
    if nncf and [made.name for made in formats] != ["openvino"]:
        raise ArtifactError("--method nncf is for --format openvino alone")
    return place_files(formats, [Options(INT8)], out)


def write_int8(
    name: str, scheme: Scheme, folded: Folded, pictures: NDArray, out: Path, nncf: bool = False
) -> None:
    """Write the file of a format, unjudged.

    Args:
        folded: the float network, for NNCF, which quantises by itself.
        pictures: to calibrate on, for the same.
        nncf: OpenVINO's file by NNCF, not by the scheme.
    """
    if name == "openvino":
        module: Any = importlib.import_module("mobilenetv2.quantize.openvino")
        if nncf:
            module.write(scheme.config, folded, pictures, out)
        else:
            module.write_scheme(scheme, out)
    elif name == "litert":
        # Ends of uint8, as published files have them: a pixel is the integer where the
        # preprocessing is one mean and deviation, and MediaPipe takes nothing else.
        out.write_bytes(write_litert(scheme.quantised(), unsigned=True))
    else:
        out.write_bytes(write_onnx(scheme.quantised()))


def save_scheme(scheme: Scheme, path: Path) -> None:
    """Write a scheme as an .npz, for another process; its config is the model folder's."""
    arrays = {
        f"{name}/{part}": values
        for name, pair in scheme.folded.items()
        for part, values in zip(("weight", "bias"), pair, strict=True)
    }
    facts = {
        "ranges": {name: [each.low, each.high] for name, each in scheme.ranges.items()},
        "per_channel": scheme.per_channel, "method": scheme.method,
        "weight_bits": scheme.weight_bits,
    }  # fmt: skip
    np.savez(path, facts=np.array(json.dumps(facts)), **arrays)  # type: ignore[arg-type]


def load_scheme(path: Path, config: ModelConfig) -> Scheme:
    """Read what :func:`save_scheme` wrote."""
    with np.load(path) as stored:
        facts = json.loads(str(stored["facts"]))
        names = [name.removesuffix("/weight") for name in stored.files if name.endswith("/weight")]
        folded: Folded = {
            name: (stored[f"{name}/weight"], stored[f"{name}/bias"]) for name in names
        }
    ranges = {name: Range(*ends) for name, ends in facts.pop("ranges").items()}
    return Scheme(config, folded, ranges, **facts)
