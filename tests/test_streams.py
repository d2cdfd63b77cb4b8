"""Standard streams: missing ones, encodings, readers that leave, full disks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mobilenetv2.streams import ESCAPE, escape, prepare_streams

BEGIN = "import os, sys\nfrom mobilenetv2.streams import prepare_streams\nprepare_streams()\n"
UNIX = pytest.mark.skipif(os.name == "nt", reason="a shell and /dev/full")


def shell(program: str, redirection: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run a Python program in a shell with a redirection, such as '>&-'."""
    return subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {redirection}', sys.executable, BEGIN + program],
        capture_output=True, env={**os.environ, **variables},
    )  # fmt: skip


@UNIX
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_number_of_a_missing_stream(closed: str, tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    program = (
        f"file = open({str(file)!r}, 'w')\nassert file.fileno() > 2\nfile.write('result')\n"
        "print('printed', flush=True); print('said', file=sys.stderr)\n"
        "os.system('echo of a child; echo of a child >&2')\n"
    )
    done = shell(program, closed)
    assert file.read_text() == "result"
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert (b"printed" in done.stdout) == (">&-" not in closed.split())
    assert (b"said" in done.stderr) == ("2>&-" not in closed)


@UNIX
@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "latin-1", "ascii", "utf-8"])
def test_every_text_is_written_in_every_encoding(encoding: str) -> None:
    text = "caf\u00e9 \u6f22\U0001f600\udce9 end"
    done = shell(
        f"print({text!a})\nprint({text!a}, file=sys.stderr)", "", PYTHONIOENCODING=encoding
    )
    assert done.returncode == 0
    assert done.stdout == done.stderr == f"{text}\n".encode(encoding, ESCAPE)
    assert b"\\xe9 end" in done.stdout and (b"\\u6f22" in done.stdout) == (encoding != "utf-8")


def test_a_byte_and_a_letter_have_different_escapes() -> None:
    assert "\u00e9\udce9\ud800\U0001f600".encode("ascii", ESCAPE) == (
        rb"\u00e9\xe9\ud800\U0001f600"
    )
    with pytest.raises(UnicodeDecodeError):
        escape(UnicodeDecodeError("ascii", b"\xe9", 0, 1, "no letter"))


WORK = """
from mobilenetv2.streams import reader_left
import time
assert not reader_left()
for number in range(40):
    print(number, file=sys.{stream}, flush=True)
    time.sleep(0.005)
open(sys.argv[1], "w").write(f"done {{reader_left()}}")
"""


@UNIX
@pytest.mark.parametrize(("stream", "pipe"), [("stdout", "|"), ("stderr", "2>&1 >/dev/null |")])
def test_work_is_finished_though_its_reader_leaves(stream: str, pipe: str, tmp_path: Path) -> None:
    program = BEGIN + WORK.format(stream=stream)
    line = f'set -o pipefail; "$0" -c "$1" "$2" {pipe} head -1'
    done = subprocess.run(
        ["bash", "-c", line, sys.executable, program, str(tmp_path / "file")], capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"0\n", b"")
    assert (tmp_path / "file").read_text() == f"done {stream == 'stdout'}"


@UNIX
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_results_that_find_no_space_are_an_error_and_messages_are_none() -> None:
    program = (
        "try: print('result', flush=True)\n"
        "except OSError as error: sys.exit(f'error {error.errno}, {error.filename}')\n"
    )
    done = shell(program, ">/dev/full")
    assert (done.returncode, done.stderr) == (1, b"error 28, stdout\n")
    done = shell("print('said', file=sys.stderr); print('result')", "2>/dev/full")
    assert (done.returncode, done.stdout) == (0, b"result\n")


def test_streams_of_a_test_or_a_notebook_stay(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    prepare_streams()
    assert (sys.stdout, sys.stderr) == before
