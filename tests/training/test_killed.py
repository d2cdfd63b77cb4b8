"""Real processes of ``mobilenetv2 train``, interrupted and killed: they end as if they never were.

The recipe has everything that a resumed run could get wrong: dropout, augmentation, momentum,
BatchNorm statistics, and an order of photos that changes from epoch to epoch.
"""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mobilenetv2.training.checkpoint import Checkpoint

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals the POSIX way")

TIMES = ("seconds", "images_per_second")
EPOCHS, STEPS = 3, 13
"""27 photos to train on in batches of 2."""


def begin(photos: Path, run: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mobilenetv2", "train", str(photos), "--output", str(run)]
    return subprocess.Popen(
        [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def outcome(run: Path) -> dict[str, object]:
    """Everything that a finished run leaves, byte for byte, but for times and pictures."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]
    names = [f"{folder}/{file}" for folder in ("best", "last")
             for file in ("model.safetensors", "config.json", "README.md")]  # fmt: skip
    found: dict[str, object] = {name: (run / name).read_bytes() for name in (*names, "split.csv")}
    return found | {"metrics.csv": rows, "files": sorted(path.name for path in run.iterdir())}


@pytest.fixture(scope="module")
def options(quick: tuple[str, ...]) -> list[str]:
    changes = ("batch_size=2", "dropout=0.3", "ema_decay=0.8", "precision=float32")
    return [*quick, "--epochs", str(EPOCHS), *(w for c in changes for w in ("--set", c))]


@pytest.fixture(scope="module")
def expected(
    photos: Path, options: list[str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, object]:
    """The outcome of a run that nobody interrupts."""
    run = tmp_path_factory.mktemp("whole") / "run"
    process = begin(photos, run, *options)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return outcome(run)


def wait_for(process: subprocess.Popen[str], checkpoint: Path, before: int) -> None:
    """Until a checkpoint newer than ``before`` (ns) is there: the next epoch has just begun."""
    end = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end:
        if checkpoint.is_file() and checkpoint.stat().st_mtime_ns > before:
            return
        time.sleep(0.002)
    raise AssertionError(f"no checkpoint came: {process.communicate()[1]}")


@pytest.mark.slow
def test_interrupted_within_epochs_and_resumed_it_ends_byte_for_byte_the_same(
    photos: Path, options: list[str], expected: dict[str, object], tmp_path: Path
) -> None:
    run, moments = tmp_path / "run", []
    process = begin(photos, run, *options)
    before = 0
    for delay in (0.0, 0.15):  # in epoch 2, then in epoch 3
        wait_for(process, run / "checkpoint.safetensors", before)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "Traceback" not in errors
        assert f"continue with: mobilenetv2 train {photos} --output {run} --resume" in errors
        saved = Checkpoint.load(run / "checkpoint.safetensors")
        moments.append((saved.epoch, saved.step))
        assert not (run / "summary.md").exists()
        before = (run / "checkpoint.safetensors").stat().st_mtime_ns
        process = begin(photos, run, "--resume")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert any(0 < step < STEPS for _, step in moments), moments
    assert outcome(run) == expected


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_moments_and_resumed_it_ends_byte_for_byte_the_same(
    photos: Path, options: list[str], expected: dict[str, object], tmp_path: Path, seed: int
) -> None:
    moment = random.Random(seed)
    run, kills = tmp_path / "run", 0
    process = begin(photos, run, *options)
    for _ in range(3):
        while process.poll() is None and not (run / "start.json").is_file():
            time.sleep(0.002)
        if not kills:  # a process that only resumes is most of the time starting up
            time.sleep(moment.uniform(0, 2))
        else:
            time.sleep(moment.uniform(1.5, 5))
        kills += process.poll() is None
        process.kill()
        process.communicate()
        if (run / "summary.md").exists():
            break
        process = begin(photos, run, "--resume")
    _, errors = process.communicate(timeout=120)
    assert kills > 0
    assert (run / "summary.md").exists(), errors
    assert outcome(run) == expected


def test_a_finished_run_cannot_be_resumed(trained: Path, photos: Path) -> None:
    process = begin(photos, trained, "--resume")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors == (
        f"mobilenetv2: error: {trained}: this run is finished; its model is {trained / 'best'}\n"
    )
