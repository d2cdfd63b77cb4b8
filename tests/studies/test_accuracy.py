"""Accuracies compared seed by seed, against a plain computation."""

import numpy as np
import pytest

from mobilenetv2.studies.accuracy import (
    average,
    by_seed,
    crossed,
    if_learned,
    millions,
    named,
    numbers,
    points,
)
from mobilenetv2.studies.study import Case, Row, Table

VALUES = {("a", 1): (0.5, 0.6, 0.7), ("a", 2): (0.6, 0.7, 0.9), ("b", 1): (0.4, 0.5, 0.6)}
TABLE = Table(
    Row(Case({"kind": kind, "size": size}, seed), "top1", value)
    for (kind, size), values in VALUES.items()
    for seed, value in enumerate(values)
)


def test_means_are_taken_for_each_seed_first() -> None:
    assert crossed({"kind": "a"}, size=(1, 2)) == [
        {"kind": "a", "size": 1}, {"kind": "a", "size": 2},
    ]  # fmt: skip
    both = by_seed(TABLE, crossed({"kind": "a"}, size=(1, 2)))
    assert both == pytest.approx({0: 0.55, 1: 0.65, 2: 0.8})
    lacking = Table(row for row in TABLE if (row.case.seed, row.case.factors["size"]) != (1, 2))
    assert by_seed(lacking, crossed({"kind": "a"}, size=(1, 2))).keys() == {0, 2}


def test_differences_are_paired_and_in_percentage_points() -> None:
    found = points(TABLE, [{"kind": "a", "size": 1}], [{"kind": "b", "size": 1}])
    assert found.value == pytest.approx(10) and found.n == 3
    # Every seed's difference is the same, up to the last bits: that says nothing of other seeds.
    assert found.interval == (-np.inf, np.inf)
    other = points(TABLE, [{"kind": "a", "size": 2}], [{"kind": "a", "size": 1}])
    differences = 100 * np.array([0.1, 0.1, 0.2])
    reach = 4.302653 * differences.std(ddof=1) / np.sqrt(3)  # t, 97.5%, 2 degrees of freedom
    assert other.interval == pytest.approx(
        (differences.mean() - reach, differences.mean() + reach), rel=1e-5
    )
    wider = points(TABLE, [{"kind": "a", "size": 2}], [{"kind": "a", "size": 1}], level=0.99)
    assert wider.interval[0] < other.interval[0]


def test_networks_that_guess_confirm_nothing() -> None:
    """Equal accuracies hold a claim of equality, but not if they are those of a guess."""
    cases = [Case({"kind": kind}, seed) for kind in "ab" for seed in range(3)]
    shares = (0.6, 0.61, 0.62, 0.599, 0.611, 0.619)

    def found(scale: float) -> list[str]:
        rows = [Row(*one, scale * top1) for one, top1 in zip(each, shares, strict=True)]
        table = Table(rows)
        gain = points(table, [{"kind": "a"}], [{"kind": "b"}])
        (one,) = if_learned(table, [gain.finding("A is B.", "They are alike.", "equal", 1.0)])
        return [one.verdict, one.found]

    each = [(case, "top1") for case in cases]
    assert found(1) == ["held", "They are alike."]
    verdict, words = found(1 / 6)
    assert verdict == "cannot be told"
    assert "the best accuracy is 10.2%" in words and words.endswith("They are alike.")


def test_texts() -> None:
    assert named(TABLE, {"kind": "a", "size": 1}) == "60.0%"
    assert average(TABLE, "top1", kind="b", size=1).value == pytest.approx(0.5)
    assert numbers(TABLE, "size") == [1.0, 2.0]
    assert millions(3_047_564) == "3.05 million"
