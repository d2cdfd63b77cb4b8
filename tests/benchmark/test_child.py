"""A child's answers are lines of JSON, whatever libraries print."""

import json
import subprocess
import sys
from typing import Any

from mobilenetv2.benchmark.child import Child, Request
from mobilenetv2.errors import ArtifactError


def test_every_failure_is_an_answer() -> None:
    child = Child()

    def ours(request: Request) -> Request:
        raise ArtifactError("it is broken; mend it")

    def theirs(request: Request) -> Request:
        raise ValueError("first line\nsecond line")

    child.verbs.update(ours=ours, theirs=theirs)
    assert child.reply('{"do": "ours"}') == {"error": "it is broken; mend it"}
    assert child.reply('{"do": "theirs"}') == {"error": "ValueError: first line"}
    for line in ("nonsense", "[]", '{"do": "fly"}', '{"do": "load"}'):
        assert list(child.reply(line)) == ["error"], line


def test_stdout_is_for_answers_alone_and_it_ends_with_its_input() -> None:
    code = (
        "import os, sys\n"
        "from mobilenetv2.benchmark import child\n"
        "def noisy(self, line):\n"
        "    print('hello'); os.write(1, b'greetings\\n'); sys.stdout.flush()\n"
        "    return {'got': line.strip()}\n"
        "child.Child.reply = noisy\n"
        "child.main()\n"
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
    code = "import mobilenetv2.benchmark.child, sys; print('numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
