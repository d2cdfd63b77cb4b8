"""The figures of a run's epochs: what they were, whether to go on."""

from collections.abc import Sequence

from mobilenetv2.evaluate.metrics import Metrics
from mobilenetv2.evaluate.run_record import best_epoch
from mobilenetv2.train.recipe import Recipe

Row = dict[str, float]
"""Of ``metrics.csv``; its columns stand in :mod:`mobilenetv2.train.record`."""


class Sums:
    """Loss and right answers of an epoch so far."""

    def __init__(self, loss: float = 0.0, right: float = 0, count: float = 0) -> None:
        self.loss, self.right, self.count = loss, right, count

    def add(self, loss: float, right: int, count: int) -> None:
        """One batch: mean loss, right answers, pictures."""
        self.loss += loss * count
        self.right += right
        self.count += count

    @property
    def values(self) -> list[float]:
        """What the constructor takes."""
        return [self.loss, self.right, self.count]


def fitted_row(train: Metrics, selection: Metrics) -> Row:
    """Epoch 0: a classifier that was fitted before the network moves. It may stay the best.

    Args:
        train: of the photos as they are; those of later epochs are of augmented ones.
        selection: the same, tempered.
    """
    return {
        "epoch": 0, "learning_rate": 0.0, "train_loss": train.loss, "train_top1": train.top1,
        "selection_loss": selection.loss, "selection_top1": selection.top1, "seconds": 0.0,
        "images_per_second": 0.0,
    }  # fmt: skip


def describe(row: Row, epochs: int) -> str:
    """One line for one epoch."""
    return (
        f"epoch {row['epoch']:.0f}/{epochs}: train loss {row['train_loss']:.3f} "
        f"top-1 {row['train_top1']:.1%} | selection loss {row['selection_loss']:.3f} "
        f"top-1 {row['selection_top1']:.1%} | {row['seconds']:.0f} s, "
        f"{row['images_per_second']:.0f} photos/s"
    )


def out_of_patience(rows: Sequence[Row], recipe: Recipe) -> bool:
    """Whether the last ``patience`` epochs brought nothing better."""
    if not (rows and recipe.patience):
        return False
    return rows[-1]["epoch"] - max(1, best_epoch(rows)) >= recipe.patience
