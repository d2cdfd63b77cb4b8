"""A disk that is full, or that one may not write to: a line, status 2, and nothing half-written."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mobilenetv2.cli.main import main
from mobilenetv2.files import PREVIOUS, TEMPORARY
from mobilenetv2.formats import FORMATS
from mobilenetv2.locks import INSIDE


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


def commands(disk: Path, photos: Path, model: Path, quick: tuple[str, ...]) -> dict[str, list[str]]:
    """Every verb that writes, with an output on ``disk``."""
    photo, given = str(next(photos.rglob("*.png"))), ["--model", str(model)]
    return {
        "train": ["train", str(photos), "--output", str(disk / "run"), *quick, "--epochs", "1"],
        "evaluate": ["evaluate", str(photos), *given, "--report", str(disk / "report")],
        "predict": ["predict", str(photos), *given, "--csv", str(disk / "answers.csv")],
        "explain": ["explain", photo, *given, "--output", str(disk / "drawing.png")],
        "export": ["export", str(model), str(disk / "model.onnx")],
        "export to a folder": ["export", str(model), str(disk / "new"), "--format", "onnx,pt2"],
        "quantize": [
            "quantize", str(model), str(disk / "new" / "int8.onnx"), "--data", str(photos),
            "--force",
        ],
        "weights import": ["weights", "import", str(model / "m.onnx"), str(disk / "imported")],
        "weights export": [
            "weights", "export", str(model), str(disk / "m.onnx"), "--dialect", "onnx",
        ],
        "benchmark": [
            "benchmark", str(model), "--runtime", "onnxruntime", "--seconds", "0.01", "--output",
            str(disk / "figures"),
        ],
        "audit": ["audit", str(photos), "--output", str(disk / "audit")],
    }  # fmt: skip


VERBS = tuple(commands(Path(), Path(__file__).parents[1], Path(), ()))


@pytest.fixture(scope="module")
def with_file(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, with an ONNX file in it to import."""
    place = Path(shutil.copytree(model, tmp_path_factory.mktemp("model") / "model"))
    assert main(["weights", "export", str(place), str(place / "m.onnx"), "--dialect", "onnx"]) == 0
    return place


@pytest.mark.parametrize(
    "verb",
    [pytest.param(verb, marks=pytest.mark.slow) if verb == "benchmark" else verb for verb in VERBS],
)
@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_a_full_and_a_read_only_disk_are_named_as_they_are_in_every_verb(
    kind: str, verb: str, small_disk: Path, photos: Path, with_file: Path, quick: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if kind == "full":
        (small_disk / "fill").write_bytes(bytes(300 * 1024 - 4096))
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    before = sorted(small_disk.rglob("*"))
    status = main(commands(small_disk, photos, with_file, quick)[verb])
    message = capsys.readouterr().err.splitlines()[-1]
    # A file that could not be made is told as one of several.
    of_files = kind == "full" and verb.startswith(("export", "quantize"))
    assert status == (1 if of_files else 2), message
    message = message.partition(": " if of_files else "error: ")[2]
    assert message.startswith(str(small_disk)), message
    assert TEMPORARY not in message
    if kind == "full":
        assert "No space left on device; free some space or choose another folder" in message
    else:
        assert "Read-only file system; choose a folder that you may write to" in message
    left = [path for path in small_disk.rglob("*") if path not in before]
    if verb not in ("train", "benchmark"):  # a run is continued; figures are whole without a plot
        assert [path for path in left if path.is_file()] == []
    assert [path for path in left if path.name.startswith((TEMPORARY, PREVIOUS, INSIDE))] == []


@pytest.mark.parametrize("name", ["mnn", "ncnn"])
def test_a_full_disk_for_temporary_files_is_named(
    name: str, small_disk: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pytest.importorskip("MNN" if name == "mnn" else "pnnx")
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    out = tmp_path / f"model.{FORMATS[name].suffix.lstrip('.')}"
    assert main(["export", str(model), str(out), "--format", name]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(f"{name}: {small_disk}: ")
    assert "No space left on device; free some space" in message
    assert list(small_disk.iterdir()) == []
    assert list(tmp_path.iterdir()) == [small_disk]


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
