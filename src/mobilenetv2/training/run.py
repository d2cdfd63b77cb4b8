"""A whole training run, to be read from top to bottom."""

import math
import time
from pathlib import Path

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.data.scan import check_classes, check_dataset
from mobilenetv2.errors import RecipeError
from mobilenetv2.progress import say
from mobilenetv2.training.finalise import finalise
from mobilenetv2.training.folder import open_run, require_tensorboard
from mobilenetv2.training.initial_model import fit_head, initial_model, rebased, untrained
from mobilenetv2.training.inputs import open_teacher
from mobilenetv2.training.job import Job, Run
from mobilenetv2.training.loop import fit, out_of_memory_guard
from mobilenetv2.training.recipe import Recipe, check_edition, check_start
from mobilenetv2.training.splits import check_same_photos, choose, divide
from mobilenetv2.training.steps import TrainerModule, find_steps
from mobilenetv2.training.trials import describe_time, find_rate, measure_times


def train(job: Job) -> Run:
    """Do the whole job.

    Raises:
        MobileNetV2Error: anything that is the input's fault, before anything is written.
        training.loop.Stopped: Ctrl-C; ``resume`` goes on.
    """
    with out_of_memory_guard("training"):
        run = prepare(job)
        if run.fits_head:
            fit_head(run)
        if job.find_rate and not job.resume:
            find_rate(run)
        if not job.resume:
            run.begin()
        if run.recipe.trained != "head":
            fit(run)
        finalise(run)
    return run


def prepare(job: Job) -> Run:
    """Look at everything and raise what is the input's fault; nothing is written."""
    started = time.monotonic()
    folder = open_run(job.output, job.resume, job.overwrite)
    steps, recipe = check_job(job), job.recipe
    dataset = open_dataset(job.data)
    check_classes(dataset)
    saved = folder.read_checkpoint(recipe) if job.resume else None
    if saved:
        config, arrays = saved.config, untrained(saved.config.spec, recipe)
    else:
        config, arrays = initial_model(job.weights, recipe, dataset.classes)
    readable = check_dataset(dataset, recipe.data.most_unreadable)
    for note in readable.notes:
        say(note)
    splits = divide(readable, recipe)
    say(
        f"{len(splits.train)} photos of {len(dataset.classes)} classes to train on, "
        f"{len(splits.selection)} for selection, {len(splits.held_out)} for the final figures "
        f"({splits.held_out.name})"
    )
    if job.resume:
        check_same_photos(folder, splits.parts, job.data)
    elif job.kept is not None:
        recipe, reasons = choose(splits.train, recipe, job.kept, config.spec.size)
        for reason in reasons:
            say(reason)
        config, arrays = initial_model(job.weights, recipe, dataset.classes)
    if not saved and config.origin and config.origin.needs_own_photos:
        config, arrays = rebased(config, arrays, splits.train)
    teacher = None
    if recipe.distillation.teacher:
        channels = config.spec.input_channels
        teacher = open_teacher(recipe.distillation.teacher, dataset.classes, channels)
        recipe = recipe if job.resume else found_again(recipe)
    trainer = steps.make_trainer(config, arrays, recipe, job.device)
    run = Run(job, folder, recipe, config, splits, trainer, teacher, saved, started=started)
    if not job.resume:
        resolve_recipe(run)
    return run


def found_again(recipe: Recipe) -> Recipe:
    """Return the recipe with a teacher that a resumed run finds from anywhere.

    Links are not followed: what lies beside an exported file, and its suffix, are the link's.
    """
    teacher = Path(recipe.distillation.teacher).absolute()
    return recipe.changed({"distillation.teacher": str(teacher)})


def resolve_recipe(run: Run) -> None:
    """Replace precision 'auto' and ``--minutes`` by what they are on this machine; say how long
    the run takes."""
    recipe, precision = run.recipe, run.trainer.precision
    if recipe.trained != "head" and recipe.computation.precision == "auto":
        run.recipe = recipe.changed({"computation.precision": precision})
        if precision == "bfloat16":
            say("precision bfloat16: this processor computes in it")
    times = measure_times(run)
    if run.job.minutes is not None:
        run.recipe = run.recipe.changed({"epochs": times.epochs(run.job.minutes)})
    say(describe_time(times, run.recipe))


def check_job(job: Job) -> TrainerModule:
    """Refuse what cannot work before photos are looked at; return the steps of the edition."""
    check_start(job.recipe, job.weights is not None)
    if job.minutes is not None and not 0 < job.minutes < math.inf:
        raise RecipeError(f"--minutes {job.minutes:g} must be a number above 0")
    if job.find_rate and job.recipe.trained == "head":
        raise RecipeError(
            "--find-rate tries rates of steps, and trained = 'head' takes none; leave it out"
        )
    if job.recipe.tensorboard:
        require_tensorboard()
    steps = find_steps(job.edition)
    check_edition(job.recipe, job.edition)
    steps.check_device(job.device)
    return steps


__all__ = ["Job", "Run", "prepare", "train"]
