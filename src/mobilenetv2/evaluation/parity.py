"""Parity of the editions: comparison of the same weights in every framework.

Each named tensor of an edition is compared with that of the NumPy edition in float64.
"""

import dataclasses
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.photos import Photos, collect
from mobilenetv2.editions.edition import FRAMEWORKS, INVERTED_ONLY, find
from mobilenetv2.editions.keras_backend import BACKENDS
from mobilenetv2.errors import MobileNetV2Error, SpecError, argument, installing
from mobilenetv2.evaluation.edition_runs import Case, run_edition
from mobilenetv2.evaluation.predictions import class_scores, load_pictures
from mobilenetv2.evaluation.report.html import element, plain_table
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.outputs import require_finite
from mobilenetv2.model.store import load_config
from mobilenetv2.networks.given_model import AnyModel, located
from mobilenetv2.progress import say
from mobilenetv2.runtime.bulk import BATCH
from mobilenetv2.spec.blocks import require_inverted
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.network import NetworkSpec, Size
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import finite, plain

TOLERANCE = 1e-4
"""Tolerance of float32: largest difference as a share of max(1, largest reference value)."""
REFERENCE = "numpy:float64"
MARGIN = 1e-3
"""Difference of two logits below which editions may rank them differently."""
LEAST_DEVIATION = 0.5
"""Standard deviation of the logits below which a comparison is not informative."""
Tensors = Mapping[str, NDArray]


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of one named tensor between an edition and the reference."""

    name: str
    absolute: float
    """Largest absolute difference; infinite if shapes differ or a value is not finite."""
    scale: float
    """Largest absolute value of the reference."""

    @property
    def relative(self) -> float:
        """Largest absolute difference as a share of max(1, ``scale``); infinite if either is."""
        if not (math.isfinite(self.absolute) and math.isfinite(self.scale)):
            return math.inf
        return self.absolute / max(1.0, self.scale)


def compare_tensors(reference: Tensors, tensors: Tensors) -> list[Difference]:
    """Return the difference of each tensor of the reference to the tensor of the same name."""
    return [_compare(name, expected, tensors.get(name)) for name, expected in reference.items()]


def _compare(name: str, expected: NDArray, value: NDArray | None) -> Difference:
    worst = math.inf
    if value is not None and value.shape == expected.shape:
        with np.errstate(invalid="ignore", over="ignore"):  # infinity less infinity
            difference = float(np.abs(value.astype(np.float64) - expected).max())
        worst = difference if math.isfinite(difference) else worst
    return Difference(name, worst, float(np.abs(expected).max()))


def first_departure(rows: Sequence[Difference], tolerance: float = TOLERANCE) -> str | None:
    """Return the name of the first tensor of the network outside the tolerance, or None."""
    return next((row.name for row in rows if row.relative > tolerance), None)


@dataclass(frozen=True, slots=True, repr=False)
class Parity:
    """The comparison of editions for one model and one batch of images."""

    rows: dict[str, list[Difference]]
    """Edition -> differences of all named tensors."""
    logits: dict[str, NDArray]
    """Edition -> logits of all images, (images, classes); the reference comes first."""
    tolerance: float
    """Largest relative difference that passes."""
    model: str = ""
    """Name or folder of the model, as given."""
    size: Size | None = None
    """Height and width of the images; None for the model's own."""

    @property
    def departures(self) -> dict[str, str]:
        """First tensor outside the tolerance, for each edition that has one."""
        first = {
            edition: first_departure(rows, self.tolerance) for edition, rows in self.rows.items()
        }
        return {edition: name for edition, name in first.items() if name}

    @property
    def pairs(self) -> dict[tuple[str, str], Difference]:
        """Differences of the logits of all images between each pair of editions."""
        names = list(self.rows)
        return {
            (one, other): _compare("logits", self.logits[one], self.logits[other])
            for one, other in combinations(names, 2)
        }

    @property
    def deviation(self) -> float:
        """Standard deviation of the reference's logits; near 0 a comparison is not informative."""
        return float(self.logits[REFERENCE].std())

    @property
    def pictures(self) -> int:
        """Number of images."""
        return len(self.logits[REFERENCE])

    @property
    def disagreements(self) -> int:
        """Number of images with a clear best class for which an edition has another best class."""
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
        """True if all tensors and all pairs of editions are within the tolerance."""
        close = all(pair.relative <= self.tolerance for pair in self.pairs.values())
        return close and not self.departures and not self.disagreements

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON; infinity and NaN become None."""
        return {
            "model": self.model, "size": list(self.size) if self.size else None,
            "passed": self.passed, "tolerance": self.tolerance, "reference": REFERENCE,
            "pictures": self.pictures, "logits_deviation": finite(self.deviation),
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

    def verdict(self, edition: str) -> str:
        """Return 'the same at every tensor', or the first tensor that differs, as text."""
        layer = self.departures.get(edition)
        return f"differs first at {layer}" if layer else "the same at every tensor"

    def __repr__(self) -> str:
        editions = "; ".join(f"{name} {self.verdict(name)}" for name in self.rows)
        what = f"{self.model}, " if self.model else ""
        outcome = "passed" if self.passed else "failed"
        return f"Parity({what}{outcome}: {editions}; tolerance {self.tolerance:g})"

    def _repr_html_(self) -> str:
        rows = [
            (name, self.verdict(name), f"{max(row.relative for row in rows):.1e}")
            for name, rows in self.rows.items()
        ]
        title = f"{self.model}: {'passed' if self.passed else 'failed'}"
        note = f"{self.disagreements} images have another best class in one of the editions"
        return element(
            "div",
            plain_table(rows, ("edition", "against NumPy in float64", "largest difference"), title),
            element("p", note) if self.disagreements else None,
        )


def parity(
    model: AnyModel,
    *,
    editions: str | Sequence[str] | None = None,
    size: int | Size | None = None,
    photos: Photos = (),
    tolerance: float = TOLERANCE,
) -> Parity:
    """Compare the editions of a model, tensor by tensor, with the NumPy edition in float64.

    Args:
        model: a model folder, a catalogue name, ``hf://OWNER/NAME``, 'embedded', a network of any
            edition, or the run of ``train``.
        editions: names from 'torch', 'keras', 'jax' and 'numpy', as a list or a text such as
            'torch,jax'; 'keras:tensorflow', 'keras:jax' and 'keras:torch' choose Keras's backend.
            Default: all installed editions that support the network; others are named on stderr.
        size: height and width in pixels, or one number for both. Default: the model's size.
        photos: photos to compare on, as for :func:`runtime.prediction.predict`. Default: two images
            of noise.
        tolerance: largest difference as a share of max(1, largest reference value). Default:
            0.0001.

    Returns:
        The comparison; ``passed`` is True if all tensors are within the tolerance.

    Raises:
        WeightsError: the model cannot be found or read.
        SpecError: the network cannot have this size.
        DataError: a photo does not exist or cannot be read.
        MobileNetV2Error: an edition is unknown or failed, or the tolerance is impossible.
        MissingExtra: the framework of an edition is not installed.
        OutputError: the model's outputs are not finite.

    Example:
        >>> import mobilenetv2 as mn
        >>> found = mn.parity("embedded", editions="numpy,torch")
        >>> found.passed
        True
        >>> found
        Parity(embedded, passed: numpy the same at every tensor; torch ...; tolerance 0.0001)
    """
    with located(model) as given:
        config = load_config(given.place)
        height, width = sides = (size, size) if isinstance(size, int) else size or config.spec.size
        try:
            config.spec.replace(size=sides)
        except SpecError as error:
            raise SpecError(f"size {height}x{width}: {error}") from None
        names = usable_editions(config.spec) if editions is None else parse_editions(editions)
        x = comparison_pictures(config, sides, photos)
        (found,) = compare_editions([Case(given.place, x, sides)], names, tolerance)
    if found.deviation < LEAST_DEVIATION:
        say(
            "note: the comparison is not informative: the logits have a standard deviation of "
            f"{found.deviation:.3g}, below {LEAST_DEVIATION:g}; give "
            f"{argument('photos')} of different things"
        )
    return dataclasses.replace(found, model=given.name, size=sides)


def usable_editions(spec: NetworkSpec) -> list[str]:
    """Return the installed editions that support a network; name the others on stderr."""
    found = []
    for name, packages in FRAMEWORKS.items():
        out = f"note: the {name} edition is skipped"
        if missing := [package for package in packages if find_spec(package) is None]:
            say(f"{out}; install it with: {installing(missing)}")
            continue
        try:
            if name in INVERTED_ONLY:
                require_inverted(spec, name)
            found.append(name)
        except SpecError as error:
            say(f"{out}: {error}")
    return found


def comparison_pictures(config: ModelConfig, sides: Size, photos: Photos = ()) -> NDArray:
    """Return preprocessed photos; without photos, two images of noise.

    Args:
        config: the model's config.
        sides: height and width in pixels.
        photos: the photos. Default: none.

    Returns:
        Normalised images, float32 (images, height, width, channels).
    """
    given = list(collect(photos))
    if not given:
        shape = (2, *sides, config.spec.input_channels)
        return np.random.default_rng(0).standard_normal(shape, np.float32)
    record = config.preprocessing.at(sides)
    return engine_input(load_pictures(given, record), record).transpose(0, 2, 3, 1)


def parse_editions(names: str | Sequence[str]) -> list[str]:
    """Return the editions in a list, or in a text such as 'torch,keras:jax'.

    Raises:
        MobileNetV2Error: an edition is unknown, or none is given.
    """
    known = [*FRAMEWORKS, *(f"keras:{backend}" for backend in BACKENDS)]
    words = names.split(",") if isinstance(names, str) else names
    editions = [name.strip() for name in words if name.strip()]
    for name in editions:
        if name not in known:
            raise MobileNetV2Error(f"edition {name!r} is unknown; {suggestion(name, known)}")
    if not editions:
        raise MobileNetV2Error(f"no editions given; known are: {', '.join(known)}")
    return list(dict.fromkeys(editions))


def compare_editions(
    cases: Sequence[Case], editions: Sequence[str], tolerance: float = TOLERANCE
) -> list[Parity]:
    """Return the comparison for each case, after running each edition in one child process.

    Raises:
        MobileNetV2Error: an edition failed, or the tolerance is not a finite number above 0.
        MissingExtra: the framework of an edition is not installed.
        OutputError: the reference's logits are not finite, so that there is nothing to compare.
    """
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise MobileNetV2Error(f"tolerance {tolerance:g} must be a finite number above 0")
    with tempfile.TemporaryDirectory(prefix="parity-") as name:
        folder = Path(name)
        for index, case in enumerate(cases):
            np.save(folder / f"x{index}.npy", case.x)
        references = run_edition(REFERENCE, cases, folder)
        logits = [
            {REFERENCE: require_finite(reference.pop("all"), str(case.model))}
            for case, reference in zip(cases, references, strict=True)
        ]
        rows: list[dict[str, list[Difference]]] = [{} for _ in cases]
        for edition in editions:
            for index, tensors in enumerate(run_edition(edition, cases, folder)):
                logits[index][edition] = tensors.pop("all")
                rows[index][edition] = compare_tensors(references[index], tensors)
    return [Parity(*both, tolerance) for both in zip(rows, logits, strict=True)]


@dataclass(frozen=True, slots=True)
class NumericsEffect:
    """The effect of changed numerics on the logits for the same photos."""

    pictures: int
    """Number of photos."""
    agreements: int
    """Number of photos with the same best class."""
    difference: float
    """Largest absolute difference of a logit."""
    scale: float
    """Largest absolute logit before the change."""

    def __str__(self) -> str:
        return (
            f"{self.agreements} of {self.pictures} photos keep their best class; logits of up to "
            f"{self.scale:.3g} change by up to {self.difference:.3g}"
        )


def numerics_effect(
    before: ModelConfig, after: ModelConfig, arrays: Arrays, pictures: NDArray
) -> NumericsEffect:
    """Compare two configs with the same weights.

    Args:
        before: the config before the change.
        after: the config after the change.
        arrays: the weights.
        pictures: images, uint8 (batch, height, width, channels).

    Raises:
        OutputError: an output is not finite.
    """
    # Both editions give the same result; NumPy takes a second for each image.
    edition = find("torch" if find_spec("torch") else "numpy")
    logits = []
    for config in (before, after):
        network = edition.build(config)
        edition.load(network, arrays)
        predict = edition.predictor(network)
        parts = [predict(pictures[i : i + BATCH]) for i in range(0, len(pictures), BATCH)]
        logits.append(require_finite(np.concatenate(parts), "the model"))
    one, other = logits
    first, second = (class_scores(x, before.spec.classifier.outputs).argmax(1) for x in logits)
    return NumericsEffect(
        len(pictures), int((first == second).sum()),
        float(np.abs(one - other).max()), float(np.abs(one).max()),
    )  # fmt: skip
