"""A whole training run: a plan, head, loop, the final figure, the summary."""

import time

from mobilenetv2.model import store
from mobilenetv2.train import record, report
from mobilenetv2.train.epochs import Row
from mobilenetv2.train.figures import take_figures
from mobilenetv2.train.loop import fit
from mobilenetv2.train.memory import guarded
from mobilenetv2.train.plan import Job, Plan, fit_head, make_plan
from mobilenetv2.train.record import RunFolder
from mobilenetv2.train.summary import Summary, summarise
from mobilenetv2.train.views import PhotoViews


def train(job: Job) -> Summary:
    """Do the whole job.

    Raises:
        MobileNetV2Error: anything that is the input's fault, before anything is written.
        train.interrupt.Stopped: Ctrl-C; ``resume`` goes on.
    """
    with guarded("training"):
        return _train(job)


def _train(job: Job) -> Summary:
    started = time.monotonic()
    run = record.open_run(job.output, job.resume, job.overwrite)
    plan = make_plan(job, run)
    if not job.resume:
        parts = plan.splits.parts
        computes = None if plan.recipe.trained == "head" else plan.trainer.computes
        record.start(run, job.data, job.weights, plan.recipe, parts, job.edition, computes)
        if plan.trial:
            run.write_trial(plan.trial.rates, plan.trial.losses, plan.trial.suggestion)
    rows = moved(plan, run)
    run.maps.unlink(missing_ok=True)
    if not rows:
        store.save(run.best, plan.config, plan.trainer.dump())
        store.save(run.last, plan.config, plan.trainer.dump())
    result, figures = take_figures(plan.trainer, plan.splits, plan.recipe, run, job.data)
    seconds = time.monotonic() - started
    report.show(run, result, seconds)
    held_out = plan.splits.held_out.name
    return summarise(run, job.data, plan.recipe, result.config, figures, held_out, rows, seconds)


def moved(plan: Plan, run: RunFolder) -> list[Row]:
    """Fit the head and go through the epochs that are left; a row of figures of each."""
    trainer, recipe, saved, splits = plan.trainer, plan.recipe, plan.saved, plan.splits
    first = fit_head(trainer, plan.config, splits) if plan.head_first else plan.first
    if recipe.trained == "head" or (saved and saved.finished(recipe)):
        return saved.rows if saved else []
    if saved:  # cached maps are what these weights make of the photos
        trainer.restore(saved.trainer)
    views = trainer.views(PhotoViews(splits.train, plan.config.preprocessing, recipe), run.maps)
    return fit(
        trainer, plan.config, splits.train, splits.selection, views, recipe, run, saved,
        plan.teacher, first,
    )  # fmt: skip


__all__ = ["Job", "RunFolder", "Summary", "train"]
