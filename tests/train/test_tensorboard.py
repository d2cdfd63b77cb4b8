"""What TensorBoard's own reader finds in the logs."""

from pathlib import Path

import pytest

from mobilenetv2.train.folder import Row, log

pytest.importorskip("tensorboard", reason="tensorboard is not installed (extra: tensorboard)")


def row(epoch: float, loss: float) -> Row:
    return {"epoch": epoch, "learning_rate": 0.5, "train_loss": loss, "selection_loss": loss + 1}


@pytest.mark.slow
def test_its_reader_finds_every_epoch_and_what_was_done_again_once(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for epoch, loss in ((1, 4.0), (2, 3.0), (2, 2.5), (3, 2.0)):  # the second was done again
        log(row(epoch, loss), tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    assert sorted(found.Tags()["scalars"]) == ["loss/selection", "loss/train", "run/learning_rate"]
    shown = [(event.step, event.value) for event in found.Scalars("loss/train")]
    assert shown == [(1, 4.0), (2, 2.5), (3, 2.0)]
    assert [event.value for event in found.Scalars("loss/selection")] == [5.0, 3.5, 3.0]
