"""Trials find a rate and a time, and leave no trace."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from short import short

from mobilenetv2.cli.main import main
from mobilenetv2.data.augment import Augmentation
from mobilenetv2.data.dataset import Split, open_dataset
from mobilenetv2.data.scan import check_dataset
from mobilenetv2.errors import RecipeError
from mobilenetv2.evaluation import plots
from mobilenetv2.spec.published import published
from mobilenetv2.training import splits as choice
from mobilenetv2.training import trials
from mobilenetv2.training.job import Job, Run
from mobilenetv2.training.recipe import Cache, Recipe
from mobilenetv2.training.recipe_file import read_recipe
from mobilenetv2.training.run import carry_out
from mobilenetv2.training.splits import Splits, divide
from mobilenetv2.training.trials import Times, describe_time, find_rate, measure_times, suggest_rate

Begun = Callable[..., Run]
SPEC = short(published("small", width=0.1, classes=3))
PLAIN = Recipe().changed(
    batch_size=36, precision="float32", dropout=0.0, label_smoothing=0.0,
    augmentation=Augmentation(crop="none", flip=False, jitter=0.0),
)  # fmt: skip


@pytest.fixture(scope="module")
def split(photos: Path) -> Split:
    return open_dataset(photos).splits["all"]


@pytest.mark.slow
def test_it_suggests_a_rate_that_learns_and_leaves_the_trainer_as_it_was(
    split: Split, tmp_path: Path, begun: Begun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begun(tmp_path, split, PLAIN, SPEC)
    before = run.trainer.state()
    find_rate(run, steps=60)
    trial = run.trial
    assert trial is not None and run.recipe == PLAIN.changed(learning_rate=trial.suggestion)
    assert f"learning_rate {trial.suggestion:g}: " in capsys.readouterr().err
    assert 1e-3 < trial.suggestion < 1
    assert list(trial.rates) == sorted(trial.rates) and len(trial.rates) == len(trial.losses)
    assert min(trial.losses) < 0.8 * trial.losses[0]
    after = run.trainer.state()
    left = after.keys() - before.keys()
    assert all(not after[name].any() for name in left)  # momentum, as it is at the start
    assert all(np.array_equal(after[name], before[name]) for name in before)
    plots.rates(trial.rates, trial.losses, trial.suggestion, tmp_path / "rate.png")
    assert (tmp_path / "rate.png").read_bytes()[:4] == b"\x89PNG"


def test_the_suggestion_is_a_third_of_the_best_to_two_digits() -> None:
    assert suggest_rate([0.001, 0.01, 0.1, 1.0], [2.0, 1.5, 1.0, 3.0]) == 0.033


def test_a_loss_that_never_falls_is_said() -> None:
    with pytest.raises(RecipeError, match="the loss falls at no learning rate"):
        suggest_rate([0.001, 0.01], [1.0, 2.0])
    with pytest.raises(RecipeError, match="no learning rate"):
        suggest_rate([], [])


RECIPE = Recipe().changed(epochs=2, batch_size=4, precision="float32", dropout=0.3, ema_decay=0.9)
EDITIONS = [
    pytest.param("torch", id="torch"),
    *(
        pytest.param(
            name,
            marks=[
                pytest.mark.skipif(not find_spec(module), reason=f"{module} is not installed"),
                pytest.mark.slow,
            ],
        )
        for name, module in (("keras", "keras"), ("jax", "flax"))
    ),
]


@pytest.fixture(scope="module")
def splits(photos: Path) -> Splits:
    return divide(check_dataset(open_dataset(str(photos)), 0.0), RECIPE)


@pytest.mark.parametrize("edition", EDITIONS)
def test_it_is_measured_with_real_steps_and_leaves_the_trainer_as_it_was(
    edition: str, splits: Splits, begun: Begun, tmp_path: Path
) -> None:
    """Neither weights nor statistics, moments or random numbers: what follows is bit for bit."""
    runs = [begun(tmp_path, splits, RECIPE, SPEC, edition) for _ in range(2)]
    trainers = [run.trainer for run in runs]
    plots = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    wanted = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    state = trainers[0].state()
    times = measure_times(runs[0])
    assert min(times.epoch, times.after, times.speed) > 0 == times.before
    after = trainers[0].state()
    assert after.keys() == state.keys()
    assert all(np.array_equal(after[name], state[name]) for name in state)
    losses = []
    for trainer in trainers:
        trainer.restore(state)
        losses.append([trainer.step(plots, wanted, 0.01) for _ in range(2)])
    assert losses[0] == losses[1]


def test_cached_maps_take_their_time_before_the_first_epoch(
    splits: Splits, begun: Begun, tmp_path: Path
) -> None:
    recipe = RECIPE.changed(trained="later", cache=Cache(2, 2))
    times = measure_times(begun(tmp_path, splits, recipe, SPEC))
    assert min(times.before, times.epoch) > 0


def test_a_classifier_alone_takes_no_steps(splits: Splits, begun: Begun, tmp_path: Path) -> None:
    run = begun(tmp_path, splits, RECIPE.changed(trained="head"), SPEC)
    run.job = replace(run.job, weights=tmp_path)
    times = measure_times(run)
    assert (times.epoch, times.speed) == (0, 0) and times.before > 0


def test_epochs_fill_a_budget_and_are_at_least_one() -> None:
    times = Times(before=20, epoch=10, after=10, speed=50)
    assert [times.epochs(minutes) for minutes in (1, 2, 0.01)] == [3, 9, 1]
    assert times.whole(3) == 60


@pytest.mark.parametrize(
    ("recipe", "times", "text"),
    [
        (
            Recipe().changed(epochs=8),
            Times(60, 40, 20, 58.2),
            "6.7 minutes on this machine (8 epochs, 58",
        ),
        (
            Recipe().changed(epochs=1),
            Times(0, 0.1, 0, 99),
            "a few seconds on this machine (1 epoch, 99",
        ),
        (Recipe().changed(trained="head"), Times(60, 0, 20, 0), "80 seconds on this machine"),
    ],
)
def test_the_expected_time_is_told(recipe: Recipe, times: Times, text: str) -> None:
    assert text in describe_time(times, recipe)


@pytest.mark.slow
def test_the_default_is_the_same_however_busy_the_machine_is(
    photos: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that runs a thousand times faster in one of two runs changes no byte of the model."""
    recipe = Recipe().changed(batch_size=4, optimizer="adamw", label_smoothing=0.1, selection=0.3)
    monkeypatch.setattr(choice, "EPOCHS", (2, 3))
    found = []
    for name, pace in (("quiet", 1e-3), ("busy", 1.0)):
        ticks = count()
        clock = SimpleNamespace(monotonic=lambda pace=pace, ticks=ticks: pace * next(ticks))
        monkeypatch.setattr(trials, "time", clock)
        job = Job(
            str(photos), tmp_path / name, model, recipe, kept=frozenset({"trained"}), minutes=None
        )
        carry_out(job)
        run = tmp_path / name
        found.append([
            (run / "recipe.toml").read_bytes(),
            (run / "best" / "model.safetensors").read_bytes(),
            (run / "last" / "model.safetensors").read_bytes(),
        ])  # fmt: skip
    assert found[0] == found[1]


def test_minutes_become_epochs_of_the_recipe_that_is_written(
    photos: Path, quick: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    times = Times(before=10, epoch=20, after=10, speed=50)
    monkeypatch.setattr("mobilenetv2.training.run.measure_times", lambda *arguments: times)
    command = ["train", str(photos), "--output", str(tmp_path / "run"), *quick]
    assert main([*command, "--minutes", "1"]) == 0
    assert read_recipe(str(tmp_path / "run" / "recipe.toml")).epochs == 2
    assert "60 seconds on this machine (2 epochs, 50 photos a second)" in capsys.readouterr().err


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_minutes_are_refused(minutes: float, photos: Path, tmp_path: Path) -> None:
    job = Job(str(photos), tmp_path / "run", None, RECIPE, minutes=minutes)
    with pytest.raises(RecipeError, match=r"minutes .* above 0"):
        carry_out(job)
    assert not (tmp_path / "run").exists()
