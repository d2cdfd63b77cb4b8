"""Whether a classifier is as often right as it says, and the temperature that makes it so.

Guo et al., On Calibration of Modern Neural Networks (arXiv 1706.04599).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.evaluate.answers import Answers, answers
from mobilenetv2.evaluate.metrics import Metrics, measure, number, softmax, wilson
from mobilenetv2.model.arrays import Arrays

BINS = 15
FEWEST = 50
"""Photos. Of fewer, a temperature says more about those photos than about the network: fitted on 4
to 20 of them it made the calibration error of others worse in 6 runs of 9."""
COLDEST, HOTTEST = 0.05, 20.0
"""A temperature is looked for between these."""
STEPS = 100
TEMPERATURE = "temperature"
"""Of ``config.metrics``: what the classifier was divided by."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The photos whose confidence lies in (low, high]; 0 belongs to the first bin."""

    low: float
    high: float
    photos: int
    confidence: float
    """Mean probability of the answers; NaN without photos."""
    accuracy: float
    """Share of right answers; NaN without photos."""
    interval: tuple[float, float]
    """95%, of the accuracy."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Confidence against accuracy. Fractions; NaN where the network gave no numbers."""

    photos: int
    confidence: float
    """Mean probability of the answers."""
    accuracy: float
    error: float
    """Expected calibration error over bins of equal width."""
    mass_error: float
    """The same over bins of equally many photos: no bin is left with a handful."""
    brier: float
    """Mean squared distance of the probabilities from the truth, summed over classes: 0 to 2."""
    bins: tuple[Bin, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON; a figure that does not exist is null."""
        return {
            "error": number(self.error),
            "mass_error": number(self.mass_error),
            "brier": number(self.brier),
            "confidence": number(self.confidence),
            "bins": [
                {
                    "low": row.low,
                    "high": row.high,
                    "photos": row.photos,
                    "confidence": number(row.confidence),
                    "accuracy": number(row.accuracy),
                    "accuracy_interval": list(row.interval),
                }
                for row in self.bins
            ],
        }


def calibration(logits: NDArray, labels: NDArray, bins: int = BINS) -> Calibration:
    """Measure it. A background class without photos takes its share of the probability.

    Args:
        logits: float (photos, classes); at least one photo.
        labels: int (photos,), the true classes.
        bins: that the confidences from 0 to 1 are divided into.
    """
    return calibrated(answers(logits, labels), bins)


def calibrated(found: Answers, bins: int = BINS) -> Calibration:
    """The same of answers that were taken from their logits already."""
    count, sure, right = len(found.truth), found.sure, found.right
    edges = np.arange(bins + 1) / bins
    place = np.searchsorted(edges[1:-1], sure, side="left")  # NaN: the last
    rows = []
    for index in range(bins):
        inside = place == index
        photos, hits = int(inside.sum()), int(right[inside].sum())
        rows.append(
            Bin(
                float(edges[index]), float(edges[index + 1]), photos,
                float(sure[inside].mean()) if photos else math.nan,
                hits / photos if photos else math.nan, wilson(hits, photos),
            )
        )  # fmt: skip
    # Photos of one confidence may be divided between bins: each counts as right as all of them are,
    # or the order among them would make an error.
    _, same = np.unique(sure, return_inverse=True)
    shared = (np.bincount(same, right) / np.bincount(same))[same]
    parts = np.array_split(np.argsort(sure, kind="stable"), min(bins, count))
    gaps = [len(part) * abs(sure[part].mean() - shared[part].mean()) for part in parts]
    return Calibration(
        photos=count,
        confidence=float(sure.mean()),
        accuracy=float(right.mean()),
        error=sum(r.photos * abs(r.confidence - r.accuracy) for r in rows if r.photos) / count,
        mass_error=float(sum(gaps)) / count,
        brier=float(found.distance.mean()),
        bins=tuple(rows),
    )


def fit_temperature(logits: NDArray, labels: NDArray, cautious: bool = True) -> float:
    """The temperature T for which softmax(logits / T) gives these labels the best likelihood, were
    there one right answer more, and one mistake.

    Each label counts for (n + 1) / (n + 2), and the most probable other class for the rest, as in
    Platt's scaling (1999): n right answers out of n do not show that the network is never wrong.
    Otherwise T falls without an end where none of the photos is mistaken, and nearly so where only
    one is, by little: of 142 digits with one such mistake it was 0.08, which made the loss of 360
    others 0.39 for 0.17 without a temperature; now it is 0.61, which makes it 0.09.

    Args:
        logits: float (photos, classes), of photos that nothing was trained on. Photos with a logit
            that is no finite number are left out.
        labels: int (photos,).
        cautious: False leaves that mistake out, for the least loss of these very photos; but where
            all of them are right, for then no T has it.

    Returns:
        Between 0.05 and 20; 1 where nothing can be said (no photos, or logits that are all equal).
    """
    kept = np.isfinite(logits).all(1)
    logits, labels = logits[kept].astype(np.float64), labels[kept]
    count, classes = logits.shape
    if count == 0 or classes < 2:
        return 1.0
    logits = logits - logits.max(1, keepdims=True)
    if not logits.any():
        return 1.0
    photos = np.arange(count)
    target = logits[photos, labels]
    if cautious or (target == 0).all():
        others = logits.copy()
        others[photos, labels] = -np.inf
        target = ((count + 1) * target + others.max(1)) / (count + 2)
    # The negative log likelihood is convex in 1 / T: Newton's steps on its derivative, and half of
    # the bracket, in logarithms, where a step would leave it.
    low, high = 1 / HOTTEST, 1 / COLDEST
    inverse = 1.0
    for _ in range(STEPS):
        probabilities = softmax(inverse * logits)
        mean = (probabilities * logits).sum(1)
        slope = float((mean - target).mean())
        curvature = float(((probabilities * logits**2).sum(1) - mean**2).mean())
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        step = inverse - slope / curvature if curvature > 0 else -1.0
        following = step if low < step < high else math.sqrt(low * high)
        if slope == 0 or abs(following - inverse) <= 1e-12 * inverse:
            break
        inverse = following
    return 1 / inverse


def measure_tempered(logits: NDArray, labels: NDArray, names: tuple[str, ...]) -> Metrics:
    """All figures as the best temperature makes them: of how sure a network is, only what no
    temperature mends counts.

    Args:
        logits, labels, names: as in :func:`metrics.measure`.
    """
    return measure(logits / fit_temperature(logits, labels, cautious=False), labels, names)


def temper(arrays: Arrays, temperature: float) -> Arrays:
    """The same network with its logits divided by ``temperature``: classifier weight and bias are.

    Every runtime and every export then gives the tempered probabilities, and no answer changes.

    Args:
        arrays: canonical.
        temperature: above 0.
    """
    tempered = {
        name: (arrays[name] / temperature).astype(arrays[name].dtype)
        for name in ("classifier.weight", "classifier.bias")
    }
    return arrays | tempered
