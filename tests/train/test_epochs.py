"""The figures of epochs, and when to stop."""

from mobilenetv2.train.epochs import Sums, out_of_patience

from mobilenetv2.train.folder import Row
from mobilenetv2.train.loop import describe_epoch
from mobilenetv2.train.recipe import Recipe

FIGURES = [(0.5, 1.0), (0.9, 0.8), (0.9, 0.7), (0.9, 0.7), (1.0, 0.71)]
ROWS: list[Row] = [
    {"epoch": epoch, "selection_top1": top1, "selection_loss": loss}
    for epoch, (top1, loss) in enumerate(FIGURES, 1)
]


def test_patience_counts_the_epochs_since_the_best() -> None:
    assert not out_of_patience(ROWS, Recipe().changed(patience=3))
    assert out_of_patience(ROWS, Recipe().changed(patience=2))
    assert not out_of_patience(ROWS, Recipe().changed(patience=0))
    assert not out_of_patience([], Recipe().changed(patience=1))


def test_patience_is_for_epochs_not_for_the_classifier_before_them() -> None:
    rows: list[Row] = [{"epoch": 0, "selection_top1": 1.0, "selection_loss": 0.1}, *ROWS]
    assert out_of_patience(rows, Recipe().changed(patience=4))
    assert not out_of_patience(rows, Recipe().changed(patience=5))
    assert not out_of_patience(rows[:2], Recipe().changed(patience=1))


def test_sums_are_of_pictures_not_of_batches() -> None:
    sums = Sums()
    sums.add(2.0, 1, 4)
    sums.add(0.5, 7, 8)
    assert sums.values == [12.0, 8, 12]
    again = Sums(*sums.values)
    again.add(0.0, 0, 8)
    assert again.loss / again.count == 0.6


def test_an_epoch_is_one_line() -> None:
    row = {
        "epoch": 2.0, "train_loss": 1.5, "train_top1": 0.625, "selection_loss": 0.75,
        "selection_top1": 0.9, "seconds": 61.4, "images_per_second": 50.2,
    }  # fmt: skip
    assert describe_epoch(row, 8) == (
        "epoch 2/8: train loss 1.500 top-1 62.5% | selection loss 0.750 top-1 90.0% | 61 s, "
        "50 photos/s"
    )
