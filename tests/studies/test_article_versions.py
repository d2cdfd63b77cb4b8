"""The study of the article's two versions: their specs, their costs, planted effects, parity."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from synthetic_table import drawn, synthetic, verdicts

from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.count import multiply_adds, parameters
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.studies.article_versions import (
    EQUAL_COST,
    STUDY,
    VERSIONS,
    difference,
    grid,
    network,
)
from mobilenetv2.studies.networks import CLOSE
from mobilenetv2.studies.study import Case, Factor, Options


def test_the_versions_have_the_departures_of_the_published_specs() -> None:
    fields = ("conv_bias", "shortcut", "expand", "rounding")
    for name in ("article-torch", "article-keras"):
        own, whole = VERSIONS[name], published(name)
        assert [getattr(own, one) for one in fields] == [getattr(whole, one) for one in fields]
    for name, spec in VERSIONS.items():
        changed = [one for one in fields if getattr(spec, one) != getattr(VERSIONS["paper"], one)]
        assert len(changed) == {"paper": 0, "article-torch": 3, "article-keras": 2}.get(name, 1)
    rounded = {block.out_channels % 8 for block in resolve(VERSIONS["paper"]).blocks}
    assert rounded == {0}
    assert len({block.out_channels % 8 for block in resolve(VERSIONS["article-keras"]).blocks}) > 2


def test_costs_are_equal_where_they_are_said_to_be() -> None:
    for name, (version, _) in EQUAL_COST.items():
        wanted = multiply_adds(VERSIONS[version])
        assert multiply_adds(network(name)) == pytest.approx(wanted, rel=CLOSE)
    paper, biased = VERSIONS["paper"], VERSIONS["biases"]
    assert multiply_adds(biased) == multiply_adds(paper) and parameters(biased) > parameters(paper)


def test_the_grid() -> None:
    cases = grid(Options())
    assert [case["part"] for case in cases].count("parity") == 2 and len(cases) == 11
    assert len(grid(Options(quick=True))) == 4


def spec_of(case: Case) -> NetworkSpec:
    return network(str(case.factors["version"]))


def parity(case: Case) -> tuple[Mapping[str, float], Mapping[str, float]]:
    return {"difference": 1e-6}, {}


def test_planted_effects_are_found_and_null_ones_are_not(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: torch)")
    gained = {"projection shortcuts": 0.02, "unrounded widths": -0.03}

    def effect(factors: Mapping[str, Factor]) -> float:
        return gained.get(str(factors["version"]), 0.0)

    table = synthetic(STUDY, spec_of, effect, more=parity)
    findings = list(STUDY.judge(table))
    biases, projections, whole, unrounded, keras, same, costs, cheaper = verdicts(findings)
    assert (biases, projections, whole) == ("held", "held", "held")
    assert (unrounded, keras, same) == ("did not hold", "held", "held")
    assert (costs, cheaper) == ("did not hold", "held")
    assert findings[1].estimate == pytest.approx(2, abs=0.3)
    assert "335,696,768" in findings[6].found and "3,669,120" in findings[6].found
    drawn(STUDY, table, tmp_path / "picture.png")
    null = verdicts(list(STUDY.judge(synthetic(STUDY, spec_of, lambda factors: 0.0, more=parity))))
    assert null[1] != "held"
    quick = Options(quick=True, seeds=2)
    drawn(STUDY, synthetic(STUDY, spec_of, effect, quick, parity), tmp_path / "quick.png")


@pytest.mark.slow
def test_the_specs_compute_what_the_articles_code_computes() -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
    assert difference("article-torch", 0) < 1e-4
    pytest.importorskip("keras", reason="keras is not installed (extra: keras)")
    assert difference("article-keras", 0) < 1e-4
