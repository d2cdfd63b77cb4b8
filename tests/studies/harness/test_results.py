"""Tables and records of a study: written, read back to the same numbers, and shown."""

import json
import math
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import planted_study
import pytest

from mobilenetv2.errors import StudyError
from mobilenetv2.studies.harness.results import (
    StudyResult,
    csv_tables,
    interval_text,
    options_record,
    read_result,
)  # fmt: skip
from mobilenetv2.studies.study import Case, Finding, Options, Outcome, Table, Unit

STUDY = planted_study.STUDY


def test_a_study_is_read_back_as_it_was(whole: StudyResult) -> None:
    found = read_result(whole.path, STUDY)
    assert found.table == whole.table and found.findings == whole.findings
    assert [row.case.key for row in found.table] == [row.case.key for row in whole.table]
    kinds = {type(value) for row in found.table for value in row.case.factors.values()}
    assert kinds == {str, int}  # as the grid has them
    assert found.to_dict() == whole.to_dict() == json.loads(json.dumps(whole.to_dict()))


def test_numbers_keep_every_digit_and_missing_factors_are_empty() -> None:
    measured = [
        (Case({"a": -0.1}, 1), Outcome({"x": 0.1 + 0.2, "y": -1e-300}, {"ms": 1.5})),
        (Case({"b": "-1..1"}, 2), Outcome({"x": 1 / 3})),
    ]
    texts = csv_tables(measured)
    assert texts["results.csv"].splitlines() == [
        "a,b,seed,measure,value", "-0.1,,1,x,0.30000000000000004", "-0.1,,1,y,-1e-300",
        ",'-1..1,2,x,0.3333333333333333",
    ]  # fmt: skip
    assert texts["timed.csv"].splitlines()[1:] == ["-0.1,,1,ms,1.5"]
    with pytest.raises(ValueError, match="named as a column: seed"):
        csv_tables([(Case({"seed": 1}), Outcome({}))])


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("study.json", '"planted"', '"other"', "of the study other"),
        ("study.json", '"seeds"', '"sedes"', "sedes"),
        ("study.json", '"seeds": 3', '"seeds": 2', "a row is of no case"),
        ("results.csv", "plain,1", "plain,7", "a row is of no case: plain 7"),
        ("results.csv", ",4.0", ",four", "could not convert"),
    ],
)
def test_damaged_results_are_refused(
    name: str, old: str, new: str, said: str, whole: StudyResult, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole.path, tmp_path / "copy")
    text = (folder / name).read_text("utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new), "utf-8")
    with pytest.raises(StudyError, match=said):
        read_result(folder, STUDY)


def test_a_result_shows_itself_shortly(whole: StudyResult) -> None:
    assert repr(whole) == "<StudyResult planted, 2 claims: 1 held, 1 did not hold>"
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append(tag)  # type: ignore[method-assign]
    parser.feed(whole._repr_html_())
    assert tags.count("td") == 2 * 5 and tags.count("th") == 5
    assert whole.seconds == sum(one["seconds"] for one in whole.sessions) > 0
    assert whole.picture == whole.path / "picture.png"


def test_intervals_and_options_in_a_record(tmp_path: Path) -> None:
    finding = Finding("c", "held", "f", 0.5, (0.25, 0.123456), 3)
    assert interval_text(finding) == "0.25 to 0.123"
    units: tuple[tuple[Unit, str], ...] = (
        ("share", "25% to 12.3%"), ("points", "0.25 to 0.123 points"), ("%", "0.25 to 0.123%"),
        ("MB", "0.25 to 0.123 MB"),
    )  # fmt: skip
    for unit, text in units:
        assert interval_text(replace(finding, unit=unit)) == text
    assert interval_text(Finding("c", "held", "f", 1.0, (1.0, 1.0), 1)) == "exact"
    assert interval_text(Finding("c", "held", "f", 0.0, (0.0, 0.0), 25)) == "0 to 0"
    alone = Finding("c", "cannot be told", "f", 1.0, (-math.inf, math.inf), 1)
    assert interval_text(alone) == "none"
    record = options_record(Options(data=tmp_path))
    assert "data" not in record and str(tmp_path) not in json.dumps(record)


def test_an_empty_table_is_one(tmp_path: Path) -> None:
    empty = StudyResult("x", "X?", (), Table(), Options(), (), tmp_path)
    assert empty.seconds == 0 and empty.to_dict()["findings"] == []
