"""Ctrl-C: the first signal asks, the second ends."""

import signal
import subprocess
import sys

import pytest

SIGNALLED = """
import signal
from mobilenetv2.train.loop import stop_on_interrupt

number = signal.Signals({number})
before = signal.getsignal(number)
try:
    with stop_on_interrupt() as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop()
        signal.raise_signal(number)
except KeyboardInterrupt:
    assert signal.getsignal(number) is before
    print("ended")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(number: signal.Signals) -> None:
    # In a process of its own: after other tests' OpenVINO a second SIGINT ended the whole process.
    code = SIGNALLED.format(number=int(number))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "ended", run.stderr
    assert "stopping after this step" in run.stderr
