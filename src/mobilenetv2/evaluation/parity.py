"""Compare the same weights in every edition, and under other numerics.

Every named tensor of each edition is held against the NumPy edition's in float64. Each runs in a
process of its own: Keras has one backend in a process, and frameworks do not always get on with
each other.
"""

import dataclasses
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.editions.edition import FRAMEWORKS, find
from mobilenetv2.editions.keras_backend import BACKENDS
from mobilenetv2.errors import MissingExtra, MobileNetV2Error
from mobilenetv2.evaluation.predictions import BATCH, class_scores
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.network import Size
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import finite, plain

TOLERANCE = 1e-4
"""Of float32: a difference is at most this times max(1, the reference's largest value)."""
REFERENCE = "numpy:float64"
MARGIN = 1e-3
"""Two logits closer than this may change places between editions."""
LEAST_DEVIATION = 0.5
"""Logits that deviate less from their mean say little about the layers before them."""
MISSING, ERROR = "parity: missing: ", "parity: error: "
"""How the child's own messages begin."""
AT_ONCE = 4
"""Pictures whose tensors are held at once."""
Tensors = Mapping[str, NDArray]


@dataclass(frozen=True, slots=True)
class Difference:
    """One named tensor of one edition against the reference's."""

    name: str
    absolute: float
    """Largest |difference|; infinite where shapes differ or a value is not a number."""
    scale: float
    """Largest |reference|."""

    @property
    def relative(self) -> float:
        """``absolute`` as a share of max(1, ``scale``)."""
        return self.absolute / max(1.0, self.scale)


def compare_tensors(reference: Tensors, tensors: Tensors) -> list[Difference]:
    """Compare every tensor of the reference, in its order, with the one of the same name."""
    return [_compare(name, expected, tensors.get(name)) for name, expected in reference.items()]


def _compare(name: str, expected: NDArray, value: NDArray | None) -> Difference:
    worst = math.inf
    if value is not None and value.shape == expected.shape:
        difference = float(np.abs(value.astype(np.float64) - expected).max())
        worst = difference if math.isfinite(difference) else worst
    return Difference(name, worst, float(np.abs(expected).max()))


def first_departure(rows: Sequence[Difference], tolerance: float = TOLERANCE) -> str | None:
    """Return the first tensor in the order of the network that is outside tolerance."""
    return next((row.name for row in rows if row.relative > tolerance), None)


@dataclass(frozen=True, slots=True)
class Parity:
    """The comparison for one model and one batch of pictures."""

    rows: dict[str, list[Difference]]
    """Edition -> every named tensor."""
    logits: dict[str, NDArray]
    """Edition -> (pictures, classes) of all pictures; first the reference's under its own name."""
    tolerance: float

    @property
    def departures(self) -> dict[str, str]:
        """Edition -> the first tensor outside tolerance, for the editions that have one."""
        first = {
            edition: first_departure(rows, self.tolerance) for edition, rows in self.rows.items()
        }
        return {edition: name for edition, name in first.items() if name}

    @property
    def pairs(self) -> dict[tuple[str, str], Difference]:
        """Every two editions' logits against each other, all pictures."""
        names = list(self.rows)
        return {
            (one, other): _compare("logits", self.logits[one], self.logits[other])
            for one, other in combinations(names, 2)
        }

    @property
    def deviation(self) -> float:
        """Standard deviation of the reference's logits: near 0 nothing would be compared."""
        return float(self.logits[REFERENCE].std())

    @property
    def disagreements(self) -> int:
        """Pictures with a clear best class in the reference where an edition has another."""
        single = self.logits[REFERENCE].shape[1] == 1  # the log-odds of the second of two classes
        scores = [
            class_scores(logits, "logit") if single else logits for logits in self.logits.values()
        ]
        best = np.sort(scores[0], 1)
        clear = best[:, -1] - best[:, -2] > MARGIN
        answers = np.stack([one.argmax(1) for one in scores])
        return int((clear & (answers != answers[0]).any(0)).sum())

    @property
    def passed(self) -> bool:
        """Everything within tolerance, every two editions included."""
        close = all(pair.relative <= self.tolerance for pair in self.pairs.values())
        return close and not self.departures and not self.disagreements

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON; None for what is infinite or not a number."""
        return {
            "passed": self.passed, "tolerance": self.tolerance, "reference": REFERENCE,
            "pictures": len(self.logits[REFERENCE]), "logits_deviation": finite(self.deviation),
            "first_departure": {name: self.departures.get(name) for name in self.rows},
            "disagreements": self.disagreements,
            "pairs": [
                {"editions": list(names), **plain(row, "absolute", "relative")}
                for names, row in self.pairs.items()
            ],
            "editions": {
                name: [plain(row, "name", "absolute", "relative", "scale") for row in rows]
                for name, rows in self.rows.items()
            },
        }  # fmt: skip


def parse_editions(names: str) -> list[str]:
    """Return the editions of a list such as 'torch,keras:jax'.

    Raises:
        MobileNetV2Error: one is unknown, or there is none.
    """
    known = [*FRAMEWORKS, *(f"keras:{backend}" for backend in BACKENDS)]
    editions = [name.strip() for name in names.split(",") if name.strip()]
    for name in editions:
        if name not in known:
            raise MobileNetV2Error(f"--editions {name}: unknown; {suggestion(name, known)}")
    if not editions:
        raise MobileNetV2Error(f"--editions: none given; known are: {', '.join(known)}")
    return list(dict.fromkeys(editions))


@dataclass(frozen=True, slots=True)
class Case:
    """One model on one batch of pictures."""

    model: Path
    """A model folder."""
    x: NDArray
    """float32 (pictures, height, width, channels), normalised."""
    size: Size | None = None
    """Of the pictures, if not the model's own."""
    detailed: int = 2
    """Pictures of which all tensors are compared; of the others only the logits."""


def compare_editions(
    cases: Sequence[Case], editions: Sequence[str], tolerance: float = TOLERANCE
) -> list[Parity]:
    """Run every case in every edition, each edition in one child process.

    Raises:
        MobileNetV2Error: an edition could not be run, with its own message, or a tolerance that
            anything or nothing would pass.
        MissingExtra: an edition's framework is not installed.
    """
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise MobileNetV2Error(f"--tolerance {tolerance:g} must be a finite number above 0")
    with tempfile.TemporaryDirectory(prefix="parity-") as name:
        folder = Path(name)
        for index, case in enumerate(cases):
            np.save(folder / f"x{index}.npy", case.x)
        references = run_edition(REFERENCE, cases, folder)
        logits = [{REFERENCE: reference.pop("all")} for reference in references]
        rows: list[dict[str, list[Difference]]] = [{} for _ in cases]
        for edition in editions:
            for index, tensors in enumerate(run_edition(edition, cases, folder)):
                logits[index][edition] = tensors.pop("all")
                rows[index][edition] = compare_tensors(references[index], tensors)
    return [Parity(*both, tolerance) for both in zip(rows, logits, strict=True)]


def run_edition(edition: str, cases: Sequence[Case], folder: Path) -> list[dict[str, NDArray]]:
    """Run one edition in a child process; return each case's tensors, 'all' being all logits.

    ``folder`` has the pictures, ``x0.npy`` and so on; the child writes there too.
    """
    jobs = [
        {"model": str(case.model), "size": case.size, "detailed": case.detailed} for case in cases
    ]
    child = subprocess.run(
        [sys.executable, "-m", "mobilenetv2.evaluation.parity", edition, str(folder)],
        input=json.dumps(jobs), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if child.returncode:
        lines = child.stderr.strip().splitlines()
        for line in lines:  # frameworks write there too
            if line.startswith(MISSING):
                raise MissingExtra(line.removeprefix(MISSING))
            if line.startswith(ERROR):
                raise MobileNetV2Error(f"{edition} edition: {line.removeprefix(ERROR)}")
        last = lines[-1] if lines else "no message"
        models = ", ".join(dict.fromkeys(str(case.model) for case in cases))
        raise MobileNetV2Error(
            f"{edition} edition on {models}: ended with status {child.returncode} ({last})"
        )
    results = []
    for index in range(len(cases)):
        with np.load(folder / f"tensors{index}.npz") as stored:
            results.append(dict(stored))
    return results


def compute(name: str, job: dict[str, Any], x: NDArray) -> dict[str, NDArray]:
    """Return every named tensor of the first ``detailed`` pictures, and under 'all' all logits."""
    name, _, option = name.partition(":")
    options: dict[str, Any] = {}
    if option:
        options[{"numpy": "dtype", "keras": "backend"}[name]] = option
    config, arrays = store.load(Path(job["model"]))
    if job["size"]:
        size = (job["size"][0], job["size"][1])
        config = dataclasses.replace(
            config, spec=config.spec.replace(size=size), preprocessing=config.preprocessing.at(size)
        )
    edition = find(name)
    network = edition.build(config, **options)
    edition.load(network, arrays, job["model"])
    tensors = edition.intermediates(network, x[: job["detailed"]])
    logits = [tensors["logits"]]
    for start in range(job["detailed"], len(x), AT_ONCE):
        part = x[start : start + AT_ONCE]
        logits.append(edition.intermediates(network, part)["logits"])
    return {**tensors, "all": np.concatenate(logits)}


@dataclass(frozen=True, slots=True)
class NumericsEffect:
    """The same pictures through both networks."""

    pictures: int
    agreements: int
    """Pictures with the same best class."""
    difference: float
    """Largest |difference of logits|."""
    scale: float
    """Largest |logit| before."""

    def __str__(self) -> str:
        return (
            f"{self.agreements} of {self.pictures} photos keep their best class; logits of up to "
            f"{self.scale:.3g} change by up to {self.difference:.3g}"
        )


def numerics_effect(
    before: ModelConfig, after: ModelConfig, arrays: Arrays, pictures: NDArray
) -> NumericsEffect:
    """Compare two configs with the same weights on uint8 (batch, height, width, channels)."""
    # Either computes the same; the plain reference takes a second a picture.
    edition = find("torch" if find_spec("torch") else "numpy")
    logits = []
    for config in (before, after):
        network = edition.build(config)
        edition.load(network, arrays)
        predict = edition.predictor(network)
        parts = [predict(pictures[i : i + BATCH]) for i in range(0, len(pictures), BATCH)]
        logits.append(np.concatenate(parts))
    one, other = logits
    first, second = (class_scores(x, before.spec.classifier.outputs).argmax(1) for x in logits)
    return NumericsEffect(
        len(pictures), int((first == second).sum()),
        float(np.abs(one - other).max()), float(np.abs(one).max()),
    )  # fmt: skip


def main(edition: str, folder: Path, jobs: list[dict[str, Any]]) -> None:
    """Run one edition: pictures from ``FOLDER/x0.npy``, their tensors to ``FOLDER/tensors0.npz``.

    Args:
        jobs: what :func:`run_edition` writes to stdin, one for each file of pictures.
    """
    for index, job in enumerate(jobs):
        stored: dict[str, Any] = compute(edition, job, np.load(folder / f"x{index}.npy"))
        np.savez(folder / f"tensors{index}.npz", **stored)


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), json.load(sys.stdin))
    except MissingExtra as error:
        sys.exit(f"{MISSING}{error}")
    except MobileNetV2Error as error:
        sys.exit(f"{ERROR}{error}")
