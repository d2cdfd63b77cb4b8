"""The end of a run: temperature scaling, the final figures, each taken once, report and summary."""

import dataclasses
import html
import math
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
from mobilenetv2.model.card import kind
from mobilenetv2.progress import say
from mobilenetv2.runtime.predictor import load_feature_map
from mobilenetv2.spec.count import multiply_adds, parameters
from mobilenetv2.text import counted, interval, percent, visible
from mobilenetv2.training.job import Run
from mobilenetv2.training.splits import FEW, sample

TRAIN_SAMPLE = 1000
"""Training photos on which the final figures are taken, too, to be shown beside the others."""
CLOSE = 0.05
"""A larger gap between training and held-out accuracy is called overfitting."""
LEARNT = 0.9
"""A lower accuracy on training photos is called underfitting."""
KEPT_PRIVATE = ("split.csv", "start.json", "recipe.toml", "checkpoint.safetensors")
"""Files of a run folder that name photos or places, whatever the report shows."""


def finalise(run: Run) -> None:
    """Fit the best model's temperature, take its figures once, write report and summary."""
    run.files.maps.unlink(missing_ok=True)
    if not run.rows:
        for model in (run.best, run.files.last):
            store.save(model, run.config, run.trainer.dump())
    result = take_figures(run)
    seconds, explainer = time.monotonic() - run.started, _explainer(run)
    # A resumed run has its earlier epochs behind it.
    run.seconds = max(seconds, sum(row["seconds"] for row in run.rows))
    steps = next_steps(run)
    write_page(
        run.report, result, run.best, explainer, seconds=seconds, private=run.job.private,
        steps=steps,
    )  # fmt: skip
    draw_plots(run.folder, result, explainer, run.job.private)
    write_atomically(run.files.summary, summary(run))


def take_figures(run: Run) -> Result:
    """Fit the temperature of ``run.best``, measure it, save both; return its held-out answers."""
    trainer, splits = run.trainer, run.splits
    config, arrays = store.load(run.best)
    trainer.load(arrays)
    measured: dict[str, float] = {}
    if TEMPERATURE in config.metrics:  # a run that was killed after this, and goes on
        measured[TEMPERATURE] = config.metrics[TEMPERATURE]
    elif run.recipe.calibrate and len(splits.selection) < FEWEST:
        say(
            f"no temperature scaling: it takes {FEWEST} photos of the validation split, which has "
            f"{len(splits.selection)}"
        )
    elif run.recipe.calibrate:
        measured[TEMPERATURE] = fit_temperature(run.predict(splits.selection, "validation"))
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
    run.config = dataclasses.replace(config, metrics=measured)
    store.save(run.best, run.config, arrays)
    return Result.of(str(run.best), run.job.data, splits.held_out, run.config, predictions)


def _explainer(run: Run) -> Explainer | None:
    """Return the parts for Grad-CAM; None for networks that no engine here has."""
    try:
        found = load_feature_map(run.best)
    except SpecError:
        return None
    return Explainer(found.maps, partial(class_weights, found.config.spec, found.arrays))


def summary(run: Run) -> str:
    """Return ``summary.md``: how good the model is and what to do next, then the expert's lines."""
    spec, figures = run.config.spec, run.figures
    result, private = figures[run.held_out], run.job.private
    data = "" if private else f" on {visible(run.job.data)}"
    temperature = run.metrics.get(TEMPERATURE)
    lines = [
        f"# {visible(run.folder.name)}",
        "",
        f"{first_sentence(result)} They were used neither to train nor to choose the model. "
        f"{expectation(result)}",
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
        + (f" Temperature scaling by {temperature:.2f}." if temperature else ""),
        "",
        *([f"{PRIVATE} Keep {', '.join(KEPT_PRIVATE)} to yourself.", ""] if private else []),
        "![curves](curves.png)" if run.rows else "",
        *(f"![{name}]({name}.png)" for name in ("confusion", "classes", "reliability")),
        "",
    ]
    return "\n".join(lines)


def next_steps(run: Run, escape: bool = False) -> list[str]:
    """Return what a person can do after training, a sentence or two each.

    Args:
        escape: make the names of classes safe for Markdown.
    """
    result = run.figures[run.held_out]
    best = Path("best") if run.job.private else run.best
    where = ", run in this folder" if run.job.private else ""
    tick = "`" if escape else ""
    advice = class_advice(result)
    safe = html.escape(visible(advice), quote=False) if escape else advice
    wrong = result.images - round(result.accuracy * result.images)
    look = (
        f"Look at the {counted(wrong, 'photo')} that went wrong: {run.report.name} shows what the "
        "model saw. Wrong labels show up there, too."
        if wrong and not run.job.private
        else f"Look at {run.report.name}: all of the result on one page."
    )
    return [
        look,
        f"Name what is on a new photo{where}: {tick}mobilenetv2 predict PHOTO --model "
        f"{shlex.quote(str(best))}{tick} or, from Python, "
        f"{tick}mobilenetv2.Classifier({str(best)!r})('PHOTO'){tick}.",
        _fit_advice(run.figures["train"], result, run.moved),
        *([] if _underfits(run.figures["train"], run.moved) else [safe]),
    ]


def _how(run: Run) -> str:
    """Return what was trained, and which checkpoint was kept."""
    recipe = run.recipe
    part = (
        f"what follows the first {recipe.cache.blocks} blocks"
        if recipe.trained == "later"
        else "the network"
    )
    how = f"{counted(run.epochs, 'epoch')} of {part}" if run.epochs else "only a new classifier"
    if run.rows and not run.moved:
        how += (
            ", none with a lower temperature-scaled validation loss "
            f"(n = {run.figures['selection'].images}) than the new classifier alone, whose "
            "checkpoint is kept"
        )
    return how


def _table(run: Run, top5: bool) -> list[str]:
    """Return a row for each split. Five answers out of five classes are always enough: no top-5
    then."""
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


def _fit_advice(train: Metrics, test: Metrics, moved: bool) -> str:
    """Return what the figures of training and new photos say together.

    Args:
        moved: the network moved, not only its classifier.
    """
    gap = train.top1 - test.top1
    if gap > CLOSE:
        more = (
            "More photos or stronger augmentation help more than more epochs."
            if moved
            else f"More photos help; with at least {FEW} to train on, the whole network is trained."
        )
        return (
            f"Overfitting: {train.top1:.0%} of the photos that it was trained on are right, but "
            f"only {test.top1:.0%} of new ones, {100 * gap:.0f} points less. {more}"
        )
    if _underfits(train, moved):
        return (
            f"Underfitting: only {train.top1:.0%} of the photos that it was trained on are right. "
            "Train for more epochs."
        )
    return (
        "No overfitting: new photos are right about as often as those that it was trained on, so "
        "that training has done its part."
    )


def _underfits(train: Metrics, moved: bool) -> bool:
    return moved and train.top1 < LEARNT
