"""The study of the shortcut's place: its networks cost the same, and planted effects are found."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from synthetic_table import drawn, synthetic, verdicts

from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.count import multiply_adds
from mobilenetv2.studies.networks import CLOSE
from mobilenetv2.studies.residual import COST, STUDY, grid, network
from mobilenetv2.studies.study import Case, Factor, Options


def test_five_networks_of_the_same_cost() -> None:
    specs = {str(case["shortcut"]): network(Case(case)) for case in grid(Options())}
    assert list(specs) == ["bottlenecks", "expansions", "projection", "classic", "none"]
    for name, spec in specs.items():
        assert multiply_adds(spec) == pytest.approx(COST, rel=CLOSE), name
    blocks = {name: resolve(spec).blocks for name, spec in specs.items()}
    kinds = {name: {block.kind for block in found} for name, found in blocks.items()}
    assert kinds["bottlenecks"] == kinds["projection"] == kinds["none"] == {"inverted"}
    assert "wide" in kinds["expansions"] and kinds["classic"] == {"bottleneck"}
    added = {name: sum(block.residual for block in found) for name, found in blocks.items()}
    assert added["bottlenecks"] == 5 and added["none"] == 0
    assert added["expansions"] > 0 and added["projection"] == 8
    for block in blocks["expansions"]:
        if block.residual:  # the tensors that are added are the expanded ones
            assert block.kind == "wide" and block.in_channels == block.inner_channels


def test_planted_effects_are_found_and_null_ones_are_not(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: torch)")
    lost = {"bottlenecks": 0, "expansions": 0.02, "projection": 0, "classic": 0.04, "none": 0.03}

    def planted(factors: Mapping[str, Factor]) -> float:
        return -lost[str(factors["shortcut"])]

    def at_same_width(case: Case) -> tuple[dict[str, float], dict[str, float]]:
        return {"multiply_adds_at_same_width": COST}, {}

    table = synthetic(STUDY, network, planted, more=at_same_width)
    findings = list(STUDY.judge(table))
    assert verdicts(findings) == ["held"] * 4
    assert findings[1].estimate == pytest.approx(4, abs=0.3)
    drawn(STUDY, table, tmp_path / "picture.png")
    null = list(STUDY.judge(synthetic(STUDY, network, lambda factors: 0.0)))
    assert verdicts(null)[:3] != ["held"] * 3 and verdicts(null)[3] == "held"  # it is of equality
    assert "held" not in verdicts(null)[:3]
