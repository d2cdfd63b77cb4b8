"""Which epoch of a run is the best, and how many there were."""

import math

from mobilenetv2.evaluate.epochs import Row, best_epoch, epochs_of

FIGURES = [(0.5, 1.0), (0.9, 0.8), (0.9, 0.7), (0.9, 0.7), (1.0, 0.71)]
ROWS: list[Row] = [
    {"epoch": epoch, "selection_top1": top1, "selection_loss": loss}
    for epoch, (top1, loss) in enumerate(FIGURES, 1)
]


def test_the_best_epoch_is_by_loss_then_by_accuracy() -> None:
    assert best_epoch(ROWS) == 3
    assert best_epoch([ROWS[0], {**ROWS[0], "epoch": 9, "selection_top1": 0.6}]) == 9


def test_a_loss_that_is_no_number_is_the_worst() -> None:
    assert best_epoch([{**ROWS[0], "selection_loss": math.nan}, ROWS[1]]) == 2


def test_a_fitted_classifier_is_epoch_0_and_none_that_was_gone_through() -> None:
    rows: list[Row] = [{"epoch": 0, "selection_top1": 1.0, "selection_loss": 0.1}, *ROWS]
    assert best_epoch(rows) == 0
    assert (epochs_of(rows), epochs_of(rows[:1]), epochs_of([])) == (5, 0, 0)
