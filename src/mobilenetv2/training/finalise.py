"""The end of a run: temperature scaling, final figures, report and summary."""

import dataclasses
import math
import re
import shlex
import time
from functools import partial
from pathlib import Path

from mobilenetv2.errors import SpecError
from mobilenetv2.evaluation.calibration import (
    FEWEST,
    TEMPERATURE,
    fit_temperature,
    measure_calibration,
    temper,
)
from mobilenetv2.evaluation.gradcam import class_weights
from mobilenetv2.evaluation.metrics import Metrics, measure
from mobilenetv2.evaluation.report.page import PRIVATE, Explainer, draw_plots, write_page
from mobilenetv2.evaluation.report.result import Result
from mobilenetv2.evaluation.report.words import (
    class_advice,
    expectation,
    first_sentence,
    split_words,
)
from mobilenetv2.files import write_atomically
from mobilenetv2.model import store
from mobilenetv2.model.card import kind, markdown
from mobilenetv2.progress import say
from mobilenetv2.runtime.predictor import load_feature_map
from mobilenetv2.spec.count import multiply_adds, parameters
from mobilenetv2.text import counted, interval, line, percent
from mobilenetv2.training.job import Run
from mobilenetv2.training.splits import FEW, sample

TRAIN_SAMPLE = 1000
"""Largest number of training photos in the final figures of the training split."""
CLOSE = 0.05
"""Smallest gap between training and test accuracy that is called overfitting."""
LEARNT = 0.9
"""Training accuracy below which the result is called underfitting."""
KEPT_PRIVATE = ("split.csv", "start.json", "recipe.toml", "checkpoint.safetensors")
"""Files of a run folder that always name photos or paths, even with ``private``."""


def finalise(run: Run) -> None:
    """Fit the best model's temperature, measure it once, and write report and summary."""
    run.group.first(lambda: _write_models(run))
    result = take_figures(run)
    seconds = time.monotonic() - run.started
    # For a resumed run, the clock does not cover the earlier epochs.
    run.seconds = max(seconds, sum(row["seconds"] for row in run.rows))
    run.group.first(lambda: _write_results(run, result, seconds))


def _write_models(run: Run) -> None:
    """Write the models of a run without epochs, and remove the cached maps of any other."""
    run.files.maps.unlink(missing_ok=True)
    if not run.rows:
        for model in (run.best, run.files.last):
            store.save(model, run.config, run.trainer.dump())


def _write_results(run: Run, result: Result, seconds: float) -> None:
    """Write the report, the figures and, last of all, the summary."""
    explainer, steps = _explainer(run), next_steps(run)
    write_page(
        run.report, result, run.best, explainer, seconds=seconds, private=run.job.private,
        steps=steps,
    )  # fmt: skip
    draw_plots(run.folder, result, explainer, run.job.private)
    write_atomically(run.files.summary, summary(run))


def take_figures(run: Run) -> Result:
    """Fit the temperature of ``run.best``, measure and save it; return its test result."""
    trainer, splits = run.trainer, run.splits
    config, arrays = run.group.first(lambda: store.load(run.best))
    trainer.load(arrays)
    measured: dict[str, float] = {}
    if TEMPERATURE in config.metrics:  # a resumed run that was killed after this step
        measured[TEMPERATURE] = config.metrics[TEMPERATURE]
    elif run.recipe.calibrate and len(splits.selection) < FEWEST:
        say(
            f"no temperature scaling: it needs {FEWEST} photos in the validation split, which has "
            f"{len(splits.selection)}"
        )
    elif run.recipe.calibrate:
        found = run.predict(splits.selection, "validation")
        measured[TEMPERATURE] = run.group.first(lambda: fit_temperature(found))
        arrays = temper(arrays, measured[TEMPERATURE])
        trainer.load(arrays)
    name = splits.held_out.name
    for split, label in (
        (sample(splits.train, TRAIN_SAMPLE, run.recipe.seed), "training photos"),
        (splits.selection, "validation photos"),
        (splits.held_out, "test photos"),
    ):
        predictions = run.predict(split, label)
        run.figures[split.name] = measure(predictions)
        measured[f"{split.name}.calibration_error"] = measure_calibration(predictions).error
    if TEMPERATURE in measured:
        before = measure_calibration(predictions.scaled(measured[TEMPERATURE])).error
        measured[f"{name}.calibration_error_before"] = before
        say(
            f"temperature {measured[TEMPERATURE]:.2f}: expected calibration error on the test "
            f"split {before:.3f} before, {measured[f'{name}.calibration_error']:.3f} after"
        )
    measured |= {
        f"{part}.{figure}": float(getattr(metrics, figure))
        for part, metrics in run.figures.items()
        for figure in ("top1", "top5", "loss", "images")
    }
    known = {name: value for name, value in measured.items() if math.isfinite(value)}
    run.config = dataclasses.replace(config, metrics=known)
    run.group.first(lambda: store.save(run.best, run.config, arrays))
    return Result.of(str(run.best), run.job.data, splits.held_out, run.config, predictions)


def _explainer(run: Run) -> Explainer | None:
    """Return the parts for Grad-CAM; None for networks that cannot be run for it."""
    try:
        found = load_feature_map(run.best)
    except SpecError:
        return None
    return Explainer(found.maps, partial(class_weights, found.config.spec, found.arrays))


def summary(run: Run) -> str:
    """Return the text of ``summary.md``: the result, what to do next, and details for experts."""
    spec, figures = run.config.spec, run.figures
    result, private = figures[run.held_out], run.job.private
    data = "" if private else f" on {markdown(run.job.data)}"
    temperature = run.metrics.get(TEMPERATURE)
    lines = [
        f"# {markdown(run.folder.name)}",
        "",
        f"{first_sentence(result)} These photos were used neither to train nor to select the "
        f"model. {expectation(result)}",
        "",
        "## What to do next",
        "",
        *(f"- {step}" for step in next_steps(run, escape=True)),
        "",
        "## Details",
        "",
        f"A {kind(spec)} of width {spec.width:g} at {spec.size[0]} x "
        f"{spec.size[1]} pixels ({parameters(spec):,} parameters, "
        f"{multiply_adds(spec):,} multiply-adds), trained{data} in "
        f"{run.seconds / 60:.1f} minutes: {_how(run)}.",
        "",
        f"Top-1 accuracy on the {split_words(run.held_out)}: {result.top1:.1%} "
        f"(n = {result.images}, 95% interval {interval(result.top1_interval)}).",
        "",
        *_table(run, top5=spec.classes > 5),
        "",
        "The validation split selects the checkpoint; the test split is used once, for the final "
        f"figures. In files and in JSON the three are called {', '.join(figures)}."
        + (
            f" The logits are divided by a temperature of {temperature:.2f}, so that the "
            "probabilities match the accuracy."
            if temperature
            else ""
        ),
        "",
        *([f"{PRIVATE} Do not share {', '.join(KEPT_PRIVATE)}.", ""] if private else []),
        "![curves](curves.png)" if run.rows else "",
        *(f"![{name}]({name}.png)" for name in ("confusion", "classes", "reliability")),
        "",
    ]
    return "\n".join(lines)


def next_steps(run: Run, escape: bool = False) -> list[str]:
    """Return advice on what to do after training, in items of one or two sentences.

    Args:
        escape: escape names of classes for Markdown. Default: False.
    """
    result = run.figures[run.held_out]
    best = Path("best") if run.job.private else run.best
    where = ", run in this folder" if run.job.private else ""
    command = line(f"mobilenetv2 predict PHOTO --model {shlex.quote(str(best))}")
    call = f"mobilenetv2.Classifier({str(best)!r})('PHOTO')"
    # A run of backticks ends where the next run of the same length begins.
    runs = re.findall("`+", command)
    tick = "`" * (1 + max(map(len, runs), default=0)) if escape else ""
    advice = markdown(class_advice(result)) if escape else class_advice(result)
    wrong = result.images - round(result.accuracy * result.images)
    look = (
        f"Open {run.report.name} and look at the errors ({counted(wrong, 'photo')}). It shows each "
        "photo as the model sees it. Some errors may be photos in the wrong class folder."
        if wrong and not run.job.private
        else f"Open {run.report.name}, which has the full result on one page."
    )
    return [
        look,
        f"Classify a new photo{where}: {tick}{command}{tick} or, from Python, {tick}{call}{tick}.",
        *_guesses(result),
        _fit_advice(run.figures["train"], result, run.moved, len(run.splits.train)),
        *([] if _underfits(run.figures["train"], run.moved) else [advice]),
    ]


def _how(run: Run) -> str:
    """Return what was trained, and which checkpoint was kept."""
    recipe = run.recipe
    part = (
        f"the layers after the first {recipe.cache.blocks} blocks"
        if recipe.trained == "later"
        else "the network"
    )
    how = f"{counted(run.epochs, 'epoch')} of {part}" if run.epochs else "only a new classifier"
    if run.rows and not run.moved:
        how += (
            ". No epoch had a lower temperature-scaled validation loss "
            f"(n = {run.figures['selection'].images}) than the new classifier alone, whose "
            "checkpoint is kept"
        )
    return how


def _table(run: Run, top5: bool) -> list[str]:
    """Return a Markdown table with a row for each split.

    With five classes or fewer, the top-5 accuracy is always 100% and is left out.
    """
    more = ["top-5"] if top5 else []
    header = ["split", "photos", "top-1", "95% interval", *more, "loss", "calibration error"]
    rows = [header, ["---"] * len(header)]
    for name, metrics in run.figures.items():
        shares = [f"{metrics.top5:.1%}"] if top5 else []
        error = run.metrics.get(f"{name}.calibration_error", math.nan)
        sample = " (a sample)" if name == "train" and metrics.images == TRAIN_SAMPLE else ""
        rows.append([
            split_words(name) + sample, str(metrics.images), f"{metrics.top1:.1%}",
            interval(metrics.top1_interval), *shares, f"{metrics.loss:.3f}", percent(error),
        ])  # fmt: skip
    return [f"| {' | '.join(row)} |" for row in rows]


def _guesses(result: Metrics) -> list[str]:
    """Return a warning if the accuracy may be that of the most frequent class alone."""
    share = max(row.photos for row in result.classes) / result.images
    low, _ = result.top1_interval
    if result.labels or low > share:
        return []
    return [
        "Do not use this model yet: on new photos it may be no better than always answering the "
        f"most frequent class ({share:.0%}). Train for longer, start from published weights, or "
        "add photos."
    ]


def _fit_advice(train: Metrics, test: Metrics, moved: bool, photos: int) -> str:
    """Return advice on overfitting or underfitting.

    Args:
        moved: True if the whole network was trained, not only its classifier.
        photos: number of training photos.
    """
    gap = train.top1 - test.top1
    if gap > CLOSE:
        few = f" with at least {FEW} training photos" if photos < FEW else ""
        more = (
            "More photos or stronger augmentation help more than more epochs."
            if moved
            else "More photos help. Training the whole network may help, too: recipe finetune does "
            f"it{few}."
        )
        if train.top1 <= test.top1_interval[1]:
            return (
                f"The accuracy is {train.top1:.0%} on training photos and {test.top1:.0%} on new "
                f"photos. With {counted(test.images, 'new photo')} the difference may be chance."
            )
        return (
            f"Overfitting: the accuracy is {train.top1:.0%} on training photos, but only "
            f"{test.top1:.0%} on new photos, {100 * gap:.0f} percentage points less. {more}"
        )
    if _underfits(train, moved):
        return (
            f"Underfitting: the accuracy on training photos is only {train.top1:.0%}. Train for "
            "more epochs."
        )
    return "No overfitting: the accuracy on new photos is about the same as on training photos."


def _underfits(train: Metrics, moved: bool) -> bool:
    return moved and train.top1 < LEARNT
