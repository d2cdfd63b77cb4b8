"""A run's figures for TensorBoard, on request (``tensorboard = true`` in a recipe)."""

from pathlib import Path

from mobilenetv2.errors import require
from mobilenetv2.train.epochs import Row


def log(row: Row, folder: Path) -> None:
    """One epoch's row of ``metrics.csv`` as scalars.

    Each epoch is a file of its own: whole or not there, and a resumed run just goes on.

    Raises:
        MissingExtra: TensorBoard is not installed.
    """
    require("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    step = int(row["epoch"])
    # Epochs of a run that was resumed earlier are replaced by those that come now.
    with SummaryWriter(str(folder), purge_step=step, filename_suffix=f".epoch{step}") as writer:
        for name, value in row.items():
            if name != "epoch":
                part, _, figure = name.partition("_")
                known = part in ("train", "selection")
                writer.add_scalar(f"{figure}/{part}" if known else f"run/{name}", value, step)
