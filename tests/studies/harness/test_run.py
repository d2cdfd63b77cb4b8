"""Runs of a planted study: its files, kills and resumes, failures, and what is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import planted_study
import pytest

from mobilenetv2.errors import InUse, MissingExtra, StudyError
from mobilenetv2.locks import hold
from mobilenetv2.studies.harness.results import StudyResult, read_result
from mobilenetv2.studies.harness.run import CasesFailed, command_of, run_study, study
from mobilenetv2.studies.study import Options

pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: torch)")
pytestmark = pytest.mark.usefixtures("importable")

STUDY = planted_study.STUDY
OPTIONS = Options(seeds=3, first_seed=1)
QUICK = Options(quick=True, seeds=2)
FAILING = "kind=plain size=1 seed=1"
SAME = ("results.csv", "timed.csv", "picture.png")
SCRIPT = """
import sys
from pathlib import Path
import planted_study
from mobilenetv2.studies.harness.run import run_study
from mobilenetv2.studies.study import Options
options = Options(seeds=3, first_seed=1, data=Path(sys.argv[2]))
run_study(planted_study.STUDY, Path(sys.argv[1]), options, resume="--resume" in sys.argv)
"""


def started(output: Path, data: Path, *words: str) -> "subprocess.Popen[str]":
    """Start the study in a process group of its own."""
    command = [sys.executable, "-c", SCRIPT, str(output), str(data), *words]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for_cases(output: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while len([*output.glob("cases/*.json")]) < count:
        assert time.monotonic() < deadline, "no case was finished within a minute"
        time.sleep(0.02)


def control(folder: Path, **files: object) -> Path:
    """Return a folder of data that tells the planted study what to do."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(str(content))
    return folder


def values(folder: Path) -> bytes:
    return (folder / "results.csv").read_bytes()


def test_a_study_has_its_tables_record_picture_and_summary(whole: StudyResult) -> None:
    folder = whole.path
    lines = values(folder).decode().splitlines()
    assert lines[0] == "kind,size,seed,measure,value" and len(lines) == 1 + 4 * 3 * 2
    assert lines[1].startswith("plain,1,1,score,") and lines[-1] == "'=better,2,3,size²,4.0"
    timed = (folder / "timed.csv").read_text("utf-8").splitlines()
    assert timed[1].startswith("plain,1,1,seconds,") and timed[2] == "plain,1,1,speed,1.0"
    record = json.loads((folder / "study.json").read_text("utf-8"))
    assert record["study"] == "planted" and record["options"]["seeds"] == 3
    (session,) = record["sessions"]
    assert session["cases"] == 12 and session["machine"]["cores"] >= 1 and session["date"]
    assert session["command"] == "mobilenetv2 study planted --output DIR --seeds 3 --first-seed 1"
    assert {"mobilenetv2", "numpy", "python"} <= session["versions"].keys()
    assert len(session["code"]) == 64 and "data" not in record["options"]
    assert [one["verdict"] for one in record["findings"]] == ["held", "did not hold"]
    assert whole.picture.read_bytes().startswith(b"\x89PNG")
    text = (folder / "README.md").read_text("utf-8")
    assert "# Is better better?" in text and "Better is better \\| by far. | held |" in text
    assert not (folder / "errors.txt").exists() and not (folder / ".lock").exists()


def test_a_planted_difference_is_found_by_the_whole_harness(whole: StudyResult) -> None:
    finding = whole.findings[0]
    assert (finding.verdict, finding.n) == ("held", 3)
    assert finding.interval[0] < planted_study.PLANTED < finding.interval[1]
    assert abs(finding.estimate - planted_study.PLANTED) < 3 * planted_study.OWN


@pytest.mark.skipif(os.name == "nt", reason="signals the POSIX way")
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_a_killed_study_goes_on_to_the_same_tables(
    number: int, whole: StudyResult, tmp_path: Path
) -> None:
    output, data = tmp_path / "out", control(tmp_path / "data", slow=1)
    with started(output, data) as process:
        wait_for_cases(output, 3)
        process.send_signal(number)
        process.wait(60)
    done = {path: path.read_bytes() for path in output.glob("cases/*.json")}
    assert 3 <= len(done) < 12 and not (output / "results.csv").exists()
    (data / "slow").write_text("0")
    with started(output, data, "--resume") as process:
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 0, said
    assert f"{len(done)} of 12 cases are finished" in said
    assert all(path.read_bytes() == content for path, content in done.items())
    assert values(output) == values(whole.path)
    sessions = json.loads((output / "study.json").read_text("utf-8"))["sessions"]
    assert [one["cases"] for one in sessions] == [len(done), 12 - len(done)]
    assert read_result(output, STUDY).findings == whole.findings


@pytest.mark.skipif(os.name == "nt", reason="signals the POSIX way")
def test_ctrl_c_says_what_is_kept_and_ends_the_processes(tmp_path: Path) -> None:
    output, data = tmp_path / "out", control(tmp_path / "data", slow=1)
    with started(output, data) as process:
        wait_for_cases(output, 2)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.stderr is not None
        said = process.stderr.read()  # the end of it: no process of a case has it open
    assert "Stopped: the study was stopped, and " in said and "of 12 cases are saved" in said
    assert "resume=True" in said and "Error" not in said
    assert not (output / ".lock").exists()


def test_a_finished_study_is_judged_and_drawn_again_by_resume(
    whole: StudyResult, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole.path, tmp_path / "copy")
    for name in (*SAME, "README.md"):
        (folder / name).unlink()
    found = run_study(STUDY, folder, OPTIONS, resume=True)
    assert found.sessions == whole.sessions and found.findings == whole.findings
    for name in (*SAME, "README.md", "study.json"):
        assert (folder / name).read_bytes() == (whole.path / name).read_bytes(), name


def test_more_seeds_are_added_to_a_finished_study(whole: StudyResult, tmp_path: Path) -> None:
    folder = tmp_path / "fewer"
    run_study(STUDY, folder, replace(OPTIONS, seeds=2))
    kept = {path: path.read_bytes() for path in folder.glob("cases/*.json")}
    found = run_study(STUDY, folder, OPTIONS, resume=True)
    assert values(folder) == values(whole.path) and found.findings == whole.findings
    assert [one["cases"] for one in found.sessions] == [8, 4]
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert json.loads((folder / "study.json").read_text("utf-8"))["options"]["seeds"] == 3
    with pytest.raises(StudyError, match="seeds 3, now 2"):
        run_study(STUDY, folder, replace(OPTIONS, seeds=2), resume=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": 2}, "seeds 3, now 2"),
        ({"first_seed": 0}, "first_seed 1, now 0"),
        ({"epochs": 5}, "epochs None, now 5"),
        ({"device": "cuda"}, "device 'cpu', now 'cuda'"),
    ],
)
def test_other_settings_are_refused(changes: dict[str, Any], said: str, whole: StudyResult) -> None:
    before = {path: path.read_bytes() for path in whole.path.iterdir() if path.is_file()}
    with pytest.raises(StudyError, match=said):
        run_study(STUDY, whole.path, replace(OPTIONS, **changes), resume=True)
    other = replace(STUDY, name="other", grid=lambda options: [{"kind": "plain"}])
    with pytest.raises(StudyError, match="study 'planted', now other"):
        run_study(other, whole.path, OPTIONS, resume=True)
    assert before == {path: path.read_bytes() for path in whole.path.iterdir() if path.is_file()}


def test_another_version_and_another_grid_are_refused(
    whole: StudyResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    less = replace(STUDY, grid=lambda options: planted_study.grid(options)[:2])
    with pytest.raises(StudyError, match="another grid of cases"):
        run_study(less, whole.path, OPTIONS, resume=True)
    monkeypatch.setattr("mobilenetv2.studies.harness.folder.__version__", "9.9")
    with pytest.raises(StudyError, match=r"version '.*', now 9\.9"):
        run_study(STUDY, whole.path, OPTIONS, resume=True)


def test_an_output_is_neither_mixed_nor_replaced_unasked(
    whole: StudyResult, tmp_path: Path
) -> None:
    with pytest.raises(StudyError, match="exists already; choose another output"):
        run_study(STUDY, whole.path, OPTIONS)
    with pytest.raises(StudyError, match="no study to resume, there is no such folder"):
        run_study(STUDY, tmp_path / "none", OPTIONS, resume=True)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(StudyError, match="not a study"):
        run_study(STUDY, tmp_path, OPTIONS, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    folder = shutil.copytree(whole.path, tmp_path / "copy")
    (folder / "notes.txt").write_text("mine")
    found = run_study(STUDY, folder, QUICK, overwrite=True)
    assert len(found.table.where(kind="plain")) == 2 * 4 and found.options == QUICK
    assert len([*folder.glob("cases/*")]) == 4 and (folder / "notes.txt").is_file()


def test_two_at_once_are_refused(whole: StudyResult, tmp_path: Path) -> None:
    command = [
        sys.executable, "-c",
        "import sys; from pathlib import Path; from mobilenetv2.locks import hold\n"
        "with hold(Path(sys.argv[1]), inside=True): print('held', flush=True); input()",
        str(tmp_path / "out"),
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(InUse, match="another process is writing there"):
            run_study(STUDY, tmp_path / "out", QUICK)
        other.communicate("\n")
    with hold(tmp_path / "out", inside=True):  # whoever holds it may write
        assert run_study(STUDY, tmp_path / "out", QUICK).findings


@pytest.mark.parametrize(
    ("how", "reason", "traced"),
    [
        ("fail", "no photos here", False),
        ("unknown", "RuntimeError: a defect", True),
        pytest.param(
            "crash", "its process ended by SIGKILL", False,
            marks=pytest.mark.skipif(os.name == "nt", reason="signals the POSIX way"),
        ),
    ],
)  # fmt: skip
def test_a_case_that_fails_leaves_the_others_and_is_run_again(
    how: str, reason: str, traced: bool, tmp_path: Path
) -> None:
    output, data = tmp_path / "out", control(tmp_path / "data", **{how: FAILING})
    options = replace(QUICK, first_seed=1, data=data)
    with pytest.raises(CasesFailed) as caught:
        run_study(STUDY, output, options)
    message = str(caught.value)
    assert "1 of 4 cases failed" in message and FAILING in message and reason in message
    assert "resume=True" in message and len([*output.glob("cases/*.json")]) == 3
    errors = (output / "errors.txt").read_text("utf-8")
    assert FAILING in errors and ("Traceback" in errors) == traced
    assert not (output / "results.csv").exists()
    (data / how).unlink()
    found = run_study(STUDY, output, options, resume=True)
    assert not (output / "errors.txt").exists()
    assert [one["cases"] for one in found.sessions] == [3, 1]
    plain = run_study(STUDY, tmp_path / "plain", replace(options, data=None))
    assert values(output) == values(plain.path)


def test_a_damaged_case_is_named(whole: StudyResult, tmp_path: Path) -> None:
    folder = shutil.copytree(whole.path, tmp_path / "copy")
    case = next(folder.glob("cases/*.json"))
    case.write_text(case.read_text().replace('"seed"', '"seeds"'))
    with pytest.raises(StudyError, match=f"{case.name}: damaged .*delete this file"):
        run_study(STUDY, folder, OPTIONS, resume=True)
    case.unlink()
    assert values(run_study(STUDY, folder, OPTIONS, resume=True).path) == values(whole.path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": 0}, "seeds 0 must be at least 1"),
        ({"first_seed": -1}, "first_seed -1 must be at least 0"),
        ({"epochs": 0}, "epochs 0 must be at least 1"),
        ({"photos": -1}, "photos -1 must be at least 0"),
    ],
)
def test_impossible_options_are_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=said):
        run_study(STUDY, tmp_path / "out", replace(OPTIONS, **changes))
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named_before_anything_is_made(tmp_path: Path) -> None:
    lacking = replace(STUDY, packages=("pyarrow", "no_such_package"))
    with pytest.raises((MissingExtra, ModuleNotFoundError)):
        run_study(lacking, tmp_path / "out", OPTIONS)
    assert not (tmp_path / "out").exists()


def test_a_study_without_chance_runs_each_case_once(tmp_path: Path) -> None:
    found = run_study(replace(STUDY, random=False), tmp_path / "out", QUICK)
    assert {row.case.seed for row in found.table} == {0} and found.findings[0].n == 1


def test_the_command_of_a_record_has_every_choice() -> None:
    options = Options(True, 5, 100, 3, 0, "cuda", Path("secret"))
    assert command_of(STUDY, options) == (
        "mobilenetv2 study planted --output DIR --quick --seeds 5 --first-seed 100 --epochs 3 "
        "--photos all --device cuda"
    )
    assert command_of(replace(STUDY, random=False), Options()) == (
        "mobilenetv2 study planted --output DIR"
    )


def test_the_function_takes_names_and_paths(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        "mobilenetv2.studies.harness.catalogue.load", {"planted": STUDY}.__getitem__
    )
    found = study("planted", str(tmp_path / "out"), quick=True)
    assert found.options == QUICK and found.path == tmp_path / "out"
