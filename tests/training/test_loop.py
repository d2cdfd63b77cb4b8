"""The loop: it learns, it stops when told, and it goes on as if it had never been stopped."""

import errno
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from mobilenetv2.data.augment import Augmentation, Mixing
from mobilenetv2.data.batches import epoch_order
from mobilenetv2.data.dataset import Split, open_dataset
from mobilenetv2.errors import ImageError, RunError, Stopped
from mobilenetv2.evaluation.metrics import measure
from mobilenetv2.model import store
from mobilenetv2.spec.names import is_statistic
from mobilenetv2.spec.network import PAPER_STAGES, ClassifierSpec, NetworkSpec, Outputs
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.training import checkpoint, loop
from mobilenetv2.training.checkpoint import Checkpoint, Row
from mobilenetv2.training.folder import RunFolder
from mobilenetv2.training.inputs import PhotoViews
from mobilenetv2.training.job import Run
from mobilenetv2.training.loop import (
    Average,
    describe_epoch,
    out_of_memory_guard,
)
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.steps.torch import TorchTrainer

Begun = Callable[..., Run]
Fit = Callable[..., list[Row]]


def test_judging_with_measured_statistics_gives_the_mean_over_batches_and_moves_nothing(
    photos: Path, begun: Begun, tmp_path: Path
) -> None:
    split = open_dataset(photos).splits["all"]
    recipe = Recipe().changed(reestimate=12, batch_size=6, precision="float32")
    run = begun(tmp_path, split, recipe, SPEC.replace(dropout=0.0))
    before, at = run.trainer.dump(), loop.Loop(run)
    judged, metrics = at.judge(before)
    assert metrics.images == len(split)
    after = run.trainer.dump()
    assert all(np.array_equal(after[name], before[name]) for name in before)
    moved = {name for name in judged if not np.array_equal(judged[name], before[name])}
    assert moved == {name for name in before if is_statistic(name)}
    run.recipe = recipe.changed(batch_norm="frozen")
    same, _ = at.judge(before)
    assert all(np.array_equal(same[name], before[name]) for name in before)
    # The stem's mean is that of its convolution's outputs over both batches.
    order = epoch_order(at.targets.labels, recipe.seed, 0)[:12]
    assert set(at.targets.labels[order]) == {0, 1, 2}  # and not the first class alone
    trainer: Any = run.trainer
    ((pictures, _),) = at.views.batches([order], 0)
    x = trainer._inputs(pictures)
    outputs = trainer.network.stem.conv(x).mean((0, 2, 3)).detach().numpy()
    assert judged["stem.bn.mean"] == pytest.approx(outputs, abs=1e-5)


FIGURES = [(0.5, 1.0), (0.9, 0.8), (0.9, 0.7), (0.9, 0.7), (1.0, 0.71)]
ROWS: list[Row] = [
    {"epoch": epoch, "selection_top1": top1, "selection_loss": loss}
    for epoch, (top1, loss) in enumerate(FIGURES, 1)
]


def out_of_patience(rows: list[Row], patience: int) -> bool:
    nothing: Any = None
    recipe = Recipe().changed(patience=patience)
    return Run(nothing, nothing, recipe, nothing, nothing, nothing, rows=rows).out_of_patience


def test_patience_counts_the_epochs_since_the_best() -> None:
    assert not out_of_patience(ROWS, 3)
    assert out_of_patience(ROWS, 2)
    assert not out_of_patience(ROWS, 0)
    assert not out_of_patience([], 1)


def test_patience_is_for_epochs_not_for_the_classifier_before_them() -> None:
    rows: list[Row] = [{"epoch": 0, "selection_top1": 1.0, "selection_loss": 0.1}, *ROWS]
    assert out_of_patience(rows, 4)
    assert not out_of_patience(rows, 5)
    assert not out_of_patience(rows[:2], 1)


def test_an_epoch_is_one_line() -> None:
    row = {
        "epoch": 2.0, "train_loss": 1.5, "train_top1": 0.625, "selection_loss": 0.75,
        "selection_top1": 0.9, "seconds": 61.4, "images_per_second": 50.2,
    }  # fmt: skip
    assert describe_epoch(row, 8) == (
        "epoch 2/8: train loss 1.500 top-1 62.5% | validation loss 0.750 top-1 90.0% | 61 s, "
        "50 photos/s"
    )


@pytest.mark.parametrize(("breadth", "least"), [(0.1, 10), (0.25, 4), (0.5, 2)])
def test_it_follows_its_definition(breadth: float, least: int) -> None:
    average, expected = Average(0.7, breadth), 0.0
    for step in range(9):
        arrays = {"weight": np.full((2, 3), step + 1, np.float32)}
        # The first step is taken as it is; later ones keep at most 0.7 of the average.
        kept = 0 if step == 0 else min(0.7, (1 + step) / (least + step))
        expected = kept * expected + (1 - kept) * (step + 1)
        average.update(arrays)
        arrays["weight"] += 100  # what was given is not held on to
        np.testing.assert_allclose(average.arrays["weight"], expected, rtol=1e-6)
    assert average.arrays["weight"].dtype == np.float32


@pytest.mark.parametrize("breadth", [0.05, 0.1, 0.25, 0.5])
def test_its_breadth_is_the_mean_age_of_what_it_holds(breadth: float) -> None:
    """Each step's share, read off an average of one-hot vectors."""
    steps = 400
    average = Average(0.9999, breadth)
    for step in range(steps):
        average.update({"shares": np.eye(steps)[step]})
    shares = average.arrays["shares"]
    assert shares.sum() == pytest.approx(1)
    age = (shares * np.arange(steps)[::-1]).sum() / steps
    assert age == pytest.approx(breadth, abs=0.02)


def test_restored_it_goes_on_as_if_nothing_had_been() -> None:
    random = np.random.default_rng(0)
    steps = [{"a": random.normal(size=5).astype(np.float32)} for _ in range(8)]
    whole, first, second = Average(0.9), Average(0.9), Average(0.9)
    for arrays in steps:
        whole.update(arrays)
    for arrays in steps[:4]:
        first.update(arrays)
    second.arrays = {name: array.copy() for name, array in first.arrays.items()}
    second.steps = first.steps
    for arrays in steps[4:]:
        second.update(arrays)
    np.testing.assert_array_equal(second.arrays["a"], whole.arrays["a"])


RECIPE = Recipe().changed(
    epochs=2, batch_size=4, learning_rate=0.02, selection=0.3, ema_decay=0.8, precision="float32"
)
SPEC = published("small", width=0.1, classes=3, dropout=0.3).replace(stages=PAPER_STAGES[:3])
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


@pytest.mark.parametrize("outputs", ["softmax", "sigmoid"])
def test_the_training_loss_is_the_quantity_that_is_selected_by(
    outputs: Outputs, split: Split, begun: Begun, tmp_path: Path
) -> None:
    """Steps that change nothing show the loss of the network as it is."""
    recipe = Recipe().changed(
        epochs=1, batch_size=len(split), learning_rate=0.0, dropout=0.0, label_smoothing=0.0,
        batch_norm="frozen", precision="float32",
        augmentation=Augmentation(crop="none", flip=False, jitter=0.0),
    )  # fmt: skip
    spec = SPEC.replace(classifier=ClassifierSpec(outputs=outputs))
    run = begun(tmp_path, split, recipe, spec)
    loop.fit(run)
    measured = measure(run.predict(split, "selection"))
    assert run.rows[0]["train_loss"] == pytest.approx(measured.loss, rel=1e-4)


@pytest.fixture
def fit(split: Split, begun: Begun) -> Callable[..., list[Row]]:
    """Goes through the epochs of a recipe on those photos, or others; the rows of figures."""

    def train(
        folder: Path, recipe: Recipe = RECIPE, resume: bool = False, photos: Split = split
    ) -> list[Row]:
        folder.mkdir(exist_ok=True)
        classes = ModelConfig.default(SPEC).labels.names
        saved = RunFolder(folder).read_checkpoint(recipe, classes) if resume else None
        run = begun(folder, photos, recipe, SPEC, saved=saved)
        loop.fit(run)
        return run.rows

    return train


def outcome(folder: Path, rows: list[dict[str, float]]) -> list[object]:
    """Both models byte for byte, and the figures of every epoch but its times."""
    models = [(folder / name / "model.safetensors").read_bytes() for name in ("best", "last")]
    return [*models, [{k: v for k, v in row.items() if k not in TIMES} for row in rows]]


@pytest.mark.slow
def test_it_overfits_a_tiny_set(fit: Fit, split: Split, tmp_path: Path) -> None:
    still = Augmentation(crop="none", flip=False, jitter=0.0)
    recipe = Recipe().changed(
        epochs=6, batch_size=12, learning_rate=0.02, dropout=0.0, label_smoothing=0.0,
        augmentation=still, precision="float32",
    )  # fmt: skip
    rows = fit(tmp_path, recipe, photos=split.with_photos(split.photos * 20))
    assert rows[-1]["train_top1"] > 0.95 > rows[0]["train_top1"]
    assert rows[-1]["selection_top1"] == 1  # the same photos, in evaluation mode
    assert rows[-1]["selection_loss"] < 0.2


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(RECIPE, id="average", marks=pytest.mark.slow),
        pytest.param(EVERYTHING, id="everything"),
        pytest.param(HELD, id="held in memory", marks=pytest.mark.slow),
        pytest.param(
            RECIPE.changed(optimizer="rmsprop", schedule="exponential"),
            id="rmsprop", marks=pytest.mark.slow,
        ),
        pytest.param(HELD.changed(optimizer="muon"), id="muon", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_stopped_after_any_step_and_resumed_it_ends_bit_for_bit_the_same(
    recipe: Recipe, fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = outcome(tmp_path / "whole", fit(tmp_path / "whole", recipe))

    @contextmanager
    def at_once() -> Iterator[Callable[[], bool]]:
        yield lambda: True

    monkeypatch.setattr(loop, "stop_on_interrupt", at_once)
    rows, stops = None, []
    while rows is None:
        try:
            rows = fit(tmp_path / "stopped", recipe, resume=True)
        except Stopped:
            saved = Checkpoint.load(RunFolder(tmp_path / "stopped").checkpoint)
            stops.append((saved.epoch, saved.step))
    assert stops == [(0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0)]
    assert outcome(tmp_path / "stopped", rows) == expected


class Power(Exception):
    """Off."""


def test_what_is_saved_within_an_epoch_is_gone_on_from_after_a_kill(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but what was written in time is left; the epoch's time counts from its beginning."""
    expected = outcome(tmp_path / "whole", fit(tmp_path / "whole"))
    monkeypatch.setattr(loop, "SAVED_EVERY", 0.0)
    real, calls = TorchTrainer.step, count()

    def killed(self: TorchTrainer, *arguments: Any) -> tuple[float, int]:
        if next(calls) == 5:
            raise Power
        return real(self, *arguments)

    monkeypatch.setattr(TorchTrainer, "step", killed)
    with pytest.raises(Power):
        fit(tmp_path / "killed")
    saved = Checkpoint.load(tmp_path / "killed" / "checkpoint.safetensors")
    assert (saved.epoch, saved.step) == (1, 2) and saved.seconds > 0
    rows = fit(tmp_path / "killed", resume=True)
    assert outcome(tmp_path / "killed", rows) == expected
    assert rows[1]["seconds"] > saved.seconds


@pytest.mark.parametrize(
    ("where", "error", "told"),
    [
        pytest.param("step", MemoryError(), RunError, marks=pytest.mark.slow),
        pytest.param(
            "views",
            ImageError("ball/00.png: it is not there any more"),
            ImageError,
            marks=pytest.mark.slow,
        ),
        ("disk", OSError(errno.ENOSPC, "No space left on device"), OSError),
    ],
)
def test_a_fault_in_the_second_epoch_leaves_the_first_ones_checkpoint_to_go_on_from(
    where: str, error: Exception, told: type[Exception], fit: Fit, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    expected = outcome(tmp_path / "whole", fit(tmp_path / "whole"))
    calls = count()
    room, name, last = {
        "step": (TorchTrainer, "step", 4), "views": (PhotoViews, "view", 14),
        "disk": (checkpoint, "write_atomically", 1),
    }[where]  # fmt: skip
    real = getattr(room, name)

    def failing(*arguments: Any) -> Any:
        if next(calls) == last:
            raise error
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(room, name, failing)
        with pytest.raises(told):
            fit(tmp_path / "failed")
    assert Checkpoint.load(tmp_path / "failed" / "checkpoint.safetensors").epoch == 1
    rows = fit(tmp_path / "failed", resume=True)
    assert outcome(tmp_path / "failed", rows) == expected


def test_a_checkpoint_of_another_recipe_or_a_damaged_one_is_an_error(
    fit: Fit, tmp_path: Path
) -> None:
    fit(tmp_path, RECIPE)
    with pytest.raises(RunError, match=r"checkpoint.safetensors: belongs to another recipe than"):
        fit(tmp_path, Recipe().changed(epochs=3), resume=True)
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    with pytest.raises(RunError, match=r"checkpoint.safetensors: cannot be resumed from"):
        fit(tmp_path, RECIPE, resume=True)


def test_a_loss_that_is_not_a_number_keeps_the_last_good_state(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, real = count(), functional.cross_entropy

    def spoiled(*arguments: Any, **options: Any) -> torch.Tensor:
        factor = float("nan") if next(calls) == 4 else 1.0
        loss: torch.Tensor = real(*arguments, **options) * factor
        return loss

    monkeypatch.setattr(functional, "cross_entropy", spoiled)
    with pytest.raises(
        RunError, match=r"not a number in epoch 2; start again with a lower learning_rate than 0.02"
    ):
        fit(tmp_path)
    _, arrays = store.load(tmp_path / "last")
    assert all(np.isfinite(array).all() for array in arrays.values())
    rows = fit(tmp_path, resume=True)  # the loss is sound again
    assert outcome(tmp_path, rows) == outcome(tmp_path / "w", fit(tmp_path / "w"))


def test_weights_that_are_ruined_by_an_epochs_last_step_are_not_saved(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TorchTrainer.step
    calls = count()

    def ruining(self: TorchTrainer, *arguments: Any) -> tuple[float, int]:
        found = real(self, *arguments)
        if next(calls) == 5:  # the last of the second epoch; its loss is sound
            self.network.classifier.bias.data.fill_(float("inf"))
        return found

    monkeypatch.setattr(TorchTrainer, "step", ruining)
    with pytest.raises(
        RunError, match=r"not a number in epoch 2.*last has the previous epoch's model"
    ):
        fit(tmp_path, RECIPE.changed(ema_decay=0.0))
    assert Checkpoint.load(tmp_path / "checkpoint.safetensors").epoch == 1


def test_it_stops_after_patience_epochs_without_a_better_one_also_when_resumed(
    fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still = Recipe().changed(
        epochs=9, batch_size=4, learning_rate=0.0, batch_norm="frozen", patience=2
    )
    rows = fit(tmp_path, still)  # nothing moves, so the first epoch stays the best
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert "no lower validation loss for 2 epochs" in capsys.readouterr().err
    assert fit(tmp_path, still, resume=True) == rows


def test_the_model_folders_carry_the_networks_config(fit: Fit, tmp_path: Path) -> None:
    fit(tmp_path, Recipe().changed(epochs=1, batch_size=4, train_scale=1.25))
    config = json.loads((tmp_path / "best" / "config.json").read_text())
    assert NetworkSpec.from_dict(config["spec"], "spec") == SPEC  # train_scale changes nothing


SIGNALLED = """
import signal
from mobilenetv2.training.loop import stop_on_interrupt

number = signal.Signals({number})
before = signal.getsignal(number)
try:
    with stop_on_interrupt() as stop:
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


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"),
        # tensorflow.errors.ResourceExhaustedError, which is no RuntimeError
        type("ResourceExhaustedError", (Exception,), {})("OOM when allocating tensor with shape"),
    ],
)
def test_out_of_memory_is_one_sentence(error: Exception) -> None:
    words = r"^out of memory in a step; start again with a lower"
    with pytest.raises(RunError, match=words), out_of_memory_guard("a step"):
        raise error


@pytest.mark.parametrize("text", ["shapes do not match", "unsupported memory format option"])
def test_another_error_is_a_defect_and_stays_one(text: str) -> None:
    with pytest.raises(RuntimeError, match=text), out_of_memory_guard("a step"):
        raise RuntimeError(text)


def test_an_error_that_was_put_into_words_already_stays_as_it_is() -> None:
    words = r"^out of memory in the inner"
    with (
        pytest.raises(RunError, match=words),
        out_of_memory_guard("the outer"),
        out_of_memory_guard("the inner"),
    ):
        raise MemoryError
