"""The types that users' own checkers see, held by a script of every call."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import mobilenetv2 as mn

CALLS = Path(__file__).parent / "typing" / "every_call.py"
RECORDS = {"MobileNetV2Error", "Labels", "Numerics", "Preprocessing", "Recipe", "StageSpec"}
"""Records and errors that the script need not name."""


def test_the_script_calls_every_public_function() -> None:
    called = set(re.findall(r"\bmn\.(\w+)", CALLS.read_text("utf-8")))
    assert {name for name in mn.__all__ if name[0] != "_"} - called <= RECORDS


@pytest.mark.slow
def test_mypy_as_a_user_runs_it(tmp_path: Path) -> None:
    """Not strict, and with this project installed: py.typed says that it has types."""
    if find_spec("mypy") is None:
        pytest.skip("mypy is not installed (extra: dev)")
    script = tmp_path / "script.py"
    script.write_text(CALLS.read_text("utf-8"), "utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file=", "--follow-imports=silent"]
    run = subprocess.run([*command, str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
def test_pyright_as_a_user_runs_it(tmp_path: Path) -> None:
    if find_spec("basedpyright") is None:
        pytest.skip("basedpyright is not installed (extra: against)")
    script, project = tmp_path / "script.py", tmp_path / "pyrightconfig.json"
    script.write_text(CALLS.read_text("utf-8"), "utf-8")
    project.write_text(json.dumps({"typeCheckingMode": "standard"}), "utf-8")
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable]
    run = subprocess.run([*command, str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
