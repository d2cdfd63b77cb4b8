"""The study of the expansion rate: equal costs, planted optima, and curves that are flat."""

from collections.abc import Mapping
from math import log2
from pathlib import Path

import pytest
from synthetic_table import drawn, synthetic, verdicts

from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.count import multiply_adds
from mobilenetv2.studies import expansion
from mobilenetv2.studies.accuracy import points
from mobilenetv2.studies.expansion import COSTS, STUDY, grid, network
from mobilenetv2.studies.networks import CLOSE
from mobilenetv2.studies.study import Case, Factor, Options


def test_seven_rates_at_three_sizes_of_equal_cost() -> None:
    cases = grid(Options())
    assert len(cases) == 21
    assert {case["rate"] for case in cases} == {1, 2, 3, 4, 6, 8, 10}
    for factors in cases:
        spec = network(Case(factors))
        assert multiply_adds(spec) == pytest.approx(factors["cost"], rel=CLOSE)
        first, *others = resolve(spec).blocks
        assert first.expansion == 1 and {block.expansion for block in others} == {factors["rate"]}
    widths = [network(Case({"cost": COSTS[0], "rate": rate})).width for rate in (1, 2, 6, 10)]
    assert widths == sorted(widths, reverse=True)  # a lower rate leaves more channels
    assert 2 <= len(grid(Options(quick=True))) <= 6


def planted(factors: Mapping[str, Factor]) -> float:
    """Rates of 6 to 10 are alike; the smallest network is best at 3, the largest at 6 or above."""
    cost, rate = float(factors["cost"]), float(factors["rate"])
    best = {COSTS[0]: 3, COSTS[1]: 4, COSTS[2]: 6}[int(cost)]
    return 0.05 * log2(cost / COSTS[0]) - 0.02 * abs(log2(min(rate, 6) / best))


def test_planted_effects_are_found_and_null_ones_are_not(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: torch)")
    table = synthetic(STUDY, network, planted)
    findings = list(STUDY.judge(table))
    assert verdicts(findings) == ["held", "held", "held"]
    assert expansion.best_rates(table)[COSTS[2]] >= 6 > expansion.best_rates(table)[COSTS[0]]
    drawn(STUDY, table, tmp_path / "picture.png")
    flat, better, moves = STUDY.judge(synthetic(STUDY, network, lambda factors: 0.0))
    assert flat.verdict == "held" and "held" not in (better.verdict, moves.verdict)


def test_rates_that_differ_are_not_called_alike() -> None:
    steep = synthetic(STUDY, network, lambda factors: 0.04 * log2(float(factors["rate"])))
    flat, better, moves = STUDY.judge(steep)
    assert flat.verdict == "did not hold" and better.verdict == "held"
    assert flat.estimate == pytest.approx(100 * 0.04 * log2(10 / 6), abs=0.3)
    assert moves.verdict != "held"


def test_intervals_of_many_differences_are_wider() -> None:
    table = synthetic(STUDY, network, lambda factors: 0.0)
    flat = STUDY.judge(table)[0]
    single = points(table, expansion.cases(table, 10), expansion.cases(table, 6))
    assert flat.interval[1] - flat.interval[0] > single.interval[1] - single.interval[0]
