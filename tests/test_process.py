"""What is asked of glibc and of GNU OpenMP is taken by them, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mobilenetv2 import process

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc, GNU OpenMP")

FAULTS = """
import ctypes, resource, sys
from mobilenetv2.process import keep_memory
if sys.argv[1] == "keep":
    assert keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
size = 64 * 2**20

def use():
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    libc.free(block)

use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@LINUX
def test_freed_memory_is_used_again_without_a_page_fault() -> None:
    def faults(how: str) -> int:
        command = [sys.executable, "-c", FAULTS, how]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults("keep") < faults("free") / 10


def openmp(words: list[str | Path], status: int, **variables: str) -> str:
    """What GNU OpenMP says of itself as a command loads it."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in (process.SPINS, process.POLICY)
    }
    run = subprocess.run(
        [sys.executable, "-m", "mobilenetv2", *map(str, words)], capture_output=True, text=True,
        env={**environment, "OMP_DISPLAY_ENV": "verbose", **variables},
    )  # fmt: skip
    assert run.returncode == status, run.stderr
    if "OPENMP DISPLAY ENVIRONMENT" not in run.stderr:
        pytest.skip("this PyTorch does not compute with GNU OpenMP")
    return run.stderr


NOWHERE: list[str | Path] = ["train", "nowhere", "--weights", "none", "--output", "nowhere either"]


@LINUX
@pytest.mark.parametrize("verb", ["train", "predict", "explain", "quantize"])
def test_waiting_threads_sleep_soon(verb: str, model: Path, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    photo = next(photos.rglob("*.png"))
    out = tmp_path / "out.png"
    commands: dict[str, tuple[list[str | Path], int]] = {
        "train": (NOWHERE, 2),
        "predict": (["predict", photo, "--model", model, "--runtime", "torch"], 0),
        "explain": (
            ["explain", photo, "--model", model, "--runtime", "torch", "--output", out], 0,
        ),
        "quantize": (
            ["quantize", model, out, "--data", "nowhere", "--format", "onnx", "--train"], 2,
        ),
    }  # fmt: skip
    words, status = commands[verb]
    assert "GOMP_SPINCOUNT = '3000'" in openmp(words, status)


@LINUX
def test_what_a_person_set_stays() -> None:
    pytest.importorskip("torch")
    assert "GOMP_SPINCOUNT = '77'" in openmp(NOWHERE, 2, GOMP_SPINCOUNT="77")
    assert "GOMP_SPINCOUNT = '3000'" not in openmp(NOWHERE, 2, OMP_WAIT_POLICY="active")


def test_nothing_is_set_that_would_come_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(process.SPINS, raising=False)
    monkeypatch.delenv(process.POLICY, raising=False)
    monkeypatch.setitem(sys.modules, "torch", sys)
    assert not process.share_cores() and process.SPINS not in os.environ
