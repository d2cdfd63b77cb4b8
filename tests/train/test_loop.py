"""What the loop decides by: the best epoch, and signals.

``test_torch_killed`` and ``test_run_editions`` run the whole loop.
"""

import signal

import pytest

from mobilenetv2.train import loop


def test_the_best_epoch_is_by_accuracy_then_by_loss() -> None:
    figures = [(0.5, 1.0), (0.9, 0.8), (0.9, 0.7), (0.9, 0.7), (0.8, 0.1)]
    rows = [
        {"epoch": epoch, "selection_top1": top1, "selection_loss": loss}
        for epoch, (top1, loss) in enumerate(figures, 1)
    ]
    assert loop.best_epoch(rows) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), loop.stop_on_interrupt() as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop()
        signal.raise_signal(number)
    assert signal.getsignal(number) is before
