"""A run's figures for TensorBoard, on request (``tensorboard = true`` in a recipe)."""

from pathlib import Path

from mobilenetv2.errors import require
from mobilenetv2.train.epochs import Row


def check() -> None:
    """Raise where there is nothing to log with.

    Raises:
        MissingExtra: TensorBoard, or PyTorch, which has its writer, is not installed.
    """
    require("tensorboard")
    require("torch")


def log(row: Row, folder: Path) -> None:
    """One epoch's row of ``metrics.csv`` as scalars.

    Each epoch has a file of its own, so that a resumed run just goes on.

    Raises:
        MissingExtra: TensorBoard, or PyTorch, which has its writer, is not installed.
    """
    check()
    from torch.utils.tensorboard import SummaryWriter

    step = int(row["epoch"])
    # Epochs of a run that was resumed earlier are replaced by those that come now.
    with SummaryWriter(str(folder), purge_step=step, filename_suffix=f".epoch{step}") as writer:
        for name, value in row.items():
            if name != "epoch":
                part, _, figure = name.partition("_")
                known = part in ("train", "selection")
                writer.add_scalar(f"{figure}/{part}" if known else f"run/{name}", value, step)
