"""The folder of a study: cases that are kept, and settings that are compared."""

import json
from dataclasses import replace
from pathlib import Path

import planted_study
import pytest

from mobilenetv2.errors import StudyError
from mobilenetv2.locks import hold
from mobilenetv2.studies.harness.folder import (
    StudyFolder,
    code_sha256,
    open_study,
    settings_of,
)  # fmt: skip
from mobilenetv2.studies.study import Case, Options

STUDY, OPTIONS = planted_study.STUDY, Options(quick=True)
SETTINGS = settings_of(STUDY, OPTIONS, STUDY.grid(OPTIONS))
CASE = Case({"kind": "plain", "size": 1}, 3)
ANSWER = {"values": {"score": 0.1 + 0.2}, "timed": {"speed": 2.0}, "seconds": 1.25}


def test_a_case_is_read_back_to_the_last_bit(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, SETTINGS)
    assert folder.read_case(CASE) is None
    folder.write_case(CASE, ANSWER)
    found = folder.read_case(CASE)
    assert found is not None
    case, outcome = found
    assert case == CASE and outcome.values == {"score": 0.1 + 0.2}
    assert outcome.timed == {"seconds": 1.25, "speed": 2.0}
    assert folder.read_case(replace(CASE, seed=4)) is None


@pytest.mark.parametrize("content", ["", "[]", '{"factors": {}}', "null", "x" * 50])
def test_a_damaged_case_says_what_to_delete(content: str, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, SETTINGS)
    folder.write_case(CASE, ANSWER)
    (path,) = folder.cases.iterdir()
    path.write_text(content)
    with pytest.raises(StudyError, match=r"\.json: damaged .*delete this file"):
        folder.read_case(CASE)


def test_a_new_folder_has_the_settings_at_once_and_one_that_is_resumed_keeps_them(
    tmp_path: Path,
) -> None:
    folder = StudyFolder(tmp_path / "out", SETTINGS)
    with open_study(folder, resume=False, overwrite=False):
        assert json.loads(folder.record.read_text()) == {**SETTINGS, "sessions": []}
        with pytest.raises(StudyError, match="exists already"):
            folder.check(resume=False, overwrite=False)
    folder.sessions.append({"cases": 1})
    folder.write_record()
    (folder.path / ".partial-results.csv-0123abcd").write_text("of a killed process")
    again = StudyFolder(tmp_path / "out", SETTINGS)
    with open_study(again, resume=True, overwrite=False):
        assert again.sessions == [{"cases": 1}]
        assert sorted(path.name for path in again.path.iterdir()) == [".lock", "study.json"]
    folder.record.write_text(json.dumps({**SETTINGS, "sessions": 3}))
    with pytest.raises(StudyError, match="damaged"), open_study(again, True, False):
        pass


def test_what_is_refused_makes_nothing(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "out", SETTINGS)
    with pytest.raises(StudyError, match="no study to resume"), open_study(folder, True, False):
        pass
    assert not folder.path.exists()
    with hold(folder.path, inside=True):
        folder.check(resume=False, overwrite=False)  # a lock alone is an empty folder


def test_the_source_has_one_checksum() -> None:
    assert code_sha256() == code_sha256() and len(code_sha256()) == 64
