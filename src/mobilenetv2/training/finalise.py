"""The end of a run: temperature scaling, the final figures, each taken once, report and summary."""

import dataclasses
import html
import time
from functools import partial

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
from mobilenetv2.evaluation.report.page import Explainer, draw_plots, write_page
from mobilenetv2.evaluation.report.result import Result
from mobilenetv2.evaluation.run_record import best_epoch
from mobilenetv2.files import write_atomically
from mobilenetv2.model import store
from mobilenetv2.model.card import kind
from mobilenetv2.progress import say
from mobilenetv2.runtime.predictor import load_feature_map
from mobilenetv2.spec.count import multiply_adds, parameters
from mobilenetv2.text import counted, interval, visible
from mobilenetv2.training.job import Run
from mobilenetv2.training.splits import FEW, sample

TRAIN_SAMPLE = 1000
"""Training photos on which the final figures are taken, too, to be shown beside the others."""
CLOSE = 0.05
"""A larger gap between training and held-out accuracy is called overfitting."""


def finalise(run: Run) -> None:
    """Fit the best model's temperature, take its figures once, write report and summary."""
    run.folder.maps.unlink(missing_ok=True)
    if not run.rows:
        for model in (run.best, run.folder.last):
            store.save(model, run.config, run.trainer.dump())
    result = take_figures(run)
    seconds, explainer = time.monotonic() - run.started, _explainer(run)
    # A resumed run has its earlier epochs behind it.
    run.seconds = max(seconds, sum(row["seconds"] for row in run.rows))
    write_page(run.report, result, run.best, explainer, seconds=seconds)
    draw_plots(run.folder.path, result, explainer)
    write_atomically(run.folder.summary, summary(run))


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
            f"no temperature scaling: it takes {FEWEST} photos of the selection split, which has "
            f"{len(splits.selection)}"
        )
    elif run.recipe.calibrate:
        measured[TEMPERATURE] = fit_temperature(run.predict(splits.selection, "selection"))
        arrays = temper(arrays, measured[TEMPERATURE])
        trainer.load(arrays)
    name = splits.held_out.name
    for split, label in (
        (sample(splits.train, TRAIN_SAMPLE, run.recipe.seed), "a sample of train"),
        (splits.selection, "selection"),
        (splits.held_out, "held out"),
    ):
        predictions = run.predict(split, label)
        run.figures[split.name] = measure(predictions)
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
        for part, metrics in run.figures.items()
        for figure in ("top1", "top5", "loss", "images")
    }
    run.config = dataclasses.replace(config, metrics=measured)
    store.save(run.best, run.config, arrays)
    return Result.of(str(run.best), run.job.data, splits.held_out, run.config, predictions)


def _explainer(run: Run) -> Explainer | None:
    """What draws Grad-CAM; None for networks that no engine here has."""
    try:
        found = load_feature_map(run.best)
    except SpecError:
        return None
    return Explainer(found.maps, partial(class_weights, found.config.spec, found.arrays))


def summary(run: Run) -> str:
    """Return ``summary.md``: what was done and how well, in words."""
    recipe, spec, rows, figures = run.recipe, run.config.spec, run.rows, run.figures
    result = figures[run.held_out]
    part = (
        f"what follows the first {recipe.cache.blocks} blocks"
        if recipe.trained == "later"
        else "the network"
    )
    how = f"{counted(run.epochs, 'epoch')} of {part}" if run.epochs else "only a new classifier"
    moved = bool(rows) and best_epoch(rows) > 0
    if rows and not moved:
        how += (
            ", none with a lower temperature-scaled selection loss "
            f"(n = {figures['selection'].images}) than the new classifier alone, whose checkpoint "
            "is kept"
        )
    lines = [
        f"# {run.folder.path.name}",
        "",
        f"A {kind(spec)} of width {spec.width:g} at {spec.size[0]} x "
        f"{spec.size[1]} pixels ({parameters(spec):,} parameters, "
        f"{multiply_adds(spec):,} multiply-adds), trained on {run.job.data} in "
        f"{run.seconds / 60:.1f} minutes: {how}.",
        "",
        f"Top-1 accuracy on {run.held_out}, which is used for neither training nor selection: "
        f"{result.top1:.1%} (n = {result.images}, 95% interval {interval(result.top1_interval)}).",
        "",
        *_table(figures, top5=spec.classes > 5),
        "",
        _advice(figures["train"], result, moved),
        "",
        _weakest(result),
        "",
        f"All of it on one page, with the most confident errors: {run.report.name}",
        "",
        "![curves](curves.png)" if rows else "",
        "![confusion](confusion.png)",
        "![classes](classes.png)",
        "![reliability](reliability.png)",
        "",
    ]
    return "\n".join(lines)


def _table(figures: dict[str, Metrics], top5: bool) -> list[str]:
    """A row for each part. Five answers out of five classes are always enough: no top-5 then."""
    header = ["photos", "number", "top-1", *(["top-5"] if top5 else []), "loss"]
    rows = [header, ["---"] * len(header)]
    for part, metrics in figures.items():
        shares = [metrics.top1, *([metrics.top5] if top5 else [])]
        cells = [part, str(metrics.images), *(f"{share:.1%}" for share in shares)]
        rows.append([*cells, f"{metrics.loss:.3f}"])
    return [f"| {' | '.join(row)} |" for row in rows]


def _advice(train: Metrics, held_out: Metrics, moved: bool) -> str:
    gap = train.top1 - held_out.top1
    if gap > CLOSE:
        more = (
            "more photos or stronger augmentation would help more than more epochs"
            if moved
            else f"more photos would help, and with at least {FEW} to train on the default moves "
            "the whole network"
        )
        return (
            f"Overfitting: top-1 accuracy on training photos is {100 * gap:.0f} points higher than "
            f"on new ones; {more}."
        )
    if moved and train.top1 < 0.9:
        return (
            "Underfitting: top-1 accuracy on training photos is below 90%; more epochs would help."
        )
    return (
        "No overfitting: top-1 accuracy on new photos is about that on training photos or higher."
    )


def _named(name: str) -> str:
    return html.escape(visible(name), quote=False)


def _weakest(metrics: Metrics) -> str:
    found = [(row.recall, index) for index, row in enumerate(metrics.classes) if row.photos]
    parts = []
    for recall, index in sorted(found)[:3]:
        if recall == 1:
            continue
        row, answers = metrics.classes[index], metrics.confusion[index].copy()
        answers[index] = 0
        taken_for = metrics.classes[int(answers.argmax())].name
        parts.append(
            f"{_named(row.name)} (recall {recall:.0%}, n = {row.photos}, most often predicted as "
            f"{_named(taken_for)})"
        )
    return (
        f"Weakest classes: {'; '.join(parts)}."
        if parts
        else f"Every class has a recall of 100% (n = {metrics.images})."
    )
