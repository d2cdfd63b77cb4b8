"""The training loop in PyTorch, to be read from top to bottom."""

import io
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mobilenetv2.data.augment import augment, generator
from mobilenetv2.data.batches import batches, epoch_order
from mobilenetv2.data.dataset import Split
from mobilenetv2.editions.torch import weights as edition_weights
from mobilenetv2.editions.torch.inference import normalise, predictor
from mobilenetv2.editions.torch.network import MobileNetV2
from mobilenetv2.errors import RunError
from mobilenetv2.evaluate.accuracy import run as run_predictor
from mobilenetv2.evaluate.metrics import measure
from mobilenetv2.files import write_atomically
from mobilenetv2.progress import say, track
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train.batchnorm import set_policy
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.record import RunFolder
from mobilenetv2.train.schedule import cosine
from mobilenetv2.weights import store


class Stopped(Exception):
    """A person asked for the end (Ctrl-C); everything is saved."""


def fit(
    network: MobileNetV2,
    train: Split,
    selection: Split,
    recipe: Recipe,
    run: RunFolder,
    device: str,
    resume: bool,
) -> list[dict[str, float]]:
    """Train the whole network; ``run.best`` and ``run.last`` hold the result.

    Args:
        network: with the weights to start from; its config goes into the model folders.
        resume: go on from ``run.checkpoint`` where there is one.

    Returns:
        The rows of ``metrics.csv``.

    Raises:
        Stopped: Ctrl-C; the checkpoint holds the position within the epoch.
        RunError: the loss is not a number, or the checkpoint is of another run.
    """  # fmt: skip
    where = torch.device(device)
    height, width = (max(32, round(side * recipe.train_scale)) for side in network.spec.size)
    record = network.config.preprocessing
    precision = choose_precision(recipe.precision, device)
    network.place(where)
    network.dropout.p = network.spec.dropout if recipe.dropout is None else recipe.dropout
    optimizer = make_optimizer(network, recipe)
    averaged = make_average(network, recipe)
    judged = cast(MobileNetV2, averaged.module) if averaged else network
    batch_size = min(recipe.batch_size, len(train))
    steps = len(train) // batch_size
    warmup = min(round(recipe.warmup_epochs * steps), recipe.epochs * steps)
    torch.manual_seed(recipe.seed)

    rows: list[dict[str, float]] = []
    epoch, step, sums = 0, 0, Sums()
    if resume and run.checkpoint.is_file():
        saved = load_checkpoint(run, network, averaged, optimizer, recipe)
        rows, epoch, step, sums = saved["rows"], saved["epoch"], saved["step"], Sums(*saved["sums"])

    def view(index: int) -> NDArray:
        random = generator(recipe.seed, epoch, index)
        photo = train.photos[index]
        image, name = train.image(photo), train.full_name(photo)
        return augment(image, recipe.augmentation, record, (height, width), random, name)

    def rate(step: int) -> float:
        return cosine(step, recipe.epochs * steps, warmup, recipe.learning_rate)

    labels = torch.tensor([photo.label for photo in train.photos], device=where)
    with stop_on_interrupt() as stop:
        while epoch < recipe.epochs and not out_of_patience(rows, recipe):
            started, done_before = time.monotonic(), step
            set_policy(network, recipe.batch_norm)
            order = epoch_order(len(train), recipe.seed, epoch)
            todo = batches(view, order, batch_size, start=step, drop_last=True)
            label = f"epoch {epoch + 1}/{recipe.epochs}"
            for pictures, indices in track(todo, label, (steps - step) * batch_size, batch_size):
                for group in optimizer.param_groups:
                    group["lr"] = rate(epoch * steps + step)
                x, target = normalise(pictures, record, where), labels[torch.from_numpy(indices)]
                with torch.autocast(where.type, precision, enabled=precision != torch.float32):
                    logits = network(x)
                logits = logits.float()
                loss = functional.cross_entropy(
                    logits, target, label_smoothing=recipe.label_smoothing
                )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                if averaged:
                    averaged.update_parameters(network)
                sums.add(loss.item(), int((logits.argmax(1) == target).sum()), len(target))
                step += 1
                if not np.isfinite(sums.loss):
                    raise RunError(
                        f"the loss is not a number in epoch {epoch + 1}; lower learning_rate "
                        f"(now {recipe.learning_rate:g}); the last good state is in {run.path}"
                    )
                if stop():
                    save_checkpoint(
                        run, network, averaged, optimizer, recipe, rows, epoch, step, sums
                    )
                    raise Stopped
            seconds = time.monotonic() - started
            logits_, truth = run_predictor(
                predictor(judged, device), selection, record, "selection"
            )
            measured = measure(logits_, truth, selection.classes)
            rows.append(
                {
                    "epoch": epoch + 1, "learning_rate": rate((epoch + 1) * steps - 1),
                    "train_loss": sums.loss / sums.count, "train_top1": sums.right / sums.count,
                    "selection_loss": measured.loss, "selection_top1": measured.top1,
                    "seconds": seconds,
                    "images_per_second": (steps - done_before) * batch_size / seconds,
                }
            )  # fmt: skip
            say(describe(rows[-1], recipe.epochs))
            epoch, step, sums = epoch + 1, 0, Sums()
            if best_epoch(rows) == epoch:
                store.save(run.best, network.config, edition_weights.dump(judged))
            store.save(run.last, network.config, edition_weights.dump(judged))
            run.write_metrics(rows)
            save_checkpoint(run, network, averaged, optimizer, recipe, rows, epoch, step, sums)
            if stop():
                raise Stopped
    if epoch < recipe.epochs:
        say(f"no better epoch for {recipe.patience}: stopped early")
    return rows


class Sums:
    """Loss and right answers of an epoch so far."""

    def __init__(self, loss: float = 0.0, right: int = 0, count: int = 0) -> None:
        self.loss, self.right, self.count = loss, right, count

    def add(self, loss: float, right: int, count: int) -> None:
        """One batch: mean loss, right answers, pictures."""
        self.loss += loss * count
        self.right += right
        self.count += count


def describe(row: dict[str, float], epochs: int) -> str:
    """One line for one epoch."""
    return (
        f"epoch {row['epoch']:.0f}/{epochs}: train loss {row['train_loss']:.3f} "
        f"top-1 {row['train_top1']:.1%} | selection loss {row['selection_loss']:.3f} "
        f"top-1 {row['selection_top1']:.1%} | {row['seconds']:.0f} s, "
        f"{row['images_per_second']:.0f} photos/s"
    )


def best_epoch(rows: list[dict[str, float]]) -> int:
    """The epoch (from 1) with the best selection top-1, the lower loss deciding ties."""
    best = max(rows, key=lambda row: (row["selection_top1"], -row["selection_loss"]))
    return int(best["epoch"])


def out_of_patience(rows: list[dict[str, float]], recipe: Recipe) -> bool:
    """Whether the last ``patience`` epochs brought nothing better."""
    return bool(rows and recipe.patience and len(rows) - best_epoch(rows) >= recipe.patience)


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or AdamW; matrices and kernels decay, BatchNorm and biases do not."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate)
    return torch.optim.SGD(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0
    )


def make_average(network: MobileNetV2, recipe: Recipe) -> AveragedModel | None:
    """The running average of the weights and BatchNorm statistics, or None where none is kept."""
    if not recipe.ema_decay:
        return None
    most = recipe.ema_decay

    def average(averaged: Any, current: Any, count: Any) -> None:
        # TensorFlow's rule: a short run's average must not be mostly what it began with.
        decay = min(most, (1 + int(count)) / (10 + int(count)))
        get_ema_multi_avg_fn(decay)(averaged, current, count)

    return AveragedModel(network, multi_avg_fn=average, use_buffers=True)


def choose_precision(wish: str, device: str) -> torch.dtype:
    """bfloat16 only where the hardware computes in it: emulated, it is slower than float32."""
    if wish != "auto":
        return torch.bfloat16 if wish == "bfloat16" else torch.float32
    if device.startswith("cuda"):
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device == "cpu":
        capabilities = torch.cpu.get_capabilities()
        able = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    else:
        able = False
    return torch.bfloat16 if able else torch.float32


# ---------------------------------------------------------------- interruption and resuming


@contextmanager
def stop_on_interrupt() -> Iterator[Any]:
    """Yield a function that says whether Ctrl-C (or a polite kill) came; a second one is brutal."""
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        say("stopping after this step; everything will be saved")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def save_checkpoint(
    run: RunFolder, network: MobileNetV2, averaged: AveragedModel | None,
    optimizer: torch.optim.Optimizer, recipe: Recipe,
    rows: list[dict[str, float]], epoch: int, step: int, sums: Sums,
) -> None:  # fmt: skip
    """Everything that the rest of the run depends on."""
    buffer = io.BytesIO()
    torch.save(
        {
            "network": network.state_dict(), "optimizer": optimizer.state_dict(),
            "averaged": averaged.state_dict() if averaged else {},
            "random": torch.get_rng_state(), "rows": rows, "epoch": epoch, "step": step,
            "sums": [sums.loss, sums.right, sums.count], "recipe": recipe.to_toml(),
            "config": network.config.to_json(),
        },
        buffer,
    )  # fmt: skip
    write_atomically(run.checkpoint, buffer.getvalue())


def load_checkpoint(
    run: RunFolder, network: nn.Module, averaged: AveragedModel | None,
    optimizer: torch.optim.Optimizer, recipe: Recipe,
) -> dict[str, Any]:  # fmt: skip
    """Put everything back as :func:`save_checkpoint` found it; the loop's own values are returned.

    Raises:
        RunError: damaged, or of another recipe.
    """
    saved = read_checkpoint(run)
    if saved["recipe"] != recipe.to_toml():
        raise RunError(f"{run.checkpoint}: belongs to another recipe than {run.recipe}")
    network.load_state_dict(saved["network"])
    if averaged:
        averaged.load_state_dict(saved["averaged"])
    optimizer.load_state_dict(saved["optimizer"])
    torch.set_rng_state(saved["random"])
    return saved


def read_checkpoint(run: RunFolder) -> dict[str, Any]:
    """A checkpoint's contents, read as data.

    Raises:
        RunError: damaged.
    """
    try:
        saved: dict[str, Any] = torch.load(run.checkpoint, map_location="cpu", weights_only=True)
        config = ModelConfig.from_mapping(json.loads(saved["config"]), str(run.checkpoint))
    except Exception as error:  # zip, pickle, key and value errors of a damaged file
        raise RunError(f"{run.checkpoint}: cannot be resumed from ({error})") from None
    return {**saved, "config": config}
