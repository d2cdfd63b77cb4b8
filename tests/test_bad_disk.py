"""A disk that is full, or that one may not write to: a line, status 2, and nothing half-written."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mobilenetv2.cli.main import main
from mobilenetv2.files import PREVIOUS, TEMPORARY


def the_error(err: str) -> str:
    """The message of the one error line, which is the last."""
    *progress, last = err.splitlines()
    assert last.startswith("mobilenetv2: error: "), err
    assert not any("error" in line or "Traceback" in line for line in progress), err
    return last.removeprefix("mobilenetv2: error: ")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 300 kB: a model of 412 kB does not fit."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(disk)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a small disk: {getattr(error, 'stderr', None) or error}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_ends_a_run_in_one_line_and_with_more_space_it_goes_on(
    small_disk: Path, photos: Path, quick: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    run = small_disk / "run"
    command = ["train", str(photos), "--output", str(run)]
    assert main([*command, *quick, "--epochs", "1"]) == 2
    message = the_error(capsys.readouterr().err)
    assert message.endswith("No space left on device; free some space or choose another folder")
    assert message.startswith(str(run))
    # The run itself stays, to go on with; nothing half-written does.
    assert sorted(p.name for p in run.iterdir()) == ["recipe.toml", "split.csv", "start.json"]
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert main([*command, "--resume"]) == 0
    assert (run / "best" / "model.safetensors").is_file()
    assert not [p for p in run.rglob("*") if p.name.startswith((TEMPORARY, PREVIOUS))]


def test_a_full_disk_leaves_no_table_of_answers(
    small_disk: Path, photos: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (small_disk / "fill").write_bytes(bytes(290_000))
    file = small_disk / "features.csv"
    command = ["predict", str(photos), "--model", str(model), "--features", "--csv", str(file)]
    assert main(command) == 2
    assert the_error(capsys.readouterr().err).startswith(f"{file}: No space left on device; free")
    assert [path.name for path in small_disk.iterdir()] == ["fill"]


WITHOUT_PRIVILEGE = """
import ctypes, os, sys
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
if os.geteuid() == 0 and ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0):
    sys.exit("cannot drop the privilege")
os.execv(sys.executable, [sys.executable, "-m", "mobilenetv2", *sys.argv[1:]])
"""
"""Root may write anywhere; without this capability it obeys permissions like anybody."""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's capabilities")
@pytest.mark.parametrize("verb", ["train", "evaluate", "predict"])
def test_a_place_that_may_not_be_written_to(
    verb: str, photos: Path, model: Path, quick: tuple[str, ...], tmp_path: Path
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    options: dict[str, list[str | Path]] = {
        "train": ["--output", locked / "run", *quick],
        "evaluate": ["--model", model, "--report", locked / "report"],
        "predict": ["--model", model, "--csv", locked / "answers.csv"],
    }
    command = [sys.executable, "-c", WITHOUT_PRIVILEGE, verb, photos, *options[verb]]
    run = subprocess.run(command, capture_output=True, text=True)
    if "cannot drop" in run.stderr:
        pytest.skip("root that may not drop its privilege is never refused")
    assert run.returncode == 2, run.stderr
    message = the_error(run.stderr)
    assert message.startswith(str(locked))
    assert message.endswith("Permission denied; choose a folder that you may write to")
    assert list(locked.iterdir()) == []
