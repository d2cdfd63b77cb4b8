"""Pages of studies: what is committed is what its CSV files give, and what a page says."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import planted_study
import pytest

from mobilenetv2.errors import StudyError
from mobilenetv2.studies.harness import catalogue
from mobilenetv2.studies.harness.page import (
    index_text,
    made_pages,
    page_text,
    standing,
    take_results,
)  # fmt: skip
from mobilenetv2.studies.harness.results import PICTURE, StudyResult, csv_tables, read_result
from mobilenetv2.studies.harness.run import run_study
from mobilenetv2.studies.study import Case, Options, Outcome, Row, Table

STUDY = planted_study.STUDY
DOCS = Path(__file__).parents[3] / "docs" / "studies"
COMMITTED = [name for name in catalogue.NAMES if (DOCS / name / "study.json").is_file()]


def test_every_page_is_what_the_committed_results_give() -> None:
    """``python benchmarks/studies.py`` makes the pages anew."""
    made = made_pages(DOCS, catalogue.load_all())
    for path, text in made.items():
        assert path.read_text("utf-8") == text, f"{path.name}: run python benchmarks/studies.py"
    assert {*DOCS.glob("*.md")} == made.keys()


def test_committed_results_are_full_and_name_no_place() -> None:
    for name in COMMITTED:
        study = catalogue.load(name)
        result = read_result(DOCS / name, study)
        assert not result.options.quick and result.findings and result.sessions
        assert len({row.case.seed for row in result.table}) >= (3 if study.random else 1)
        assert (DOCS / name / PICTURE).stat().st_size < 400_000
        for path in (DOCS / name).rglob("*.json"):
            assert not re.search(r'"/|:/(?!/)', path.read_text("utf-8")), path


def test_a_page_has_question_findings_limits_measures_and_origin(whole: StudyResult) -> None:
    text = page_text(STUDY, whole, "planted")
    assert text.startswith("# Is better better?\n\nOne kind is better by 0.5.\n")
    assert "![Is better better?](planted/picture.png)" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    cells = re.split(r"(?<!\\)\|", rows[2])[1:-1]
    low, high = whole.findings[0].interval
    assert [cell.strip() for cell in cells] == [
        r"Better is better \| by far.", "held", whole.findings[0].found,
        f"{low:.3g} to {high:.3g}", "3",
    ]  # fmt: skip
    assert "| did not hold | Nothing was measured. | exact | 1 |" in text
    assert "**What this cannot show:** It shows nothing." in text
    scores = list(whole.table.by_seed("score", kind="plain", size=1).values())
    assert f"| plain | 1 | {sum(scores) / 3:.4g} ± " in text and "seconds" not in rows[4]
    assert "`mobilenetv2 study planted --output DIR --seeds 3 --first-seed 1`: 12 cases" in text
    assert "seeds 1 to 3" in text and "cores, Python 3" in text and "numpy " in text
    assert "(planted/results.csv)" in text and str(whole.path) not in text
    assert "(picture.png)" in page_text(STUDY, whole, ".") and "quick version" not in text
    quick = replace(whole, options=replace(whole.options, quick=True))
    assert "**This is a quick version" in page_text(STUDY, quick, ".")


def test_a_long_table_of_measures_is_left_to_the_csv(whole: StudyResult) -> None:
    rows = Table(Row(Case({"size": size}), "x", 12345.6) for size in range(41))
    assert "## Measures" not in page_text(STUDY, replace(whole, table=rows), ".")
    short = page_text(STUDY, replace(whole, table=Table(rows[:40])), ".")
    assert "| 7 | 12,346 |" in short and "Means over" not in short


def test_a_verdict_that_other_seeds_do_not_confirm_is_withdrawn(whole: StudyResult) -> None:
    finding = whole.findings[0]
    assert standing(finding, None) == "held" and standing(finding, whole) == "held (twice)"
    other = replace(whole, findings=(replace(finding, verdict="did not hold"),))
    assert standing(finding, other).startswith("cannot be told (held; with other seeds: did not")
    assert standing(whole.findings[1], other).endswith("no finding)")
    text = page_text(STUDY, whole, "planted", other)
    assert "| with other seeds |" in text and "Again, with other seeds: `mobilenetv2 " in text
    index = index_text([(STUDY, whole, other)])
    assert "[planted](planted.md)" in index and "cannot be told (held; with other" in index


@pytest.mark.usefixtures("importable")
def test_results_are_taken_and_pages_made(whole: StudyResult, tmp_path: Path) -> None:
    docs, studies = tmp_path / "docs", {"planted": STUDY}
    assert take_results(whole.path, docs, STUDY) == docs / "planted"
    names = ["picture.png", "results.csv", "study.json", "timed.csv"]
    assert sorted(path.name for path in (docs / "planted").iterdir()) == names
    made = made_pages(docs, studies)
    assert [path.name for path in made] == ["planted.md", "README.md"]
    assert "with other seeds |" not in made[docs / "planted.md"]
    with pytest.raises(StudyError, match=r"has a seed of .*give another first seed"):
        take_results(whole.path, docs, STUDY, again=True)
    other = run_study(STUDY, tmp_path / "other", Options(seeds=2, first_seed=100))
    assert take_results(other.path, docs, STUDY, again=True) == docs / "planted" / "again"
    assert "seeds 100 to 101" in made_pages(docs, studies)[docs / "planted.md"]
    quick = shutil.copytree(whole.path, tmp_path / "quick")
    text = (quick / "study.json").read_text("utf-8").replace('"quick": false', '"quick": true')
    (quick / "study.json").write_text(text, "utf-8")
    with pytest.raises(StudyError, match="a quick version"):
        take_results(quick, docs, STUDY)


def test_a_number_that_was_changed_by_hand_is_seen(whole: StudyResult, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    take_results(whole.path, docs, STUDY)
    before = made_pages(docs, {"planted": STUDY})
    measured = [
        (row.case, Outcome({"score": row.value + 1e-3 * (row.case.factors["size"] == 1)}))
        for row in whole.table
        if row.measure == "score"
    ]
    (docs / "planted" / "results.csv").write_text(csv_tables(measured)["results.csv"], "utf-8")
    assert made_pages(docs, {"planted": STUDY}) != before
