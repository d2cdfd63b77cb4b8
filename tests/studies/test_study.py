"""Records of a study: keys of cases, and look-ups in a table."""

import pytest

from mobilenetv2.studies.study import Case, Row, Table

ROWS = Table(
    Row(Case({"width": width, "rate": 6}, seed), measure, value + seed)
    for width, value in ((0.5, 10.0), (1.0, 20.0))
    for seed in (0, 1)
    for measure in ("top1", "loss")
)


def test_a_case_is_named_by_its_factors_and_seed() -> None:
    assert Case({"width": 0.5, "rate": 6}, 3).key == "width=0.5 rate=6 seed=3"
    assert Case({}).key == "seed=0"


def test_a_table_gives_rows_seeds_and_levels() -> None:
    assert len(ROWS.where(width=0.5)) == 4 and ROWS.where(width=0.5, rate=5) == ()
    assert isinstance(ROWS.where(width=1.0), Table)
    assert ROWS.by_seed("top1", width=1.0) == {0: 20.0, 1: 21.0}
    assert ROWS.by_seed("none", width=1.0) == {}
    assert ROWS.levels("width") == [0.5, 1.0] and ROWS.levels("depth") == []
    with pytest.raises(ValueError, match="several cases"):
        ROWS.by_seed("top1", rate=6)
