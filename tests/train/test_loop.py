"""What the loop decides by: the best epoch, and signals.

``test_torch_killed`` and ``test_run_editions`` run the whole loop.
"""

import signal
import subprocess
import sys

import pytest

from mobilenetv2.train import loop


def test_the_best_epoch_is_by_accuracy_then_by_loss() -> None:
    figures = [(0.5, 1.0), (0.9, 0.8), (0.9, 0.7), (0.9, 0.7), (0.8, 0.1)]
    rows = [
        {"epoch": epoch, "selection_top1": top1, "selection_loss": loss}
        for epoch, (top1, loss) in enumerate(figures, 1)
    ]
    assert loop.best_epoch(rows) == 3


SIGNALLED = """
import signal
from mobilenetv2.train import loop

number = signal.Signals({number})
before = signal.getsignal(number)
try:
    with loop.stop_on_interrupt() as stop:
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
