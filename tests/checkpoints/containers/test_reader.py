"""The way in: what a file is, by its bytes, and the process around a library.

A module of the library's name stands in for h5py, and does what a hostile file could make it do.
"""

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.checkpoints.containers import bounds, reader, safetensors
from mobilenetv2.checkpoints.containers.reader import (
    HDF5,
    Library,
    LibraryProcess,
    own_memory,
    read_container,
    recognise_kind,
)
from mobilenetv2.checkpoints.containers.tensorflow import TABLE, prefix_of
from mobilenetv2.errors import EXTRAS, MissingExtra, WeightsError

ENTRY = b"PK\x03\x04" + bytes(22)


def member(name: bytes) -> bytes:
    return ENTRY + len(name).to_bytes(2, "little") + b"\0\0" + name


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (HDF5 + bytes(100), "hdf5"),
        (member(b"archive/data.pkl"), "pytorch"),
        (member(b"mobilenet_v2/version"), "pytorch"),
        (member(b"metadata.json"), "keras"),
        (member(b"config.json"), "keras"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "pytorch"),
        (b"\x80\x04}.", "pytorch"),
        (b"\x08\0\0\0\0\0\0\0{}      ", "safetensors"),
        (b"\x1c\0\0\0TFL3" + bytes(50), "litert"),
        (b"anything" + TABLE, "tensorflow"),
        (b"\x1f\x8b\x08" + bytes(50), "tensorflow"),
        (bytes(257) + b"ustar" + bytes(250), "tensorflow"),
    ],
)
def test_content_decides_and_the_name_does_not(tmp_path: Path, content: bytes, kind: str) -> None:
    for name in ("a", "a.h5", "a.pth", "a.onnx"):
        (tmp_path / name).write_bytes(content)
        assert recognise_kind(tmp_path / name) == kind


def test_a_file_is_read_by_its_content_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    path.write_bytes(safetensors.safetensors_bytes({"a": np.arange(3, dtype=np.int16)}))
    found = read_container(path)
    assert found.metadata["format"] == "safetensors"
    np.testing.assert_array_equal(found.arrays["a"], np.arange(3, dtype=np.int16), strict=True)


def test_a_graph_is_not_named_weights(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(50))
    with pytest.raises(WeightsError, match=r"a\.bin: a network's graph"):
        read_container(path)


def test_an_unknown_zip_goes_by_its_name(tmp_path: Path) -> None:
    for name, kind in (("a.keras", "keras"), ("a.pth", "pytorch"), ("b.pth.tar", "pytorch")):
        (tmp_path / name).write_bytes(member(b"whatever"))
        assert recognise_kind(tmp_path / name) == kind
    (tmp_path / "a.zip").write_bytes(member(b"whatever"))
    with pytest.raises(WeightsError, match=r"a\.zip: a zip that is neither .* 'whatever'"):
        recognise_kind(tmp_path / "a.zip")


def test_a_checkpoint_goes_by_its_prefix_and_by_each_of_its_files(tmp_path: Path) -> None:
    for suffix in (".index", ".data-00000-of-00001"):
        (tmp_path / f"model.ckpt-12{suffix}").write_bytes(b"anything")
    for name in ("model.ckpt-12", "model.ckpt-12.index", "model.ckpt-12.data-00000-of-00001", ""):
        assert recognise_kind(tmp_path / name) == "tensorflow"
        assert not name or prefix_of(tmp_path / name) == tmp_path / "model.ckpt-12"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pth", b"", "an empty file; download it again"),
        ("a.h5", b"version https://git-lfs.github.com/spec/v1\n", "fetch them with: git lfs pull"),
        ("a.bin", b"\n<!doctype html><html>", "a web page, not weights"),
        ("a.h5", b"nothing", "does not begin like a HDF5 file"),
        ("a.safetensors", b"\xff" * 20, "does not begin like a safetensors file"),
        ("a.txt", b"nothing", "not a weights file that is known"),
    ],
)
def test_what_else_it_may_be_is_said(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        recognise_kind(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pth: no such file"):
        recognise_kind(tmp_path / "none.pth")


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
    monkeypatch.setenv("PYTHONPATH", str(place), prepend=os.pathsep)


ENDS = {
    "crash": ("os.kill(os.getpid(), signal.SIGSEGV)", r"crashed on it \(SIGSEGV\)"),
    "abort": ("os.abort()", r"crashed on it \(SIGABRT\)"),
    "busy": ("while True: pass", "more than 1.0 s of processor time"),
    "exit": ("os._exit(7)", "could not be read by its library"),
    "leaves": ("sys.exit(0)", "could not be read by its library"),
    "silent": ("os._exit(0)", "an invalid result"),
    "not an answer": (
        "open('answer.json', 'w').write('[' * 100_000); os._exit(0)", "an invalid result",
    ),
    "another answer": (
        "open('answer.json', 'w').write('{\"metadata\": 3}'); os._exit(0)", "an invalid result",
    ),
    "link for an answer": (
        "os.symlink('/etc/passwd', 'answer.json'); os._exit(0)", "an invalid result",
    ),
    "link for arrays": (
        "open('answer.json', 'w').write('{\"metadata\": {}, \"order\": []}');"
        "os.symlink('/etc/passwd', 'arrays.safetensors'); os._exit(0)",
        "an invalid result",
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
    with LibraryProcess("h5py") as process:
        for _ in range(2):
            with pytest.raises(WeightsError, match=message) as caught:
                process.read_container("hdf5", victim)
            assert str(victim) in str(caught.value) or how == "other arrays"


@linux
def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, victim: Path) -> None:
    stand_in(monkeypatch, tmp_path, "bytearray(2 ** 30)")
    with LibraryProcess("h5py") as process:
        with pytest.raises(WeightsError, match="asks for far more memory than it holds"):
            process.read_container("hdf5", victim)
        assert process.memory < 50 * 1024**2


@linux
def test_memory_that_was_taken_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, victim: Path
) -> None:
    stand_in(monkeypatch, tmp_path, "block = os.urandom(2 ** 20) * 200\nos.abort()")
    with LibraryProcess("h5py") as process, pytest.raises(WeightsError, match="SIGABRT"):
        process.read_container("hdf5", victim)
    assert 199 * 2**20 < process.memory < 250 * 2**20


@posix
def test_files_that_it_writes_are_bounded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, victim: Path
) -> None:
    stand_in(monkeypatch, tmp_path, "open('big', 'wb').truncate(2 ** 40)")
    with LibraryProcess("h5py") as process, pytest.raises(WeightsError, match="File too large"):
        process.read_container("hdf5", victim)


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
    with LibraryProcess("h5py") as process:
        with pytest.raises(WeightsError, match="not yet"):
            process.read_container("hdf5", victim)
        go.touch()
        monkeypatch.setattr(reader, "WALL_SECONDS", 1)
        with pytest.raises(WeightsError, match="reading it did not end"):
            process.read_container("hdf5", victim)
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
    with LibraryProcess("h5py") as process, pytest.raises(WeightsError) as caught:
        process.read_container("hdf5", victim)
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
    with LibraryProcess("h5py") as process, pytest.raises(WeightsError, match="damaged HDF5"):
        process.read_container("hdf5", victim)
    assert not marker.exists()


@pytest.mark.parametrize("library", ["torch", "tensorflow", "h5py"])
def test_a_missing_library_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, victim: Path, library: Library
) -> None:
    top = f"raise ModuleNotFoundError('No module named {library}', name={library!r})"
    stand_in(monkeypatch, tmp_path, "pass", library, top)
    with (
        LibraryProcess(library) as process,
        pytest.raises(
            MissingExtra,
            # The child has a folder of its own, so that it names the clone by another path.
            match=rf"{library} is not installed .*install it with: .*\[{EXTRAS[library]}\]",
        ),
    ):
        process.read_container("hdf5", victim)


def test_a_broken_library_is_said_to_be_broken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, victim: Path
) -> None:
    stand_in(monkeypatch, tmp_path, "pass", top="raise OSError('libhdf5.so: no such file')")
    with (
        LibraryProcess("h5py") as process,
        pytest.raises(MissingExtra, match=r"imported \(libhdf5\.so: no"),
    ):
        process.read_container("hdf5", victim)


def test_a_file_above_the_limit_is_not_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, victim: Path
) -> None:
    monkeypatch.setattr(bounds, "LARGEST_FILE", 1000)
    with (
        LibraryProcess("h5py") as process,
        pytest.raises(WeightsError, match="1,008 bytes are more than"),
    ):
        process.read_container("hdf5", victim)


def test_one_file_by_itself(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra: keras)")
    path = tmp_path / "b.h5"
    with h5py.File(path, "w") as file:
        file["z"], file["a"] = np.arange(3), np.float32(1)
    found = read_container(path)
    assert {name: array.tolist() for name, array in found.arrays.items()} == {
        "a": 1,
        "z": [0, 1, 2],
    }


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no forks on Windows")


def forked(task: str) -> dict[str, int]:
    """In a process of its own: a fork of this one would have pytest's threads."""
    code = (
        "import json, os, signal\nfrom mobilenetv2.checkpoints.containers.reader import in_fork\n"
        f"def task():\n    {task}\nprint(json.dumps([in_fork(task), in_fork(lambda: 5)]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, after = json.loads(run.stdout)
    assert (after["status"], after["signal"]) == (5, 0)
    return dict(found)


@pytest.mark.parametrize(
    ("task", "status", "number"),
    [
        ("return 0", 0, 0),
        ("return 3", 3, 0),
        ("raise SystemExit(0)", 1, 0),
        ("raise ValueError", 1, 0),
        ("os.kill(os.getpid(), signal.SIGKILL)", 0, 9),
        ("os.abort()", 0, 6),
    ],
)
def test_how_a_fork_ended(task: str, status: int, number: int) -> None:
    found = forked(task)
    assert (found["status"], found["signal"]) == (status, number)


def test_what_a_fork_took() -> None:
    little, much = (forked(f"a = b'x' * {size}; return 0")["memory"] for size in (1, 10**8))
    assert 0.99e8 < much - little < 1.3e8


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")
def test_memory_of_this_process() -> None:
    assert 10**7 < own_memory("VmRSS") < own_memory("VmSize") + 1
    assert own_memory("VmNothing") == 0
