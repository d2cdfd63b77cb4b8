"""The protocol's two ends: a child that fails, dies or hangs, and answers that are JSON alone."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mobilenetv2.benchmarking.process import Child, Process, Request
from mobilenetv2.errors import ArtifactError

Prepare = Callable[[str], None]


@pytest.fixture
def children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """What every child does with a request, as Python: ``request`` -> ``answer``."""

    def prepare(code: str) -> None:
        place = tmp_path / "site"
        place.mkdir()
        body = "\n".join(f"    {line}" for line in code.splitlines())
        (place / "sitecustomize.py").write_text(
            "import os, sys, time, json\n"
            "from mobilenetv2.benchmarking import process\n"
            f"def reply(self, line):\n    request = json.loads(line)\n{body}\n    return answer\n"
            # The module that -m runs is another copy of it: main is called here instead.
            "if 'mobilenetv2.benchmarking.process' in sys.orig_argv:\n"
            "    process.Child.reply = reply\n    process.main()\n    os._exit(0)\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(place), prepend=os.pathsep)

    return prepare


def test_requests_are_answered_in_order(children: Prepare, tmp_path: Path) -> None:
    children("answer = {'twice': 2 * request['n'], 'threads': os.environ['OMP_NUM_THREADS']}")
    with Process("x", tmp_path / "log", threads=3) as process:
        assert process.ask({"n": 4}) == {"twice": 8, "threads": "3"}
        assert process.ask({"n": 5})["twice"] == 10


def test_its_own_error_is_raised_and_it_lives_on(children: Prepare, tmp_path: Path) -> None:
    children("answer = {'error': 'it is broken; mend it'} if request['n'] else {}")
    with Process("x", tmp_path / "log", 1) as process:
        with pytest.raises(ArtifactError, match=r"^it is broken; mend it$"):
            process.ask({"n": 1})
        assert process.ask({"n": 0}) == {}


def test_a_crash_is_named_with_the_last_that_was_said(children: Prepare, tmp_path: Path) -> None:
    children(
        "print('wrong shape', file=sys.stderr, flush=True)\nos.kill(os.getpid(), 11)\nanswer = 0"
    )
    with Process("ncnn int8", tmp_path / "log", 1) as process:
        for _ in range(2):  # later requests, too
            with pytest.raises(
                ArtifactError, match=r"^ncnn int8: its process ended by SIGSEGV \(wrong shape\)$"
            ):
                process.ask({})


def test_an_exit_is_named(children: Prepare, tmp_path: Path) -> None:
    children("os._exit(7)\nanswer = 0")
    with (
        Process("x", tmp_path / "log", 1) as process,
        pytest.raises(ArtifactError, match=r"^x: its process ended with status 7$"),
    ):
        process.ask({})


def test_one_that_hangs_is_ended(children: Prepare, tmp_path: Path) -> None:
    children("time.sleep(600)\nanswer = 0")
    with Process("x", tmp_path / "log", 1) as process:
        with pytest.raises(ArtifactError, match=r"^x: no answer within 1 seconds, so it was stop"):
            process.ask({}, longest=1)
        assert process._child.poll() is not None


def test_none_is_left_behind(children: Prepare, tmp_path: Path) -> None:
    children("answer = {'pid': os.getpid()}")
    with Process("x", tmp_path / "log", 1) as process:
        pid = process.ask({})["pid"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_every_failure_is_an_answer() -> None:
    child = Child()

    def ours(request: Request) -> Request:
        raise ArtifactError("it is broken; mend it")

    def theirs(request: Request) -> Request:
        raise ValueError("first line\nsecond line")

    child.runner = SimpleNamespace(load=ours, burst=theirs)
    assert child.reply('{"do": "load"}') == {"error": "it is broken; mend it"}
    assert child.reply('{"do": "burst"}') == {"error": "ValueError: first line"}
    for line in ("nonsense", "[]", '{"do": "fly"}', '{"do": "answer"}'):
        assert list(child.reply(line)) == ["error"], line


def test_stdout_is_for_answers_alone_and_it_ends_with_its_input() -> None:
    code = (
        "import os, sys\n"
        "from mobilenetv2.benchmarking import process\n"
        "def noisy(self, line):\n"
        "    print('hello'); os.write(1, b'greetings\\n'); sys.stdout.flush()\n"
        "    return {'got': line.strip()}\n"
        "process.Child.reply = noisy\n"
        "process.main()\n"
    )
    run: Any = subprocess.run(
        [sys.executable, "-c", code], input="one\ntwo\n", capture_output=True, text=True, check=True
    )
    assert [json.loads(line) for line in run.stdout.splitlines()] == [
        {"got": "one"},
        {"got": "two"},
    ]
    assert "hello" in run.stderr and "greetings" in run.stderr


def test_no_library_is_imported_before_it_is_asked_for() -> None:
    code = "import mobilenetv2.benchmarking.process, sys; print('numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
