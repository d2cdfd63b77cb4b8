"""Calibration: do confidences match accuracies, and which temperature makes them?

Guo et al., On Calibration of Modern Neural Networks (arXiv 1706.04599).
"""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from mobilenetv2.evaluation.metrics import Metrics, measure, wilson
from mobilenetv2.evaluation.predictions import Predictions, answers_of
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.outputs import softmax
from mobilenetv2.text import plain

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
    """The answers whose confidence lies in (low, high]; 0 belongs to the first bin."""

    low: float
    high: float
    count: int
    confidence: float
    """Mean probability of the answers; NaN without any."""
    accuracy: float
    """Share of right answers; NaN without any."""
    interval: tuple[float, float]
    """95%, of the accuracy."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Confidence against accuracy. Fractions; NaN where the network gave no numbers.

    An answer is a photo's class; with 'sigmoid' outputs it is the yes or no to one class of one
    photo.
    """

    count: int
    """Answers."""
    confidence: float
    """Mean probability of the answers."""
    accuracy: float
    error: float
    """Expected calibration error over bins of equal width."""
    mass_error: float
    """The same over bins of equally many answers: no bin is left with a handful."""
    brier: float
    """Mean squared distance of the probabilities from the truth, summed over classes: 0 to 2."""
    bins: tuple[Bin, ...]
    decisions: bool = False
    """True with 'sigmoid' outputs."""

    @property
    def noun(self) -> str:
        """The noun for what is counted: 'photo' or 'decision'."""
        return "decision" if self.decisions else "photo"

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON; a figure that does not exist is null."""
        bins = [
            {
                **plain(row, "low", "high"), f"{self.noun}s": row.count,
                **plain(row, "confidence", "accuracy"), "accuracy_interval": list(row.interval),
            }
            for row in self.bins
        ]  # fmt: skip
        return {**plain(self, "error", "mass_error", "brier", "confidence"), "bins": bins}


def measure_calibration(predictions: Predictions, bins: int = BINS) -> Calibration:
    """Measure the calibration of predictions for at least one photo.

    A background class without photos takes its share of the probability.
    """
    decisions = predictions.outputs == "sigmoid"
    answers = answers_of(predictions.decisions() if decisions else predictions)
    count, confidence, right = len(answers.truth), answers.confidence, answers.right
    edges = np.arange(bins + 1) / bins
    place = np.searchsorted(edges[1:-1], confidence, side="left")  # NaN: the last
    rows = []
    for index in range(bins):
        inside = place == index
        here, hits = int(inside.sum()), int(right[inside].sum())
        rows.append(
            Bin(
                float(edges[index]), float(edges[index + 1]), here,
                float(confidence[inside].mean()) if here else math.nan,
                hits / here if here else math.nan, wilson(hits, here),
            )
        )  # fmt: skip
    # Answers of one confidence may be divided between bins: each counts as right as all of them
    # are, or the order among them would make an error.
    _, same = np.unique(confidence, return_inverse=True)
    shared = (np.bincount(same, right) / np.bincount(same))[same]
    parts = np.array_split(np.argsort(confidence, kind="stable"), min(bins, count))
    gaps = [len(part) * abs(confidence[part].mean() - shared[part].mean()) for part in parts]
    return Calibration(
        count=count,
        confidence=float(confidence.mean()),
        accuracy=float(right.mean()),
        error=sum(r.count * abs(r.confidence - r.accuracy) for r in rows if r.count) / count,
        mass_error=float(sum(gaps)) / count,
        brier=float(answers.distance.mean()),
        bins=tuple(rows),
        decisions=decisions,
    )


def fit_temperature(predictions: Predictions, cautious: bool = True) -> float:
    """Return the temperature T whose division of the logits gives the truth the best likelihood,
    as if one answer more were right and one more wrong.

    Each label counts for (n + 1) / (n + 2), and the most probable other class for the rest, as in
    Platt's scaling (1999): n right answers out of n do not show that the network is never wrong.
    Otherwise T falls without an end where no answer is wrong, and nearly so where only one is, by
    little: of 142 digits with one such mistake it was 0.08, which made the loss of 360 others 0.39
    for 0.17 without a temperature; now it is 0.61, which makes it 0.09.

    Args:
        predictions: for photos that nothing was trained on. Those with a logit that is no finite
            number are left out. With 'sigmoid' outputs the yes or no to each class counts.
        cautious: False leaves that mistake out, for the least loss of these very photos; but where
            all of them are right, for then no T has it.

    Returns:
        Between 0.05 and 20; 1 where nothing can be said (no photos, or logits that are all equal).
    """
    if predictions.outputs == "sigmoid":
        predictions = predictions.decisions()
    logits, labels = predictions.logits, predictions.truth
    if predictions.outputs == "logit":  # the same as a softmax of 0 and the logit
        logits = np.hstack([np.zeros_like(logits), logits])
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


def measure_tempered(predictions: Predictions) -> Metrics:
    """Return all figures at the best temperature: the loss that no temperature mends."""
    temperature = fit_temperature(predictions, cautious=False)
    return measure(dataclasses.replace(predictions, logits=predictions.logits / temperature))


def temper(arrays: Arrays, temperature: float) -> Arrays:
    """Return the same network with its logits divided: the classifier's weight and bias are.

    Every runtime and every export then gives the tempered probabilities, and no answer changes.
    """
    tempered = {
        name: (arrays[name] / temperature).astype(arrays[name].dtype)
        for name in ("classifier.weight", "classifier.bias")
        if name in arrays
    }
    return arrays | tempered
