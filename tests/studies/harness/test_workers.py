"""Processes side by side: every case is answered once, and an early end leaves no process."""

import threading
from pathlib import Path

import planted_study
import pytest

from mobilenetv2.studies.harness.results import cases_of
from mobilenetv2.studies.harness.workers import measure_cases
from mobilenetv2.studies.study import Options

pytestmark = pytest.mark.usefixtures("importable")
STUDY = planted_study.STUDY
OPTIONS = Options(seeds=2)
CASES = cases_of(STUDY, STUDY.grid(OPTIONS), OPTIONS)


def test_every_case_is_answered_once_whatever_the_number_of_processes() -> None:
    found = [
        {case.key: answer["values"] for case, answer in measure_cases(STUDY, OPTIONS, CASES, count)}
        for count in (1, 3)
    ]
    assert found[0] == found[1] and found[0].keys() == {case.key for case in CASES}


def test_an_early_end_kills_the_processes(tmp_path: Path) -> None:
    (tmp_path / "fail").write_text(CASES[0].key)
    before = threading.active_count()
    answers = measure_cases(STUDY, Options(seeds=2, data=tmp_path), CASES, 2)
    next(answers)
    (tmp_path / "slow").write_text("600")
    answers.close()  # type: ignore[attr-defined]  # it is a generator
    assert threading.active_count() <= before + 2  # listeners of pipes that are closed
