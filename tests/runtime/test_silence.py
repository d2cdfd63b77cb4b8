"""Native output that is dropped, and output that is not."""

import ctypes
import os
import subprocess
import sys
import threading

import pytest

from mobilenetv2.runtime.silence import silence


def test_only_what_is_written_inside_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(1, b"before\n")
    with silence():
        os.write(1, b"inside\n")
        os.write(2, b"inside\n")
        with silence():
            os.write(1, b"deeper\n")
        os.write(2, b"inside\n")
    os.write(1, b"after\n")
    os.write(2, b"after\n")
    assert capfd.readouterr() == ("before\nafter\n", "after\n")


def test_an_error_passes_and_the_streams_come_back(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="as it was"), silence():
        raise ValueError("as it was")
    os.write(1, b"after\n")
    assert capfd.readouterr().out == "after\n"


def test_threads_do_not_keep_each_other_silent(capfd: pytest.CaptureFixture[str]) -> None:
    def often() -> None:
        for _ in range(50):
            with silence():
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
        "from mobilenetv2.runtime.silence import silence\n"
        "c = ctypes.CDLL(None)\n"
        "print('python', end=' '); c.printf(b'c ')\n"
        "with silence():\n"
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
        "from mobilenetv2.runtime.silence import silence\n"
        "os.close(1); sys.stdout = None\n"
        "with silence():\n"
        "    pass\n"
        "sys.stderr.write('alive')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == "alive"
