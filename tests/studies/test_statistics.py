"""Intervals against SciPy, their coverage in simulated studies, and the verdicts they allow."""

import math

import numpy as np
import pytest

from mobilenetv2.studies.statistics import Estimate, exact, judge, mean, paired, t_quantile
from mobilenetv2.studies.study import Verdict

REASON = "SciPy is not installed (extra: torch)"
STUDIES = 2_000
"""Number of simulated studies; a rate of 5% then has a standard error of 0.5 points."""


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 10, 29, 200])
@pytest.mark.parametrize("probability", [0.5, 0.9, 0.975, 0.9995])
def test_quantiles_of_students_t_are_scipys(degrees: int, probability: float) -> None:
    stats = pytest.importorskip("scipy.stats", reason=REASON)
    expected = stats.t.ppf(probability, degrees)
    assert t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_quantiles_that_tables_print() -> None:
    """Abramowitz and Stegun, table 26.10."""
    printed = {1: 12.706, 2: 4.303, 4: 2.776, 10: 2.228, 30: 2.042}
    for degrees, value in printed.items():
        assert t_quantile(0.975, degrees) == pytest.approx(value, abs=5e-4)
    with pytest.raises(ValueError, match="degree"):
        t_quantile(0.975, 0)
    with pytest.raises(ValueError, match="probability"):
        t_quantile(0.3, 4)


def test_t_intervals_are_scipys() -> None:
    stats = pytest.importorskip("scipy.stats", reason=REASON)
    random = np.random.default_rng(0)
    first, second = random.normal(1, 2, 5), random.normal(0, 1, 5)
    found = mean(first)
    expected = stats.ttest_1samp(first, 0).confidence_interval()
    assert found.interval == pytest.approx(tuple(expected), rel=1e-10)
    assert found.value == pytest.approx(first.mean()) and found.n == 5
    difference = paired(dict(enumerate(first)), dict(enumerate(second)))
    expected = stats.ttest_rel(first, second).confidence_interval()
    assert difference.interval == pytest.approx(tuple(expected), rel=1e-10)


def test_pairing_takes_the_seeds_that_both_have() -> None:
    found = paired({3: 1.0, 4: 5.0, 5: 9.0}, {5: 8.0, 3: 0.5})
    assert (found.value, found.n) == (0.75, 2)
    with pytest.raises(ValueError, match="no seed in common"):
        paired({1: 0.0}, {2: 0.0})


def test_a_sample_that_is_too_small_has_no_interval_and_no_verdict() -> None:
    # The last bits of equal differences may differ.
    for found in (mean([1.0]), mean([2.0, 2.0, 2.0]), mean([0.3 - 0.2, 0.2 - 0.1, 0.1])):
        assert found.interval == (-math.inf, math.inf)
        assert judge(found.interval) == "cannot be told"
    with pytest.raises(ValueError, match="one or more numbers"):
        mean([])


@pytest.mark.parametrize(
    ("interval", "smallest", "above", "below"),
    [
        ((0.1, 0.3), 0.0, "held", "did not hold"),
        ((-0.3, -0.1), 0.0, "did not hold", "held"),
        ((-0.1, 0.3), 0.0, "cannot be told", "cannot be told"),
        ((-0.1, 0.3), 0.5, "did not hold", "did not hold"),
        ((0.1, 0.3), 0.5, "did not hold", "did not hold"),  # real, and too small
        ((0.1, 0.3), 0.2, "held", "did not hold"),
        ((0.0, 0.0), 0.0, "did not hold", "did not hold"),
        ((0.2, 0.2), 0.2, "held", "did not hold"),
        ((-math.inf, math.inf), 1.0, "cannot be told", "cannot be told"),
        ((math.nan, math.nan), 1.0, "cannot be told", "cannot be told"),
    ],
)
def test_a_verdict_on_a_direction(
    interval: tuple[float, float], smallest: float, above: Verdict, below: Verdict
) -> None:
    assert judge(interval, "above", smallest) == above
    assert judge(interval, "below", smallest) == below


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((-0.1, 0.15), "held"),
        ((0.05, 0.1), "held"),
        ((-0.1, 0.3), "cannot be told"),
        ((0.2, 0.3), "did not hold"),
        ((-0.5, -0.3), "did not hold"),
    ],
)
def test_a_verdict_on_equality(interval: tuple[float, float], verdict: Verdict) -> None:
    assert judge(interval, "equal", 0.2) == verdict


def test_impossible_effects_of_interest_are_refused() -> None:
    for direction, smallest in (("above", -1.0), ("equal", 0.0)):
        with pytest.raises(ValueError, match="smallest effect"):
            judge((0.0, 1.0), direction, smallest)  # type: ignore[arg-type]


def simulated(effect: float, seeds: int) -> dict[str, float]:
    """Return the share of each verdict in many paired studies with an effect."""
    random = np.random.default_rng(0)
    verdicts = []
    for _ in range(STUDIES):
        shared = random.normal(0, 1, seeds)
        first, second = (shared + random.normal(mean_, 0.1, seeds) for mean_ in (effect, 0.0))
        found = paired(dict(enumerate(first)), dict(enumerate(second)))
        verdicts.append(judge(found.interval))
    return {verdict: verdicts.count(verdict) / STUDIES for verdict in set(verdicts)}


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_null_effect_is_not_found(seeds: int) -> None:
    """An interval of 95% lies above zero in 2.5% of the studies, and below in as many."""
    shares = simulated(0.0, seeds)
    assert 0.015 < shares["held"] < 0.035 and 0.015 < shares["did not hold"] < 0.035
    assert shares["held"] + shares["did not hold"] <= 0.06


def test_a_planted_effect_is_found() -> None:
    assert simulated(0.5, 3)["held"] > 0.7  # 3.5 deviations of a difference, with three seeds
    assert simulated(0.5, 5)["held"] > 0.99
    assert simulated(-0.5, 5)["did not hold"] > 0.99


def test_an_estimate_in_words_and_as_a_finding() -> None:
    found = Estimate(0.0052, (-0.001, 0.0114), 5).scaled(100)
    assert found.of("points").text() == "+0.52 points (95% interval -0.10 to +1.14, n = 5)"
    assert found.of("share").text(0) == "+52% (95% interval -10 to +114, n = 5)"
    assert exact(-3).text(0) == "-3" and "no interval" in Estimate(1.0, (-math.inf, 1), 2).text()
    assert Estimate(1.0, (0.5, 2.0), 3).scaled(-1).interval == (-2.0, -0.5)
    finding = exact(2.0).finding("Two is more.", "It is 2.", "above", 1.0)
    assert (finding.verdict, finding.n, finding.interval) == ("held", 1, (2.0, 2.0))
