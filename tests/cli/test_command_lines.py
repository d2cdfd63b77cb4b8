"""Random command lines: no traceback, no hang, a documented status; also at Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fuzz_commands.py"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="command lines run in forks")
def test_random_command_lines_end_with_a_documented_status() -> None:
    for package in ("torch", "sklearn", "matplotlib"):
        pytest.importorskip(package, reason=f"{package} is not installed (extra: torch)")
    words = ["--count", "100", "--seed", "24", "--seconds", "30"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "| status 0 |" in done.stdout and "| status 2 |" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_ctrl_c_at_any_moment_is_no_traceback(model: Path, photos: Path) -> None:
    """Also before the first line of the command: Python itself needs a moment to start."""
    command = [sys.executable, "-m", "mobilenetv2", "evaluate", str(photos), "--model", str(model)]

    def listen() -> None:  # tests that run in parallel do not, nor do the processes they start
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    begun = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    whole = time.monotonic() - begun
    statuses = []
    for share in (0.2, 0.3, 0.45, 0.6, 0.75):
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=listen
        ) as process:
            time.sleep(whole * share)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate()
        statuses.append(process.returncode)
        assert b"Traceback" not in err and b"Exception ignored" not in err, err
    assert {*statuses} <= {0, 130, -signal.SIGINT} and any(statuses)


@pytest.mark.parametrize("again", [True, False])
def test_ctrl_c_in_a_callback_of_python_ends_the_command(again: bool) -> None:
    """Weak references call back from places that cannot pass on an error."""
    program = f"""
import sys, time, weakref
from mobilenetv2.__main__ import raise_again
class Some: pass
def callback(reference):
    raise {"KeyboardInterrupt" if again else "ValueError('seen')"}
sys.unraisablehook = raise_again
some = Some()
reference = weakref.ref(some, callback)
del some
try:
    time.sleep({60 if again else 0.2})
except KeyboardInterrupt:
    sys.exit(130)
"""
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    if again:
        assert time.monotonic() - begun < 50, "the call that waits was not interrupted"
        assert (done.returncode, done.stderr) == (130, b"")
    else:  # other errors are reported as ever
        assert done.returncode == 0 and b"ValueError: seen" in done.stderr
