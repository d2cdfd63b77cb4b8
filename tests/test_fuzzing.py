"""A short part of benchmarks/fuzz.py: the first mutations of every target, and the harness."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fuzz import CRASHED, READ, REFUSED, WRONG, forked, fuzz, modules
from fuzz_target import Target, WrongAnswer

from mobilenetv2.errors import WeightsError

FUZZ = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"
FEW = {"records": "10", "archives": "10"}
"""Mutations of a target, where starting its libraries does not cost most; else 3."""
NEEDS = {
    "files": ("keras", "tensorflow", "onnxscript"),
    "exported": ("openvino",),
    "native": ("MNN",),
}
"""Packages without which a module has nothing to fuzz."""


def target(path: Path, attempt: object) -> Target:
    assert callable(attempt)
    return Target("a file", path, b"content" * 100, attempt)


def raising(error: Exception) -> object:
    def attempt() -> None:
        raise error

    return attempt


@pytest.mark.skipif(not hasattr(os, "fork"), reason="attempts are made in forks")
@pytest.mark.parametrize(
    ("attempt", "status"),
    [
        (lambda: 0, READ),
        (raising(WeightsError("damaged")), REFUSED),
        (raising(OSError("no such file")), REFUSED),
        (raising(WrongAnswer("3 values for 10 labels")), WRONG),
        (raising(RecursionError("deep")), CRASHED),
        (os.abort, -6),
        (lambda: bytearray(2**45), CRASHED),
    ],
    ids=["read", "refused", "lost", "wrong", "exception", "abort", "memory"],
)
def test_what_becomes_of_an_attempt(tmp_path: Path, attempt: object, status: int) -> None:
    assert forked(target(tmp_path / "a", attempt)).status == status


@pytest.mark.skipif(not hasattr(os, "fork"), reason="attempts are made in forks")
def test_an_attempt_that_hangs_is_ended_and_counts_as_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fuzz.HANG", 1)
    found = forked(target(tmp_path / "a", lambda: time.sleep(60)))
    assert found.status == -14 and "hang" in found.words


TALLY = """
import json, sys
from pathlib import Path
from fuzz import fuzz, table
from fuzz_target import Target
from mobilenetv2.errors import WeightsError

path, whole = Path(sys.argv[1]), b"content" * 100

def attempt():
    found = path.read_bytes()
    if found == whole:
        return
    if len(found) < 700:
        raise WeightsError("truncated")
    if found[:7] != b"content":
        raise IndexError("the start")
    assert len(bytearray(b"1" * 50_000_000)) > 0

tally = fuzz(Target("a file", path, whole, attempt), 60)
counts = {name: getattr(tally, name) for name in ("mutations", "read", "refused", "crashes")}
shown = tally.row() in table([tally], 60, "here")
print(json.dumps([counts, tally.memory, tally.failures, shown, path.read_bytes() == whole]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="attempts are made in forks")
def test_a_tally_counts_every_mutation_once_and_measures_memory(tmp_path: Path) -> None:
    """In a process of its own: a fork of this one would take what its heap has free."""
    command = [sys.executable, "-c", TALLY, str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=FUZZ.parent, check=False)
    assert done.returncode == 0, done.stderr
    counts, memory, failures, shown, unchanged = json.loads(done.stdout)
    kinds = [counts[name] for name in ("read", "refused", "crashes")]
    assert counts["mutations"] == 60 == sum(kinds) and min(kinds) > 0
    assert len(failures) == counts["crashes"] and "IndexError" in failures[0]
    assert memory > 40e6 and shown and unchanged


def test_a_target_that_is_not_read_undamaged_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"itself is not read.*damaged"):
        fuzz(target(tmp_path / "a", raising(WeightsError("damaged"))), 1)


@pytest.mark.slow
@pytest.mark.parametrize("module", modules())
def test_the_first_mutations_of_every_target(module: str, tmp_path: Path) -> None:
    for package in NEEDS.get(module, ()):
        pytest.importorskip(package)
    page = tmp_path / "fuzz.md"
    command = [sys.executable, str(FUZZ), "--modules", module, "--output", str(page)]
    ended = subprocess.run(
        [*command, "--mutations", FEW.get(module, "3")], capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-4000:]
    rows = page.read_text("utf-8").splitlines()[8:]
    assert len(rows) >= 1, ended.stderr[-4000:]
