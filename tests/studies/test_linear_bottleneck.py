"""The study of the projection: its grid, its networks, planted effects, its picture."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from synthetic_table import drawn, synthetic, verdicts

from mobilenetv2.spec.blocks import resolve
from mobilenetv2.studies.linear_bottleneck import STUDY, grid, network
from mobilenetv2.studies.study import Case, Factor, Options


def test_three_activations_at_three_widths() -> None:
    cases = grid(Options())
    assert len(cases) == 9
    assert {case["projection"] for case in cases} == {"linear", "relu", "relu6"}
    assert len({case["width"] for case in cases}) == 3
    assert len(grid(Options(quick=True))) == 3


def test_networks_of_one_width_differ_after_the_projection_alone() -> None:
    cases = [network(Case(factors)) for factors in grid(Options())]
    for linear, relu, relu6 in zip(cases[::3], cases[1::3], cases[2::3], strict=True):
        assert relu.replace(projection="linear") == linear == relu6.replace(projection="linear")
        projections = [
            {block.project.activation for block in resolve(spec).blocks}
            for spec in (linear, relu, relu6)
        ]
        assert projections == [{None}, {"relu"}, {"relu6"}]


def test_planted_effects_are_found_and_null_ones_are_not(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: torch)")

    def planted(factors: Mapping[str, Factor]) -> float:
        costly = {"linear": 0.0, "relu": 0.03, "relu6": 0.02}[str(factors["projection"])]
        return -costly * 0.35 / float(factors["width"])

    table = synthetic(STUDY, network, planted)
    findings = list(STUDY.judge(table))
    assert verdicts(findings) == ["held", "held", "held"]
    better6, better, narrow = findings
    mean_share = sum(0.35 / width for width in (0.35, 0.5, 0.75)) / 3
    assert better6.estimate == pytest.approx(2 * mean_share, abs=0.2)
    assert better.estimate == pytest.approx(3 * mean_share, abs=0.2)
    assert narrow.estimate == pytest.approx(2 * (1 - 0.35 / 0.75), abs=0.4)
    assert better.n == 5
    drawn(STUDY, table, tmp_path / "picture.png")
    null = synthetic(STUDY, network, lambda factors: 0.0)
    assert "held" not in verdicts(list(STUDY.judge(null)))
    reverse = synthetic(STUDY, network, lambda factors: -planted(factors))
    assert verdicts(list(STUDY.judge(reverse))) == ["did not hold"] * 3


def test_a_quick_table_has_the_two_claims_of_one_width(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: torch)")
    quick = synthetic(STUDY, network, lambda factors: 0.0, Options(quick=True, seeds=2))
    assert len(STUDY.judge(quick)) == 2
    drawn(STUDY, quick, tmp_path / "picture.png")
