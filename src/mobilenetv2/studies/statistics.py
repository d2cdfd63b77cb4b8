"""Estimates with 95% intervals, and the verdict that an interval allows on a claim.

Runs with the same seed share their initial weights and the order of their photos, so that the
difference of two cases is taken seed by seed (:func:`paired`). The mean of few runs has a t
interval; a bootstrap interval would be too narrow for so few.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobilenetv2.studies.study import SUFFIXES, Finding, Unit, Verdict

LEVEL = 0.95
"""Confidence level of every interval that a study reports."""
Direction = Literal["above", "below", "equal"]
"""Claim on an effect: it is above zero, below zero, or too small to be of interest."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated number with its interval."""

    value: float
    interval: tuple[float, float]
    """Ends of the interval; both infinite if the sample allows none."""
    n: int
    """Number of independent runs, photos or points behind it."""
    unit: Unit = ""
    """Unit of the number."""

    def scaled(self, factor: float, unit: Unit | None = None) -> "Estimate":
        """Return the estimate times a factor, perhaps in another unit, such as points by 100."""
        low, high = sorted(factor * end for end in self.interval)
        unit = self.unit if unit is None else unit
        return Estimate(factor * self.value, (low, high), self.n, unit)

    def text(self, digits: int = 2) -> str:
        """Return '+0.52 points (95% interval -0.10 to +1.14, n = 5)' for the unit 'points'."""
        shown = self.scaled(100) if self.unit == "share" else self
        value = f"{shown.value:+.{digits}f}{SUFFIXES[self.unit]}"
        low, high = (f"{end:+.{digits}f}" for end in shown.interval)
        if self.n < 2:
            return value
        if not math.isfinite(self.interval[0]):
            return f"{value} (n = {self.n}, no interval)"
        return f"{value} (95% interval {low} to {high}, n = {self.n})"

    def finding(
        self, claim: str, found: str, direction: Direction = "above", smallest: float = 0.0
    ) -> Finding:
        """Return the finding on a claim about this estimate.

        Args:
            claim: the claim in one sentence, with its source.
            found: what was measured, in one sentence.
            direction: what the claim says of the estimated effect.
            smallest: smallest effect of interest, as :func:`judge` takes it.
        """
        verdict = judge(self.interval, direction, smallest)
        return Finding(claim, verdict, found, self.value, self.interval, self.n, self.unit)

    def of(self, unit: Unit) -> "Estimate":
        """Return the same estimate with its unit."""
        return replace(self, unit=unit)


def exact(value: float, unit: Unit = "") -> Estimate:
    """Return a number that nothing random went into: both ends of its interval are the number."""
    return Estimate(float(value), (float(value), float(value)), 1, unit)


def mean(values: ArrayLike, level: float = LEVEL) -> Estimate:
    """Return the mean of independent values with its t interval.

    Values that are all equal, as accuracies of networks that have learned nothing, say nothing of
    how far others would be from them, so that they have no interval.

    Args:
        values: numbers (n,), one for each run.
        level: confidence level.

    Raises:
        ValueError: there is no value.
    """
    found = _sample(values)
    count = len(found)
    centre = float(found.mean())
    # Equal differences of accuracies may differ in their last bits.
    if count < 2 or np.ptp(found) <= 1e-12 * np.abs(found).max():
        return Estimate(centre, (-math.inf, math.inf), count)
    return _estimate(centre, float(found.std(ddof=1)) / math.sqrt(count), count - 1, count, level)


def paired(
    first: Mapping[int, float], second: Mapping[int, float], level: float = LEVEL
) -> Estimate:
    """Return the mean difference ``first - second`` of runs with the same seed, with a t interval.

    Args:
        first, second: a measure by seed, as ``by_seed`` of a table returns it.
        level: confidence level.

    Raises:
        ValueError: the two have no seed in common.
    """
    seeds = [seed for seed in first if seed in second]
    if not seeds:
        raise ValueError("the two cases have no seed in common")
    return mean([first[seed] - second[seed] for seed in seeds], level)


def judge(
    interval: tuple[float, float], direction: Direction = "above", smallest: float = 0.0
) -> Verdict:
    """Return the verdict that an interval allows on a claim.

    A claim that an effect is above zero held if the whole interval is above zero; it did not hold
    if the whole interval is below zero, or below the smallest effect of interest. A claim that two
    things are equal held if the whole interval is closer to zero than the smallest effect of
    interest, and did not hold if all of it is farther away. Anything else cannot be told.

    Args:
        interval: ends of the effect's interval.
        direction: what the claim says of the effect.
        smallest: smallest effect that anybody would care about, 0 or more; above 0 for 'equal'.

    Raises:
        ValueError: ``smallest`` is negative, or 0 for a claim of equality.
    """
    low, high = interval
    if smallest < 0 or (direction == "equal" and smallest == 0):
        raise ValueError("the smallest effect of interest is positive, for 'equal' above 0")
    if math.isnan(low) or math.isnan(high):
        return "cannot be told"
    if direction == "equal":
        if -smallest < low and high < smallest:
            return "held"
        return "did not hold" if low >= smallest or high <= -smallest else "cannot be told"
    if direction == "below":
        low, high = -high, -low
    if high <= 0 or high < smallest:
        return "did not hold"
    return "held" if low > 0 else "cannot be told"


@cache
def t_quantile(probability: float, degrees: int) -> float:
    """Return a quantile of Student's t distribution, to about 12 digits.

    The distribution of a whole number of degrees of freedom is a finite sum (Abramowitz and Stegun,
    Handbook of Mathematical Functions, 26.7.3 and 26.7.4), which is inverted by bisection. SciPy is
    not needed for it, which only the extras install.

    Args:
        probability: a number between 0.5 and 1.
        degrees: degrees of freedom, at least 1.

    Raises:
        ValueError: an argument is outside its range.
    """
    if not 0.5 <= probability < 1 or degrees < 1:
        raise ValueError("a quantile needs 0.5 <= probability < 1 and a degree of freedom")
    inside = 2 * probability - 1
    low, high = 0.0, math.pi / 2  # angles, whose tangent is t / sqrt(degrees)
    for _ in range(64):
        angle = (low + high) / 2
        if _within(angle, degrees) < inside:
            low = angle
        else:
            high = angle
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _within(angle: float, degrees: int) -> float:
    """Return the probability that Student's t is between plus and minus sqrt(degrees) * tan."""
    cosine = math.cos(angle) ** 2
    even = degrees % 2 == 0
    term = 1.0 if even else math.cos(angle)
    total = term if even or degrees > 1 else 0.0
    for step in range(2 if even else 3, degrees - 1, 2):
        term *= cosine * (step - 1) / step
        total += term
    sine = math.sin(angle)
    return total * sine if even else 2 / math.pi * (angle + sine * total)


def _estimate(centre: float, error: float, degrees: int, count: int, level: float) -> Estimate:
    """Return the estimate whose interval is a number of standard errors around it."""
    reach = error * t_quantile((1 + level) / 2, degrees)
    return Estimate(centre, (centre - reach, centre + reach), count)


def _sample(values: ArrayLike) -> NDArray:
    """Return values as float64 (n,)."""
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or not len(found):
        raise ValueError("a sample is a list of one or more numbers")
    return found
