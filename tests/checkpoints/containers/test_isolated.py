"""The process around a library: what it may do, how it ends, and what is made of that.

A module of the library's name stands in for h5py, and does what a hostile file could make it do.
"""

import os
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.checkpoints.containers import isolated
from mobilenetv2.checkpoints.containers.isolated import Library, Reader
from mobilenetv2.checkpoints.containers.kind import HDF5
from mobilenetv2.errors import MissingExtra, WeightsError

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="limits need a POSIX system")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds anyone to RLIMIT_DATA")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "a.h5"
    path.write_bytes(HDF5 + bytes(1000))
    return path


def stand_in(
    monkeypatch: pytest.MonkeyPatch, folder: Path, body: str, name: str = "h5py", top: str = ""
) -> None:
    """A module whose File does ``body``; ``top`` runs when it is imported."""
    place = folder / "modules"
    place.mkdir(exist_ok=True)
    code = textwrap.indent(textwrap.dedent(body), "    ")
    (place / f"{name}.py").write_text(
        f"import os, signal, sys, time\n{top}\ndef File(*_):\n{code}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(place))


ENDS = {
    "crash": ("os.kill(os.getpid(), signal.SIGSEGV)", r"crashed on it \(SIGSEGV\)"),
    "abort": ("os.abort()", r"crashed on it \(SIGABRT\)"),
    "busy": ("while True: pass", "more than 1.0 s of processor time"),
    "exit": ("os._exit(7)", "could not be read by its library"),
    "leaves": ("sys.exit(0)", "could not be read by its library"),
    "silent": ("os._exit(0)", "gave no proper answer"),
    "not an answer": (
        "open('answer.json', 'w').write('[' * 100_000); os._exit(0)", "gave no proper answer",
    ),
    "another answer": (
        "open('answer.json', 'w').write('{\"metadata\": 3}'); os._exit(0)", "no proper answer",
    ),
    "link for an answer": (
        "os.symlink('/etc/passwd', 'answer.json'); os._exit(0)", "gave no proper answer",
    ),
    "link for arrays": (
        "open('answer.json', 'w').write('{\"metadata\": {}, \"order\": []}');"
        "os.symlink('/etc/passwd', 'arrays.safetensors'); os._exit(0)",
        "no proper answer",
    ),
    "other arrays": (
        "open('answer.json', 'w').write('{\"metadata\": {}, \"order\": []}');"
        "open('arrays.safetensors', 'w').write('nothing'); os._exit(0)",
        "damaged safetensors file",
    ),
    "any error": ("raise ZeroDivisionError('of mine')", r"damaged HDF5 file \(of mine\)"),
}  # fmt: skip


@posix
@pytest.mark.parametrize("how", ENDS)
def test_however_it_ends_there_is_one_clear_error_and_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, victim: Path, how: str
) -> None:
    body, message = ENDS[how]
    stand_in(monkeypatch, tmp_path, body)
    with Reader("h5py") as reader:
        for _ in range(2):
            with pytest.raises(WeightsError, match=message) as caught:
                reader.read("hdf5", victim)
            assert str(victim) in str(caught.value) or how == "other arrays"


@linux
def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, victim: Path) -> None:
    stand_in(monkeypatch, tmp_path, "bytearray(2 ** 30)")
    with Reader("h5py") as reader:
        with pytest.raises(WeightsError, match="asks for far more memory than it holds"):
            reader.read("hdf5", victim)
        assert reader.memory < 50 * 1024**2


@linux
def test_memory_that_was_taken_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, victim: Path
) -> None:
    stand_in(monkeypatch, tmp_path, "block = os.urandom(2 ** 20) * 200\nos.abort()")
    with Reader("h5py") as reader, pytest.raises(WeightsError, match="SIGABRT"):
        reader.read("hdf5", victim)
    assert 199 * 2**20 < reader.memory < 250 * 2**20


@posix
def test_files_that_it_writes_are_bounded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, victim: Path
) -> None:
    stand_in(monkeypatch, tmp_path, "open('big', 'wb').truncate(2 ** 40)")
    with Reader("h5py") as reader, pytest.raises(WeightsError, match="File too large"):
        reader.read("hdf5", victim)


@posix
def test_one_that_sleeps_is_ended_with_all_that_it_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, victim: Path
) -> None:
    note, go = tmp_path / "pid", tmp_path / "go"
    body = f"""
        if os.path.exists({str(go)!r}):
            open({str(note)!r}, "w").write(str(os.getpid()))
            time.sleep(1000)
        raise ValueError("not yet")
    """
    stand_in(monkeypatch, tmp_path, body)
    with Reader("h5py") as reader:
        with pytest.raises(WeightsError, match="not yet"):
            reader.read("hdf5", victim)
        go.touch()
        monkeypatch.setattr(isolated, "WALL_SECONDS", 1)
        with pytest.raises(WeightsError, match="reading it did not end"):
            reader.read("hdf5", victim)
    sleeper = int(note.read_text())
    for _ in range(100):
        if not running(sleeper):
            break
        time.sleep(0.05)
    assert not running(sleeper)


def running(process: int) -> bool:
    state = Path(f"/proc/{process}/stat")
    if Path("/proc/self/stat").exists():
        return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@posix
def test_its_surroundings_are_bare(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, victim: Path
) -> None:
    import resource

    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("HDF5_PLUGIN_PATH", str(tmp_path))
    body = """
        import resource
        core = resource.getrlimit(resource.RLIMIT_CORE)
        names = [name for name in os.environ if "TOKEN" in name or "PLUGIN" in name]
        print("noise on stdout", flush=True)
        raise RuntimeError(f"{core} {names} {os.path.basename(os.getcwd())[:12]} {os.listdir()}")
    """
    stand_in(monkeypatch, tmp_path, body)
    with Reader("h5py") as reader, pytest.raises(WeightsError) as caught:
        reader.read("hdf5", victim)
    expected = "((0, 0) ['HDF5_PLUGIN_PRELOAD'] mobilenetv2- ['unpacked'])"
    assert expected in str(caught.value)
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY


def test_nothing_is_imported_from_the_folder_of_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, victim: Path
) -> None:
    marker = tmp_path / "marker"
    for name in ("h5py", "json", "numpy", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(marker)!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("h5py", reason="h5py is not installed (extra: keras)")
    with Reader("h5py") as reader, pytest.raises(WeightsError, match="damaged HDF5"):
        reader.read("hdf5", victim)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("library", "extra"), [("torch", "torch"), ("tensorflow", "keras"), ("h5py", "keras")]
)
def test_a_missing_library_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, victim: Path, library: Library, extra: str
) -> None:
    top = f"raise ModuleNotFoundError('No module named {library}', name={library!r})"
    stand_in(monkeypatch, tmp_path, "pass", library, top)
    with (
        Reader(library) as reader,
        pytest.raises(
            MissingExtra,
            match=rf"{library} is not installed .*pip install 'mobilenetv2\[{extra}\]'",
        ),
    ):
        reader.read("hdf5", victim)


def test_a_broken_library_is_said_to_be_broken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, victim: Path
) -> None:
    stand_in(monkeypatch, tmp_path, "pass", top="raise OSError('libhdf5.so: no such file')")
    with Reader("h5py") as reader, pytest.raises(MissingExtra, match=r"imported \(libhdf5\.so: no"):
        reader.read("hdf5", victim)


def test_a_file_above_the_limit_is_not_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, victim: Path
) -> None:
    monkeypatch.setattr(isolated, "LARGEST_FILE", 1000)
    with Reader("h5py") as reader, pytest.raises(WeightsError, match="1,008 bytes are more than"):
        reader.read("hdf5", victim)


def test_one_file_by_itself(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra: keras)")
    path = tmp_path / "b.h5"
    with h5py.File(path, "w") as file:
        file["z"], file["a"] = np.arange(3), np.float32(1)
    found = isolated.read("hdf5", path)
    assert {name: array.tolist() for name, array in found.arrays.items()} == {
        "a": 1,
        "z": [0, 1, 2],
    }
