"""Settings of the process: memory and cores below PyTorch, and native output that is dropped."""

import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mobilenetv2 import process
from mobilenetv2.process import settle_dependencies, suppress_native_output

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
def test_pytorch_in_a_folder_that_was_removed_is_an_error_of_ours(
    tmp_path: Path, photos: Path, model: Path
) -> None:
    gone = tmp_path / "gone"
    for words in (
        ["explain", photos, "--model", model, "--output", tmp_path / "maps", "--runtime", "torch"],
        ["train", photos, "--output", tmp_path / "run", "--weights", "none"],
        ["predict", photos, "--model", model, "--runtime", "torch"],
    ):
        gone.mkdir()
        done = subprocess.run(
            ["sh", "-c", 'cd "$1"; rmdir "$1"; shift; exec "$@"', "sh", str(gone),
             sys.executable, "-m", "mobilenetv2", *map(str, words)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2, words
        assert "error: the current folder was removed" in done.stderr, words
        assert "MKL" not in done.stderr


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
@pytest.mark.parametrize(
    "verb",
    [
        "train",
        *(
            pytest.param(verb, marks=pytest.mark.slow)
            for verb in ("predict", "explain", "quantize")
        ),
    ],
)
def test_waiting_threads_sleep_soon(verb: str, model: Path, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
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


@pytest.mark.slow
@LINUX
def test_what_a_person_set_stays() -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
    assert "GOMP_SPINCOUNT = '77'" in openmp(NOWHERE, 2, GOMP_SPINCOUNT="77")
    assert "GOMP_SPINCOUNT = '3000'" not in openmp(NOWHERE, 2, OMP_WAIT_POLICY="active")


def test_nothing_is_set_that_would_come_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(process.SPINS, raising=False)
    monkeypatch.delenv(process.POLICY, raising=False)
    monkeypatch.setitem(sys.modules, "torch", sys)
    assert not process.share_cores() and process.SPINS not in os.environ


def test_only_what_is_written_inside_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(1, b"before\n")
    with suppress_native_output():
        os.write(1, b"inside\n")
        os.write(2, b"inside\n")
        with suppress_native_output():
            os.write(1, b"deeper\n")
        os.write(2, b"inside\n")
    os.write(1, b"after\n")
    os.write(2, b"after\n")
    assert capfd.readouterr() == ("before\nafter\n", "after\n")


def test_an_error_passes_and_the_streams_come_back(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="as it was"), suppress_native_output():
        raise ValueError("as it was")
    os.write(1, b"after\n")
    assert capfd.readouterr().out == "after\n"


def test_threads_do_not_keep_each_other_silent(capfd: pytest.CaptureFixture[str]) -> None:
    def often() -> None:
        for _ in range(50):
            with suppress_native_output():
                os.write(1, b"inside\n")

    threads = [threading.Thread(target=often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(1, b"after\n")
    assert capfd.readouterr().out == "after\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows' C library has another name")
def test_buffers_are_emptied_in_time() -> None:
    # Into a pipe C writes when its buffer is full, or at the end: long after the block.
    program = (
        "import ctypes\n"
        "from mobilenetv2.process import suppress_native_output\n"
        "c = ctypes.CDLL(None)\n"
        "print('python', end=' '); c.printf(b'c ')\n"
        "with suppress_native_output():\n"
        "    c.printf(b'inside ')\n"
        "c.printf(b'after')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("python c after", "")


@pytest.mark.skipif(os.name == "nt", reason="Windows' C library has another name")
def test_a_process_without_streams_can_be_silent() -> None:
    assert ctypes.CDLL(None).fflush(None) == 0
    program = (
        "import os, sys\n"
        "from mobilenetv2.process import suppress_native_output\n"
        "os.close(1); sys.stdout = None\n"
        "with suppress_native_output():\n"
        "    pass\n"
        "sys.stderr.write('alive')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == "alive"


def test_packages_get_places_in_the_cache_unless_they_have_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = ("KERAS_HOME", "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR")

    def settled() -> list[str | None]:
        for name in places:
            monkeypatch.setenv(name, "")  # so that it is as before when the test has ended
            monkeypatch.delenv(name)
        settle_dependencies(tmp_path / "cache")
        return [os.environ.get(name) for name in places]

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    keras, fonts, code = (
        str(tmp_path / "cache" / name) for name in ("keras", "matplotlib", "inductor")
    )
    assert settled() == [keras, fonts, code]
    (tmp_path / ".config" / "matplotlib").mkdir(parents=True)
    assert settled()[:2] == [keras, None]
    (tmp_path / ".keras").mkdir()
    assert settled()[:2] == [None, None]
    monkeypatch.setenv("MPLCONFIGDIR", "mine")
    settle_dependencies(tmp_path)
    assert os.environ["MPLCONFIGDIR"] == "mine"
    assert not (tmp_path / "cache").exists()


INTERRUPTED = """
import signal, threading, time
from mobilenetv2.process import without_interrupts
done = []
try:
    with without_interrupts():
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.01)
        done.append(1)
    done.append(2)
except KeyboardInterrupt:
    done.append(3)
assert done == [1, 3], done
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
found = []

def elsewhere():
    with without_interrupts():
        found.append(signal.getsignal(signal.SIGINT))

thread = threading.Thread(target=elsewhere)
thread.start()
thread.join()
assert found == [signal.default_int_handler]
"""


def test_an_interrupt_comes_after_what_may_not_be_interrupted() -> None:
    """In a process of its own: a library in this one may have made signals deadly."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
