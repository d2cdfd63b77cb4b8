"""Export of files whose outputs agree with the edition's for the same images.

If the user gives no photos, images are drawn (:mod:`mobilenetv2.images.drawn`).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError, argument, installing
from mobilenetv2.evaluation.predictions import best_classes, largest_difference
from mobilenetv2.exporting.job import (
    Given,
    Options,
    Request,
    find_formats,
    place_files,
    require_honoured,
    writer_of,
)
from mobilenetv2.formats import FORMATS, Precision
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.outputs import logits_of, probabilities
from mobilenetv2.runtime.engines.engine import Engine
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import finite

TOLERANCES: Mapping[Precision, float] = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 1e-1}
"""Largest allowed difference of outputs by precision, times max(1, the reference's largest).

bfloat16 has three bits less than float16.
"""
RANDOM = 2
"""Number of random tensors that are compared beside the images."""
WIDER = (33, 64)
"""Additional rows and columns of an image of another size: an odd and an even number."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Comparison of a file's outputs with the reference's."""

    photos: int
    random: int
    difference: float
    """Largest absolute difference of any output; infinite if one is not a number."""
    largest: float
    """Largest absolute output of the reference."""
    deviation: float
    """Standard deviation of the reference's outputs; near 0 the comparison means little."""
    tolerance: float
    same_top1: int
    """Number of photos for which the best class is the reference's."""
    outputs: Given = "logits"
    """Outputs of the file that were compared, which all figures are of."""

    @property
    def relative(self) -> float:
        """Difference as a fraction of :attr:`scale`."""
        return self.difference / self.scale

    @property
    def scale(self) -> float:
        """Size of the reference's outputs: the largest, of logits at least 1."""
        return self.largest if self.outputs == "probabilities" else max(1.0, self.largest)

    @property
    def passed(self) -> bool:
        """True if the difference is within the tolerance."""
        return self.relative <= self.tolerance

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "outputs": self.outputs,
            "photos": self.photos,
            "random_tensors": self.random,
            "max_abs_difference": finite(self.difference),
            "max_abs_reference": self.largest,
            "standard_deviation_of_reference": self.deviation,
            "relative": finite(self.relative),
            "tolerance": self.tolerance,
            "same_top1": self.same_top1,
            "passed": self.passed,
        }


class Reference:
    """Outputs of the plain edition in float64, computed once for all formats.

    Args:
        arrays: canonical.
        photos: uint8 (n, height, width, channels) at the network's size, at least one.
    """

    def __init__(self, config: ModelConfig, arrays: Arrays, photos: NDArray) -> None:
        self.config, self.arrays, self.photos = config, arrays, photos
        self._random = np.random.default_rng(0)

    @cached_property
    def network(self) -> plain.MobileNetV2:
        """Plain edition of the network."""
        network = plain.build(self.config, dtype="float64")
        plain.load(network, self.arrays)
        return network

    @cached_property
    def pictures(self) -> tuple[NDArray, NDArray]:
        """Photos and noise as uint8 images with their logits, for graphs that normalise."""
        noise = self._random.integers(0, 256, (RANDOM, *self.photos.shape[1:]), np.uint8)
        x = np.concatenate([self.photos, noise])
        return x, self._answers(engine_input(x, self.config.preprocessing))

    @cached_property
    def tensors(self) -> tuple[NDArray, NDArray]:
        """Normalised photos and normal noise (float32 NCHW) with their logits."""
        photos = engine_input(self.photos, self.config.preprocessing)
        noise = self._random.normal(size=(RANDOM, *photos.shape[1:])).astype(np.float32)
        x = np.concatenate([photos, noise])
        return x, self._answers(x)

    @cached_property
    def elsewhere(self) -> "Reference":
        """Reference for an image of another size, for files that accept any size."""
        more = ((0, 0), (0, WIDER[0]), (0, WIDER[1]), (0, 0))
        return Reference(self.config, self.arrays, np.pad(self.photos[:1], more, "reflect"))

    def _answers(self, x: NDArray) -> NDArray:
        # One by one: a whole batch in float64 takes much memory.
        return np.concatenate([self.network(x[i : i + 1]) for i in range(len(x))])

    def compare(
        self, engine: Engine, precision: Precision, tolerance: float | None = None
    ) -> Comparison:
        """Return the comparison of an engine's logits or probabilities with the reference's.

        Args:
            engine: the engine.
            precision: precision of the file.
            tolerance: largest allowed difference as in :data:`TOLERANCES`; None for the
                precision's.

        Raises:
            ArtifactError: the engine gives another number of outputs, or cannot run.
        """
        x, expected = self.pictures if engine.takes_pictures else self.tensors
        kind, count = self.config.spec.classifier.outputs, len(self.photos)
        outputs: Given = "probabilities" if "probabilities" in engine.outputs else "logits"
        found = engine.run(x, outputs)
        if found.shape != expected.shape:
            raise ArtifactError(
                f"its {outputs} have shape {list(found.shape)}, not {list(expected.shape)}"
            )
        logits = found if outputs == "logits" else logits_of(found, kind)
        answers, correct = (best_classes(y[:count], kind) for y in (logits, expected))
        if outputs == "probabilities":
            # A single one is that of the second class.
            expected = probabilities(expected, kind)[:, -expected.shape[1] :]
        return Comparison(
            count, RANDOM, largest_difference(found, expected), float(np.abs(expected).max()),
            float(expected.std()), tolerance or TOLERANCES[precision],
            int((answers == correct).sum()), outputs,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exporter:
    """Maker of exported files, each compared with the reference (a ``job.Maker``)."""

    reference: Reference
    keep_inexact: bool = False
    """True to keep files outside the tolerance, whose outputs are numbers at least."""

    def write(self, request: Request, out: Path) -> None:
        """Write the file with the module of its format."""
        config, arrays = self.reference.config, self.reference.arrays
        writer_of(request.format)(config, arrays, out, request.options)

    def compare(self, request: Request, engine: Engine) -> Comparison:
        """Return the comparison of logits, also at another size if the file accepts any."""
        precision = request.options.precision
        comparison = self.reference.compare(engine, precision, request.format.tolerance)
        if request.options.any_size and comparison.passed:
            elsewhere = self.reference.elsewhere.compare(engine, precision)
            return comparison if elsewhere.passed else elsewhere
        return comparison

    def refusal(self, verdict: Comparison) -> str:
        """Return the reason why a file is not kept; '' if it is."""
        finite = math.isfinite(verdict.difference)
        if verdict.passed or (finite and self.keep_inexact):
            return ""
        advice = f"; {argument('keep_inexact', True)} keeps it" if finite else ""
        return (
            f"not kept, since its {verdict.outputs} differ from the reference by "
            f"{verdict.difference:.3g} and at most "
            f"{verdict.tolerance * verdict.scale:.3g} is allowed{advice}"
        )

    def facts(self, request: Request) -> dict[str, Any]:
        """Return further facts for the record beside a file."""
        return {
            "takes": "uint8 pictures" if request.options.pictures else "normalised float32",
            "gives": request.options.outputs or "logits",
            "runs_here": request.format.runs_here,
            "reference": "the NumPy edition in float64",
        }


def requests(names: Sequence[str], options: Sequence[Options], out: Path) -> list[Request]:
    """Return the requests for ``--format A,B --precision C,D``.

    Args:
        names: names of formats; none means the format of ``out``'s suffix.
        options: options for each precision.
        out: path as for :func:`mobilenetv2.exporting.job.place_files`.

    Raises:
        ArtifactError: an unknown format, no format, an option that a format does not support, or a
            path for one file when there are several.
    """
    formats = find_formats(names, out)
    for made in formats:
        for each in options:
            require_honoured(made, each)
    return [_usual(request) for request in place_files(formats, options, out)]


def _usual(request: Request) -> Request:
    """Return the request with the outputs that its format usually has, if none were chosen."""
    return dataclasses.replace(request, options=request.options.for_format(request.format))


def possible_requests(options: Sequence[Options], out: Path) -> tuple[list[Request], list[str]]:
    """Return the requests for ``--format all``: those that the installed formats support.

    Returns:
        The requests, and notes about formats that are left out and why.

    Raises:
        ArtifactError: ``out`` is a path for one file.
    """
    possible: list[Request] = []
    refused: dict[str, list[str]] = {}
    absent: dict[str, list[str]] = {}
    for name, made in FORMATS.items():
        for each in options:
            try:
                require_honoured(made, each)
            except ArtifactError as error:
                reason = str(error).partition(";")[0].partition(" has ")[2]
                refused.setdefault(reason, []).append(name)
                continue
            if packages := made.missing():
                absent[name] = packages
            else:
                possible += map(_usual, place_files([made], [each], out, alone=False))
    notes = [f"{', '.join(names)} left out: {reason}" for reason, names in refused.items()]
    if absent:
        named = ", ".join(f"{name} ({' and '.join(each)})" for name, each in absent.items())
        lacking = [package for packages in absent.values() for package in packages]
        notes.append(
            f"left out, since packages are missing: {named}; install them with: "
            f"{installing(lacking)}"
        )
    return possible, notes
