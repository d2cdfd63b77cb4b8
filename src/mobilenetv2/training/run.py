"""A whole training run, to be read from top to bottom."""

import math
import time
from contextlib import ExitStack
from dataclasses import replace
from os import PathLike
from pathlib import Path

from mobilenetv2.data.dataset import Dataset, open_dataset
from mobilenetv2.data.scan import check_classes, check_dataset
from mobilenetv2.errors import RecipeError
from mobilenetv2.progress import say
from mobilenetv2.training.choices import PUBLISHED, choose_job, locate_weights
from mobilenetv2.training.finalise import finalise
from mobilenetv2.training.folder import RunFolder, new_folder, open_run, require_tensorboard
from mobilenetv2.training.initial_model import fit_head, initial_model, rebased, untrained
from mobilenetv2.training.inputs import open_teacher
from mobilenetv2.training.job import Job, Run
from mobilenetv2.training.loop import fit, out_of_memory_guard
from mobilenetv2.training.recipe import Recipe, check_edition, check_start
from mobilenetv2.training.recipe_file import Changes
from mobilenetv2.training.splits import check_same_photos, choose, divide
from mobilenetv2.training.steps import TrainedEdition, TrainerModule, find_steps
from mobilenetv2.training.trials import describe_time, find_rate, measure_times


def train(
    data: str | PathLike[str], output: str | PathLike[str] | None = None, *,
    weights: str | PathLike[str] | None = PUBLISHED,
    recipe: str | PathLike[str] | Recipe | None = None, changes: Changes = (),
    epochs: int | None = None, minutes: float | None = None, seed: int | None = None,
    find_rate: bool = False, edition: TrainedEdition | None = None, device: str = "cpu",
    resume: bool = False, overwrite: bool = False, private: bool = False,
) -> Run:  # fmt: skip
    """Train a classifier on a folder of photos, and measure it on photos that it never saw.

    A part of ``train/`` becomes the validation split, which selects the checkpoint. ``validation/``
    (else ``test/``, else a part of all photos) is the test split, used once, for the final figures.

    The first Ctrl-C saves and stops, the second one aborts; so it is in a notebook. In another
    thread than the main one Ctrl-C does not reach the training.

    Args:
        data: a folder of class folders, or one with ``train/``, ``validation/`` and ``test/``; an
            archive of either; or 'digits', which is built in.
        output: the run folder, made new. Default: ``runs/NAME`` after the data, numbered where that
            exists.
        weights: the model to start from: a model folder, a name of ``list_models``, or
            'hf://OWNER/NAME'. None and 'none' train from scratch. Default: published ImageNet
            weights, but from scratch for 'digits'.
        recipe: the name of a recipe, a TOML file, or a ``Recipe``. Default: 'finetune' where there
            are weights, with keys that the photos choose; else 'scratch'.
        changes: keys of the recipe to change, such as ``{"optimizer.learning_rate": 0.01}``, or
            texts such as "optimizer.learning_rate=0.01". docs/recipe.md lists all keys.
        epochs: passes over the training photos; the recipe's key.
        minutes: train as many epochs as fit into so many minutes on this machine.
        seed: the recipe's key.
        find_rate: take the learning rate from a short trial.
        edition: the framework that trains: 'torch' (default), 'keras' or 'jax'.
        device: 'cpu', 'cuda', 'cuda:1' or 'mps'.
        resume: continue the interrupted run in ``output``, with its own recipe, weights and
            edition. Default: False.
        overwrite: replace an existing run. Default: False.
        private: leave photos, their names and places of files out of report.html, summary.md and
            the figures, so that they can be shared. split.csv, start.json, recipe.toml and
            checkpoint.safetensors still name photos or places. Default: False.

    Returns:
        The finished run: ``best`` is the model folder, ``metrics`` has the final figures,
        ``summary`` says it in words, ``report`` is the page.

    Raises:
        MobileNetV2Error: the input is at fault; nothing was written.
        errors.Stopped: Ctrl-C, a ``KeyboardInterrupt``. Everything is saved; ``resume`` continues.

    Example:
        >>> run = mn.train(photos, "shoes", weights="embedded", recipe="head-only")
        >>> print(run.summary)
        # shoes
        ... of 4 new photos were right ...
        >>> run.best
        PosixPath('shoes/best')
        >>> run.metrics["validation.images"]
        4.0
    """
    return carry_out(
        choose_job(
            data, output, weights=weights, recipe=recipe, changes=changes, epochs=epochs,
            minutes=minutes, seed=seed, find_rate=find_rate, edition=edition, device=device,
            resume=resume, overwrite=overwrite, private=private,
        )
    )  # fmt: skip


def carry_out(job: Job) -> Run:
    """Do the whole job.

    Raises:
        MobileNetV2Error: the input is at fault; nothing was written.
        Stopped: Ctrl-C; ``resume`` continues.
    """
    with out_of_memory_guard("training"), ExitStack() as stack:
        started = time.monotonic()
        folder = open_run(job.output, job.resume, job.overwrite) if job.output else None
        steps = check_job(job)
        dataset = open_dataset(job.data)
        check_classes(dataset)
        if folder is None:
            folder = RunFolder(stack.enter_context(new_folder(job.data)))
        run = prepare(job, folder, dataset, steps, started)
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


def prepare(
    job: Job, folder: RunFolder, dataset: Dataset, steps: TrainerModule, started: float
) -> Run:
    """Look at weights and photos and raise what is the input's fault; nothing is written."""
    recipe = job.recipe
    saved = folder.read_checkpoint(recipe) if job.resume else None
    if saved:
        config, arrays = saved.config, untrained(saved.config.spec, recipe)
    else:
        job = replace(job, weights=locate_weights(job))
        config, arrays = initial_model(_folder_of(job), recipe, dataset.classes)
    readable = check_dataset(dataset, recipe.data.most_unreadable)
    for note in readable.notes:
        say(note)
    splits = divide(readable, recipe)
    say(
        f"{len(splits.train)} photos of {len(dataset.classes)} classes to train on, "
        f"{len(splits.selection)} to select the checkpoint (validation split), "
        f"{len(splits.held_out)} for the final figures (test split)"
    )
    if job.resume:
        check_same_photos(folder, splits.parts, job.data)
    elif job.kept is not None:
        recipe, reasons = choose(splits.train, recipe, job.kept, config.spec.size)
        for reason in reasons:
            say(reason)
        config, arrays = initial_model(_folder_of(job), recipe, dataset.classes)
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


def _folder_of(job: Job) -> Path | None:
    return None if job.weights is None else Path(job.weights)


def found_again(recipe: Recipe) -> Recipe:
    """Return the recipe with a teacher that a resumed run finds from anywhere.

    Links are not followed: what lies beside an exported file, and its suffix, are the link's.
    """
    teacher = Path(recipe.distillation.teacher).absolute()
    return recipe.changed({"distillation.teacher": str(teacher)})


def resolve_recipe(run: Run) -> None:
    """Replace precision 'auto' and ``minutes`` by what they are on this machine; say how long the
    run takes."""
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
        raise RecipeError(f"minutes {job.minutes:g} must be a number above 0")
    if job.find_rate and job.recipe.trained == "head":
        raise RecipeError(
            "find_rate tries rates of steps, and trained = 'head' takes none; leave it out"
        )
    if job.recipe.tensorboard:
        require_tensorboard()
    steps = find_steps(job.edition)
    check_edition(job.recipe, job.edition)
    steps.check_device(job.device)
    return steps
