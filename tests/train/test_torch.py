"""The loop: it learns, it stops when told, and it goes on as if it had never been stopped."""

import errno
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from mobilenetv2.data.augment import Augmentation
from mobilenetv2.data.dataset import Split, open_dataset
from mobilenetv2.data.mixing import Mixing, targets
from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.errors import ImageError, RunError
from mobilenetv2.model import store
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.train import folder, loop
from mobilenetv2.train.folder import Checkpoint, RunFolder
from mobilenetv2.train.inputs import PhotoViews
from mobilenetv2.train.loop import Stopped
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.steps.torch import TorchTrainer

RECIPE = Recipe().changed(
    epochs=2, batch_size=4, learning_rate=0.02, selection=0.3, ema_decay=0.8, precision="float32"
)
SPEC = published("small", width=0.1, classes=3, dropout=0.3)
EVERYTHING = Recipe().changed(
    epochs=2, batch_size=4, learning_rate=0.02, selection=0.3, ema_decay=0.8, precision="float32",
    optimizer="adamw", layer_decay=0.8, unfreeze_epochs=1.0, gradient_clip=1.0, accumulate=2,
    phases=(0.5, 1.0), balance=0.5, reestimate=5,
    augmentation=Augmentation(jitter=0.3), mixing=Mixing(mixup=0.4, cutmix=1.0, share=0.8),
)  # fmt: skip
HELD = RECIPE.changed(phases=(0.5, 1.0), frozen_blocks=2, replicas=2,
    augmentation=Augmentation("shifted", policy="trivialaugment", erasing=0.5, border="reflection"),
)  # fmt: skip
TIMES = ("seconds", "images_per_second")


@pytest.fixture(scope="module")
def split(photos: Path) -> Split:
    """Twelve photos, four of each class."""
    whole = open_dataset(photos).splits["all"]
    return whole.with_photos(whole.photos[::3])


def fit(
    split: Split, folder: Path, recipe: Recipe = RECIPE, resume: bool = False
) -> list[dict[str, float]]:
    folder.mkdir(exist_ok=True)
    trainer = TorchTrainer(MobileNetV2(SPEC, seed=0), recipe)
    config = trainer.network.config
    views = PhotoViews(split, config.preprocessing, recipe)
    run = RunFolder(folder)
    saved = Checkpoint.of_run(run, recipe) if resume else None
    return loop.fit(trainer, config, split, split, views, recipe, run, saved)


def outcome(folder: Path, rows: list[dict[str, float]]) -> list[object]:
    """Both models byte for byte, and the figures of every epoch but its times."""
    models = [(folder / name / "model.safetensors").read_bytes() for name in ("best", "last")]
    return [*models, [{k: v for k, v in row.items() if k not in TIMES} for row in rows]]


def test_it_overfits_a_tiny_set(split: Split, tmp_path: Path) -> None:
    still = Augmentation(crop="none", flip=False, jitter=0.0)
    recipe = Recipe().changed(
        epochs=6, batch_size=12, learning_rate=0.02, dropout=0.0, label_smoothing=0.0,
        augmentation=still, precision="float32",
    )  # fmt: skip
    rows = fit(split.with_photos(split.photos * 20), tmp_path, recipe)
    assert rows[-1]["train_top1"] > 0.95 > rows[0]["train_top1"]
    assert rows[-1]["selection_top1"] == 1  # the same photos, in evaluation mode
    assert rows[-1]["selection_loss"] < 0.2


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE, EVERYTHING, HELD, RECIPE.changed(optimizer="rmsprop", schedule="exponential"),
        HELD.changed(optimizer="muon"),
    ],
    ids=["average", "everything", "held in memory", "rmsprop", "muon"],
)  # fmt: skip
def test_stopped_after_any_step_and_resumed_it_ends_bit_for_bit_the_same(
    recipe: Recipe, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = outcome(tmp_path / "whole", fit(split, tmp_path / "whole", recipe))

    @contextmanager
    def at_once() -> Iterator[Callable[[], bool]]:
        yield lambda: True

    monkeypatch.setattr(loop, "stop_on_interrupt", at_once)
    rows, stops = None, []
    while rows is None:
        try:
            rows = fit(split, tmp_path / "stopped", recipe, resume=True)
        except Stopped:
            saved = Checkpoint.read(RunFolder(tmp_path / "stopped").checkpoint)
            stops.append((saved.epoch, saved.step))
    assert stops == [(0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0)]
    assert outcome(tmp_path / "stopped", rows) == expected


class Power(Exception):
    """Off."""


def test_what_is_saved_within_an_epoch_is_gone_on_from_after_a_kill(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but what was written in time is left; the epoch's time counts from its beginning."""
    expected = outcome(tmp_path / "whole", fit(split, tmp_path / "whole"))
    monkeypatch.setattr(loop, "SAVED_EVERY", 0.0)
    real, calls = TorchTrainer.step, count()

    def killed(self: TorchTrainer, *arguments: Any) -> tuple[float, int]:
        if next(calls) == 5:
            raise Power
        return real(self, *arguments)

    monkeypatch.setattr(TorchTrainer, "step", killed)
    with pytest.raises(Power):
        fit(split, tmp_path / "killed")
    saved = Checkpoint.read(tmp_path / "killed" / "checkpoint.safetensors")
    assert (saved.epoch, saved.step) == (1, 2) and saved.seconds > 0
    rows = fit(split, tmp_path / "killed", resume=True)
    assert outcome(tmp_path / "killed", rows) == expected
    assert rows[1]["seconds"] > saved.seconds


@pytest.mark.parametrize(
    ("where", "error", "told"),
    [
        ("step", MemoryError(), RunError),
        ("views", ImageError("ball/00.png: it is not there any more"), ImageError),
        ("disk", OSError(errno.ENOSPC, "No space left on device"), OSError),
    ],
)
def test_a_fault_in_the_second_epoch_leaves_the_first_ones_checkpoint_to_go_on_from(
    where: str, error: Exception, told: type[Exception], split: Split, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    expected = outcome(tmp_path / "whole", fit(split, tmp_path / "whole"))
    calls = count()
    room, name, last = {
        "step": (TorchTrainer, "step", 4), "views": (PhotoViews, "view", 14),
        "disk": (folder, "write_atomically", 1),
    }[where]  # fmt: skip
    real = getattr(room, name)

    def failing(*arguments: Any) -> Any:
        if next(calls) == last:
            raise error
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(room, name, failing)
        with pytest.raises(told):
            fit(split, tmp_path / "failed")
    assert Checkpoint.read(tmp_path / "failed" / "checkpoint.safetensors").epoch == 1
    rows = fit(split, tmp_path / "failed", resume=True)
    assert outcome(tmp_path / "failed", rows) == expected


def test_a_run_that_was_begun_on_the_cpu_goes_on_on_a_gpu() -> None:
    """Its generator has no state yet; there is no GPU here, and none is touched."""
    trainer = TorchTrainer(MobileNetV2(SPEC, seed=0), RECIPE)
    state = trainer.state()
    trainer.device = torch.device("cuda")
    trainer.restore(state)
    assert "random/cuda" not in state


def test_a_checkpoint_of_another_recipe_or_a_damaged_one_is_an_error(
    split: Split, tmp_path: Path
) -> None:
    fit(split, tmp_path, RECIPE)
    with pytest.raises(RunError, match=r"checkpoint.safetensors: belongs to another recipe than"):
        fit(split, tmp_path, Recipe().changed(epochs=3), resume=True)
    folder = tmp_path / "checkpoint.safetensors"
    folder.write_bytes(folder.read_bytes()[:-1000])
    with pytest.raises(RunError, match=r"checkpoint.safetensors: cannot be resumed from"):
        fit(split, tmp_path, RECIPE, resume=True)


def test_a_loss_that_is_not_a_number_keeps_the_last_good_state(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, real = count(), functional.cross_entropy

    def spoiled(*arguments: Any, **options: Any) -> torch.Tensor:
        factor = float("nan") if next(calls) == 4 else 1.0
        loss: torch.Tensor = real(*arguments, **options) * factor
        return loss

    monkeypatch.setattr(functional, "cross_entropy", spoiled)
    with pytest.raises(
        RunError, match=r"not a number in epoch 2; begin again with a lower learning_rate than 0.02"
    ):
        fit(split, tmp_path)
    _, arrays = store.load(tmp_path / "last")
    assert all(np.isfinite(array).all() for array in arrays.values())
    rows = fit(split, tmp_path, resume=True)  # the loss is sound again
    assert outcome(tmp_path, rows) == outcome(tmp_path / "w", fit(split, tmp_path / "w"))


def test_weights_that_are_ruined_by_an_epochs_last_step_are_not_saved(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TorchTrainer.step
    calls = count()

    def ruining(self: TorchTrainer, *arguments: Any) -> tuple[float, int]:
        found = real(self, *arguments)
        if next(calls) == 5:  # the last of the second epoch; its loss is sound
            self.network.classifier.bias.data.fill_(float("inf"))
        return found

    monkeypatch.setattr(TorchTrainer, "step", ruining)
    with pytest.raises(RunError, match=r"not a number in epoch 2.*last is as the epoch before"):
        fit(split, tmp_path, RECIPE.changed(ema_decay=0.0))
    assert Checkpoint.read(tmp_path / "checkpoint.safetensors").epoch == 1


def plain(**changes: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Weights before and after one step of SGD without momentum, rate 0.1."""
    recipe = Recipe().changed(
        momentum=0.0, weight_decay=0.0, precision="float32", dropout=0.0, batch_norm="frozen",
        **changes,
    )  # fmt: skip
    trainer = TorchTrainer(MobileNetV2(SPEC, seed=0), recipe)
    pictures = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    before = trainer.dump()
    trainer.step(pictures, targets(np.arange(8) % 3, 3), 0.1)
    return before, trainer.dump()


def length(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> float:
    return float(np.sqrt(sum(((after[n] - before[n]).astype(float) ** 2).sum() for n in before)))


def test_a_longer_gradient_is_shortened_to_the_clip_and_a_shorter_one_is_not() -> None:
    whole = length(*plain())
    assert length(*plain(gradient_clip=whole / 0.1 / 4)) == pytest.approx(whole / 4, rel=1e-3)
    assert length(*plain(gradient_clip=whole / 0.1 * 2)) == pytest.approx(whole, rel=1e-4)


def test_a_batch_in_parts_is_the_batch() -> None:
    before, expected = plain()
    for parts in (2, 4, 8):  # 8 of 8 pictures would be single ones, which BatchNorm cannot take
        _, found = plain(accumulate=parts)
        step = max(np.abs(expected[name] - before[name]).max() for name in before)
        gap = max(np.abs(expected[name] - found[name]).max() for name in before)
        assert gap < 1e-4 * step


def test_it_stops_after_patience_epochs_without_a_better_one_also_when_resumed(
    split: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still = Recipe().changed(
        epochs=9, batch_size=4, learning_rate=0.0, batch_norm="frozen", patience=2
    )
    rows = fit(split, tmp_path, still)  # nothing moves, so the first epoch stays the best
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert "no better epoch for 2" in capsys.readouterr().err
    assert fit(split, tmp_path, still, resume=True) == rows


def test_the_model_folders_carry_the_networks_config(split: Split, tmp_path: Path) -> None:
    fit(split, tmp_path, Recipe().changed(epochs=1, batch_size=4, train_scale=1.25))
    config = json.loads((tmp_path / "best" / "config.json").read_text())
    assert NetworkSpec.from_dict(config["spec"], "spec") == SPEC  # train_scale changes nothing
