"""The end of a run: probabilities that mean what they say, and the figures, each taken once."""

import dataclasses

from mobilenetv2.data.dataset import Split
from mobilenetv2.evaluate.calibration import (
    FEWEST,
    TEMPERATURE,
    fit_temperature,
    measure_calibration,
    temper,
)
from mobilenetv2.evaluate.metrics import Metrics, measure
from mobilenetv2.evaluate.predictions import Predictions, predict_split
from mobilenetv2.evaluate.report.result import Result
from mobilenetv2.model import store
from mobilenetv2.progress import say
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.record import RunFolder
from mobilenetv2.train.splits import Splits, some
from mobilenetv2.train.trainer import Trainer

TRAIN_SAMPLE = 1000
"""Training photos on which the final figure is taken too, to show it beside the held-out one."""


def take_figures(
    trainer: Trainer, splits: Splits, recipe: Recipe, run: RunFolder, data: str
) -> tuple[Result, dict[str, Metrics]]:
    """Calibrate ``run.best``, measure it, and write both down.

    Args:
        data: what the photos are called in the report.

    Returns:
        (what it answered to the held-out photos, with its config as it is now; the figures of
        'train', 'selection' and the held-out split).
    """
    config, arrays = store.load(run.best)
    trainer.load(arrays)
    measured: dict[str, float] = {}
    if TEMPERATURE in config.metrics:  # a run that was killed after this, and goes on
        measured[TEMPERATURE] = config.metrics[TEMPERATURE]
    elif recipe.calibrate and len(splits.selection) < FEWEST:
        say(
            f"no temperature: {len(splits.selection)} photos that choose are fewer than the "
            f"{FEWEST} that it takes to fit one"
        )
    elif recipe.calibrate:
        predictions = predict(trainer, config, splits.selection)
        measured[TEMPERATURE] = fit_temperature(predictions)
        arrays = temper(arrays, measured[TEMPERATURE])
        trainer.load(arrays)

    figures: dict[str, Metrics] = {}
    sample, name = some(splits.train, TRAIN_SAMPLE, recipe.seed), splits.held_out.name
    for split, label in (
        (sample, "a sample of train"),
        (splits.selection, "selection"),
        (splits.held_out, "held out"),
    ):
        predictions = predict(trainer, config, split, label)
        figures[split.name] = measure(predictions)
        measured[f"{split.name}.calibration_error"] = measure_calibration(predictions).error
    if TEMPERATURE in measured:
        before = measure_calibration(predictions.scaled(measured[TEMPERATURE])).error
        measured[f"{name}.calibration_error_before"] = before
        say(
            f"temperature {measured[TEMPERATURE]:.2f}: expected calibration error on {name} "
            f"{before:.3f} before, {measured[f'{name}.calibration_error']:.3f} after"
        )
    measured |= {
        f"{part}.{figure}": float(getattr(metrics, figure))
        for part, metrics in figures.items()
        for figure in ("top1", "top5", "loss", "images")
    }
    config = dataclasses.replace(config, metrics=measured)
    store.save(run.best, config, arrays)
    return Result.of(str(run.best), data, splits.held_out, config, predictions), figures


def predict(
    trainer: Trainer, config: ModelConfig, split: Split, label: str | None = None
) -> Predictions:
    """Run the network in evaluation mode on a split."""
    logits, labels = predict_split(
        trainer.predictor(), split, config.preprocessing, label or split.name
    )
    return Predictions(logits, labels, split.classes)
