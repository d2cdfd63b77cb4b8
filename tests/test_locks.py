"""Locks: one holder at a time, whatever becomes of the others, and nothing left behind."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mobilenetv2.cli.main import main
from mobilenetv2.errors import InUse
from mobilenetv2.files import PREVIOUS, TEMPORARY, sweep
from mobilenetv2.locks import BESIDE, INSIDE, hold

HOLDER = """
import sys, time
from pathlib import Path
from mobilenetv2.locks import hold
with hold(Path(sys.argv[1]), inside=sys.argv[2] == "True"):
    print("held", flush=True)
    sys.stdin.readline()
"""
COUNTER = """
import sys
from pathlib import Path
from mobilenetv2.locks import hold
place, count = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(60):
    with hold(place, wait=True):
        count.write_text(str(int(count.read_text()) + 1))
"""


def another(output: Path, inside: bool) -> "subprocess.Popen[str]":
    """A process that holds ``output`` until it reads a line."""
    command = [sys.executable, "-c", HOLDER, str(output), str(inside)]
    process = subprocess.Popen(command, stdin=-1, stdout=-1, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("killed", [True, False])
def test_one_process_at_a_time_until_it_ends_or_is_killed(
    inside: bool, killed: bool, tmp_path: Path
) -> None:
    output = tmp_path / "new" / "output"
    with another(output, inside) as process:
        with pytest.raises(InUse, match=r"output: in use, .*wait .*choose another"):
            hold(output, inside=inside).__enter__()
        if killed:
            process.kill()
        else:
            process.communicate("\n")
    assert process.returncode == (-signal.SIGKILL if killed else 0)
    if killed:  # the file is left, and locks nothing
        assert [p.name for p in tmp_path.rglob("*.lock")] != []
    with hold(output, inside=inside) as locked:
        assert locked
    assert list(tmp_path.rglob("*.lock")) == []


def test_who_waits_comes_next_and_none_at_the_same_time(tmp_path: Path) -> None:
    count = tmp_path / "count"
    count.write_text("0")
    command = [sys.executable, "-c", COUNTER, str(tmp_path / "deep" / "place"), str(count)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert count.read_text() == "180"
    assert list(tmp_path.rglob("*.lock")) == []


def test_a_holder_may_hold_again_and_another_thread_may_not(tmp_path: Path) -> None:
    seen: list[BaseException] = []

    def try_it() -> None:
        try:
            hold(tmp_path / "out").__enter__()
        except InUse as error:
            seen.append(error)

    with hold(tmp_path / "out"), hold(tmp_path / "." / "out", wait=True) as again:
        assert again
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert len(seen) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_lock_lies_inside_or_beside_and_goes_with_what_is_swept(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("out")
    with hold(tmp_path / "out"):
        assert BESIDE.format("out") in {path.name for path in tmp_path.iterdir()}
        with pytest.raises(InUse), another(tmp_path / "other", False):
            hold(tmp_path / "other").__enter__()
    with hold(tmp_path / "link", inside=True):
        assert [path.name for path in (tmp_path / "out").iterdir()] == [INSIDE]
    assert [path.name for path in tmp_path.iterdir()] == ["link"]
    assert BESIDE.startswith(TEMPORARY)
    (tmp_path / BESIDE.format("out")).touch()
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for output, inside in ((tmp_path / "file" / "out", False), (tmp_path / "file", True)):
        with pytest.raises(NotADirectoryError, match="is a file, not a folder") as caught:
            hold(output, inside=inside).__enter__()
        assert caught.value.filename == str(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt", reason="Windows locks without flock")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_written_to_with_a_note(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    # There is no such disk here; it answers like this.
    monkeypatch.setattr("fcntl.flock", refuse)
    with hold(tmp_path / "out") as locked:
        assert not locked
        assert list(tmp_path.iterdir()) == []
    note = capsys.readouterr().err
    assert note.startswith(f"note: {tmp_path / 'out'}: ")
    assert "no locks" in note


def test_an_error_names_the_output_and_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long") as caught:
        hold(tmp_path / "new" / ("x" * 250)).__enter__()
    assert caught.value.filename == str(tmp_path / "new" / ("x" * 250))
    assert list(tmp_path.iterdir()) == []


needs_proc = pytest.mark.skipif(
    not Path("/proc/self").is_dir(), reason="there is no /proc, where nobody can make a file"
)


@needs_proc
@pytest.mark.parametrize("wait", [True, False])
def test_a_lock_that_cannot_be_made_is_no_other_writer(wait: bool) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        hold(Path("/proc/out"), wait=wait).__enter__()
    assert caught.value.filename == "/proc/out"


@needs_proc
@pytest.mark.parametrize(
    "words", ["weights import embedded", "audit DATA --output"], ids=["import", "audit"]
)
def test_a_command_says_why_its_output_cannot_be_written(
    words: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(photos) if word == "DATA" else word for word in words.split()]
    assert main([*given, "/proc/out"]) == 2
    error = capsys.readouterr().err
    assert "/proc/out" in error and "No such file" in error and "in use" not in error


def test_who_waits_says_so_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    notes: list[str] = []
    with another(output, False) as process:

        def end() -> None:
            while not notes:
                notes.extend(capsys.readouterr().err.splitlines())
                time.sleep(0.01)
            process.communicate("\n")

        thread = threading.Thread(target=end)
        thread.start()
        with hold(output, wait=True) as locked:
            assert locked
        thread.join()
    (note,) = notes + capsys.readouterr().err.splitlines()
    assert note.startswith(f"{output}: another process is writing there; waiting")


def test_the_check_comes_before_anything_is_made_and_again_under_the_lock(tmp_path: Path) -> None:
    output = tmp_path / "new" / "out"
    found: list[bool] = []

    def check() -> None:
        found.append(output.parent.exists())
        if len(found) == number:
            raise KeyError("refused")

    for number in (1, 2):
        found.clear()
        with pytest.raises(KeyError):
            hold(output, allowed=check).__enter__()
        assert found == [False, True][:number]
        assert list(tmp_path.iterdir()) == []
    number = 3
    found.clear()
    with hold(output, allowed=check):
        assert found == [False, True]


def test_sweeping_leaves_what_another_process_holds(tmp_path: Path) -> None:
    names = [f"{TEMPORARY}m.xml-0123abcd", f"{PREVIOUS}m.xml", "m.xml"]
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / f"{TEMPORARY}other-0123abcd").mkdir()
    with another(tmp_path / "m.xml", False) as process:
        sweep(tmp_path)
        found = {path.name for path in tmp_path.iterdir()}
        assert found == {*names, BESIDE.format("m.xml")}
        process.communicate("\n")
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["m.xml"]
