"""The end of a run: what is tempered, measured and written down, once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.evaluate.calibration import FEWEST, measure_calibration
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.published import published
from mobilenetv2.train.figures import predict, take_figures
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.record import RunFolder
from mobilenetv2.train.splits import Splits
from mobilenetv2.train.torch import TorchTrainer

RECIPE = Recipe(precision="float32")


@pytest.fixture
def splits(photos: Path) -> Splits:
    whole = open_dataset(photos).splits["all"]
    parts = (whole.with_photos(whole.photos[i::3], n) for i, n in enumerate("abc"))
    train, selection, held_out = parts
    return Splits(
        train.with_photos(train.photos, "train"),
        selection.with_photos(selection.photos * 10, "selection"),
        held_out.with_photos(held_out.photos, "validation"),
    )


def begun(folder: Path, recipe: Recipe = RECIPE) -> tuple[TorchTrainer, RunFolder]:
    """A run whose best network is far too sure of what it says."""
    spec = published("small", width=0.1, classes=3)
    trainer = TorchTrainer(MobileNetV2(spec, seed=0), recipe)
    arrays = random_arrays(spec)
    arrays["classifier.weight"] = 20 * arrays["classifier.weight"]
    run = RunFolder(folder)
    store.save(run.best, trainer.network.config, arrays)
    return trainer, run


def test_the_temperature_is_fitted_on_selection_and_no_answer_changes(
    splits: Splits, tmp_path: Path
) -> None:
    trainer, run = begun(tmp_path)
    config, arrays = store.load(run.best)
    trainer.load(arrays)
    before = predict(trainer, config, splits.held_out)
    result, figures = take_figures(trainer, splits, RECIPE, run, "photos")
    config = result.config
    temperature = config.metrics["temperature"]
    assert temperature > 2
    assert config.metrics["validation.calibration_error_before"] == pytest.approx(
        measure_calibration(before).error, rel=1e-4
    )
    assert config.metrics["validation.calibration_error"] == pytest.approx(
        measure_calibration(before.scaled(1 / temperature)).error, rel=1e-4
    )
    assert set(figures) == {"train", "selection", "validation"}
    assert figures["validation"].top1 == (before.logits.argmax(1) == before.truth).mean()
    saved, tempered = store.load(run.best)
    assert saved == config
    for name, array in tempered.items():
        expected = arrays[name] / temperature if name.startswith("classifier") else arrays[name]
        assert array == pytest.approx(expected, rel=1e-6)


def test_a_run_killed_after_it_and_resumed_has_the_same_weights_and_figures(
    splits: Splits, tmp_path: Path
) -> None:
    trainer, run = begun(tmp_path)
    config = take_figures(trainer, splits, RECIPE, run, "photos")[0].config
    weights = (run.best / "model.safetensors").read_bytes()
    again = take_figures(begun(tmp_path / "other")[0], splits, RECIPE, run, "photos")[0].config
    assert (run.best / "model.safetensors").read_bytes() == weights
    assert again.metrics == pytest.approx(config.metrics, rel=1e-6)


def test_few_photos_fit_no_temperature(
    splits: Splits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = splits.selection.with_photos(splits.selection.photos[: FEWEST - 1], "selection")
    trainer, run = begun(tmp_path)
    _, before = store.load(run.best)
    config = take_figures(trainer, replace(splits, selection=few), RECIPE, run, "photos")[0].config
    assert "temperature" not in config.metrics
    after = store.load(run.best)[1]
    assert all(np.array_equal(after[name], before[name]) for name in before)
    assert "no temperature: 49 photos that choose are fewer than the 50" in capsys.readouterr().err


def test_without_calibration_the_weights_stay(splits: Splits, tmp_path: Path) -> None:
    recipe = Recipe(precision="float32", calibrate=False)
    trainer, run = begun(tmp_path, recipe)
    _, before = store.load(run.best)
    config = take_figures(trainer, splits, recipe, run, "photos")[0].config
    assert "temperature" not in config.metrics
    assert config.metrics["validation.calibration_error"] > 0.1
    after = store.load(run.best)[1]
    assert all(np.array_equal(after[name], before[name]) for name in before)
