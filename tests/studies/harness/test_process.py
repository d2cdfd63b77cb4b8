"""The process of a case: its answers, its one thread, and its end with its parent."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import planted_study
import pytest

from mobilenetv2.benchmarking.process import Process
from mobilenetv2.errors import DataError
from mobilenetv2.studies.harness.process import MODULE, make_request, reply
from mobilenetv2.studies.study import Case, Options, Outcome

STUDY = planted_study.STUDY
CASE = Case({"kind": "plain", "size": 2}, 7)


def threads(case: Case, options: Options) -> Outcome:
    """Return the threads of PyTorch and of BLAS."""
    import torch
    from threadpoolctl import threadpool_info

    of_blas = [one["num_threads"] for one in threadpool_info()]
    return Outcome({"torch": torch.get_num_threads(), "blas": max(of_blas, default=1)})


def infinite(case: Case, options: Options) -> Outcome:
    return Outcome({"loss": float("inf")})


def refusing(case: Case, options: Options) -> Outcome:
    raise DataError("no photos")


def request(measure: Any = STUDY.measure, **changes: Any) -> dict[str, Any]:
    made = make_request(replace(STUDY, measure=measure, **changes), CASE, Options())
    sent: dict[str, Any] = json.loads(json.dumps(made))
    return sent


def test_an_answer_has_what_the_function_returns() -> None:
    answer = reply(request())
    expected = STUDY.measure(CASE, Options())
    assert answer["values"] == expected.values and answer["timed"] == expected.timed
    assert answer["seconds"] >= 0 and json.loads(json.dumps(answer)) == answer


def test_a_function_that_no_process_can_import_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a function of a module"):
        make_request(replace(STUDY, measure=lambda case, options: Outcome({})), CASE, Options())


@pytest.mark.usefixtures("importable")
def test_a_process_answers_one_case_after_the_other(tmp_path: Path) -> None:
    with Process("planted", tmp_path / "log", 1, MODULE) as process:
        answers = [process.ask(request(), None) for _ in range(2)]
    assert answers[0]["values"] == answers[1]["values"] == STUDY.measure(CASE, Options()).values


def test_errors_are_one_sentence_and_a_defect_has_its_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = sys.modules[__name__]
    monkeypatch.setitem(sys.modules, "cases_of_tests", here)
    for function, said, traced in (
        (refusing, "no photos", False),
        (infinite, "its measure 'loss' is inf, not a finite number", False),
    ):
        answer = reply({**request(function), "module": "cases_of_tests"})
        assert answer == {"failed": said, "trace": ""} and not traced
    answer = reply({**request(), "factors": {}})
    assert answer["failed"].startswith("KeyError: ") and "Traceback" in answer["trace"]


def test_a_study_of_pytorch_computes_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: torch)")
    monkeypatch.setitem(sys.modules, "cases_of_tests", sys.modules[__name__])
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        answer = reply({**request(threads, packages=("torch",)), "module": "cases_of_tests"})
        assert answer["values"] == {"torch": 1.0, "blas": 1.0}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(os.name == "nt", reason="pipes the POSIX way")
@pytest.mark.usefixtures("importable")
def test_a_process_ends_with_its_parent_in_the_middle_of_a_case(tmp_path: Path) -> None:
    (tmp_path / "slow").write_text("600")
    made = make_request(STUDY, CASE, Options(data=tmp_path))
    command = [sys.executable, "-m", MODULE]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(made) + "\n")
        process.stdin.flush()
        time.sleep(0.5)
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(60) == 0
