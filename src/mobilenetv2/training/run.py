"""Training runs: the public function ``train`` and the steps of a run."""

import math
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mobilenetv2.data.dataset import Dataset, Photo, absolute_place, open_dataset
from mobilenetv2.data.scan import check_classes, check_dataset
from mobilenetv2.errors import (
    DataError,
    ImageError,
    MobileNetV2Error,
    RecipeError,
    RunError,
    argument,
)
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.networks.given_model import Trained
from mobilenetv2.progress import say
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import counted
from mobilenetv2.training.checkpoint import Checkpoint
from mobilenetv2.training.choices import PUBLISHED, check_group, choose_job, locate_weights
from mobilenetv2.training.distributed import ALONE, TORCHRUN, Group, Launch, Launcher, joined
from mobilenetv2.training.finalise import finalise
from mobilenetv2.training.folder import (
    RunFolder,
    new_run,
    open_run,
    require_tensorboard,
)
from mobilenetv2.training.initial_model import (
    fit_head,
    initial_model,
    rebased,
    trained_origin,
    untrained,
)
from mobilenetv2.training.inputs import least_for_training, open_teacher
from mobilenetv2.training.job import Job, Run
from mobilenetv2.training.loop import fit, out_of_memory_guard
from mobilenetv2.training.recipe import Recipe, check_edition, check_start
from mobilenetv2.training.recipe_file import Changes
from mobilenetv2.training.splits import Splits, check_same_photos, choose, divide, epoch_photos
from mobilenetv2.training.steps import TrainedEdition, TrainerModule, find_steps
from mobilenetv2.training.threads import check_deterministic, one_thread
from mobilenetv2.training.trials import describe_time, find_rate, measure_times


def train(
    data: str | PathLike[str], output: str | PathLike[str] | None = None, *,
    weights: str | PathLike[str] | Trained | None = PUBLISHED,
    recipe: str | PathLike[str] | Recipe | None = None, changes: Changes = (),
    epochs: int | None = None, minutes: float | None = None, seed: int | None = None,
    find_rate: bool = False, edition: TrainedEdition | None = None, device: str = "cpu",
    resume: bool = False, overwrite: bool = False, private: bool = False,
    ignore: str | Sequence[str] = (), zip_encoding: str | None = None,
    deterministic: bool = False, on: str | None = None, workers: int | None = None,
) -> Run:  # fmt: skip
    """Train a classifier on a folder of photos, and measure it on a test split.

    A part of ``train/`` becomes the validation split, which selects the checkpoint. ``validation/``
    (else ``test/``, else a part of all photos) is the test split, used once, for the final figures.

    The first Ctrl-C saves and stops, also in a notebook; the second one aborts. Outside the main
    thread, Ctrl-C does not stop the training.

    In a program that ``torchrun`` started, all processes call it and train one network together;
    the first one writes the run folder (docs/distributed.md).

    Args:
        data: a folder of class folders, or a folder with ``train/``, ``validation/`` and
            ``test/``; an archive of either; a table of photos and labels (.csv, .tsv, .jsonl,
            .parquet); or 'digits', which is built in.
        output: the run folder, which is created. Default: ``runs/NAME``, named after the data, and
            numbered if it exists.
        weights: the model to start from: a model folder, a name of ``list_models``, or
            'hf://OWNER/NAME', or an earlier run. For a network in memory, save it first
            (``mn.save``). None and 'none' train from scratch. Default: published ImageNet
            weights; for 'digits', training from scratch.
        recipe: the name of a recipe, a TOML file, or a ``Recipe``. Default: 'finetune', adapted to
            the photos, if there are weights; else 'scratch'.
        changes: keys of the recipe to change, such as ``{"optimizer.learning_rate": 0.01}``, or
            texts such as "optimizer.learning_rate=0.01". docs/recipe.md lists all keys.
        epochs: passes over the training photos. Default: the recipe's value.
        minutes: training time in minutes, which sets the number of epochs for this machine.
        seed: seed of all random numbers. Default: the recipe's value.
        find_rate: take the learning rate from a short trial. Default: False.
        edition: the framework that trains: 'torch' (default), 'keras' or 'jax'.
        device: 'cpu' (default), 'cuda', 'cuda:1' or 'mps'. With ``torchrun``, 'cuda' is a GPU for
            each process.
        resume: continue the interrupted run in ``output``, with its own recipe, weights and
            edition. Default: False.
        overwrite: replace an existing run. Default: False.
        private: leave photos, their names and paths out of report.html, summary.md and the
            figures, so that they can be shared. split.csv, start.json, recipe.toml and
            checkpoint.safetensors still name photos or paths. Default: False.
        ignore: patterns of names of files and folders that are passed over, such as "raw*" or
            "hat/old"; a pattern with a '/' is matched with the path below the data.
        zip_encoding: encoding of names in an archive that are not marked as UTF-8, such as 'gbk'.
            Default: UTF-8, else code page 437.
        deterministic: compute in one thread, so that the numbers of cores and threads do not
            change a bit of the result; for edition 'torch' on device 'cpu'. Default: False.
        on: 'ray' or 'ray://HOST:PORT' to train by Ray, on this machine or on a cluster, all of
            whose machines reach ``data`` and ``output`` (docs/distributed.md). Default: here.
        workers: number of Ray's processes, which train one network together. Default: 1.

    Returns:
        The finished run: ``best`` is the model folder, ``metrics`` has the final figures,
        ``summary`` is a short text about the result, ``report`` is the path of the full report.

    Raises:
        MobileNetV2Error: an argument or the data is invalid; nothing was written.
        errors.Stopped: Ctrl-C, a ``KeyboardInterrupt``. Everything is saved; ``resume`` continues.

    Example:
        >>> run = mn.train(photos, "shoes", weights="embedded", recipe="head-only")
        >>> print(run.summary)
        # shoes
        ... of 4 new photos were classified correctly ...
        >>> run.best
        PosixPath('shoes/best')
        >>> run.metrics["validation.images"]
        4.0
    """

    options: dict[str, Any] = {
        "weights": weights, "recipe": recipe, "changes": changes, "epochs": epochs,
        "minutes": minutes, "seed": seed, "find_rate": find_rate, "edition": edition,
        "device": device, "resume": resume, "overwrite": overwrite, "private": private,
        "ignore": ignore, "zip_encoding": zip_encoding, "deterministic": deterministic,
    }  # fmt: skip
    if on is not None:
        from mobilenetv2.training.ray import train_on

        count = 1 if workers is None else workers
        return train_on(on, count, data, output, options, train_here)
    if workers is not None:
        raise MobileNetV2Error(
            f"{argument('workers')} is the number of Ray's processes; give {argument('on', 'ray')}"
            ", too, or start this command by torchrun"
        )
    return train_here(data, output, options)


KEPT = ("device", "private", "ignore", "zip_encoding")
"""Options of a run that also hold when it is continued."""


def train_here(
    data: str | PathLike[str], output: str | PathLike[str] | None, options: Mapping[str, Any],
    launcher: Launcher = TORCHRUN,
) -> Run:  # fmt: skip
    """Train in this process, together with others if a launcher started them.

    Args:
        data: as in :func:`train`, as are the next two.
        output: the run folder, or None.
        options: the other arguments of :func:`training.choices.choose_job`, by name.
        launcher: what started the processes. Default: ``torchrun``, if it did.

    Returns:
        The finished run.

    Raises:
        MobileNetV2Error: an argument or the data is invalid; nothing was written.
        Stopped: Ctrl-C. Everything is saved; ``resume`` continues.
    """

    def chosen(place: Launch | None) -> Job:
        if goes_on(output, place, options):
            kept = {name: options[name] for name in KEPT}
            return choose_job(data, output, resume=True, **kept)
        return choose_job(data, output, **options)

    with joined(options["device"], launcher) as group:
        job = group.first(lambda: chosen(group.place))
        launch = launch_of(group.place, options) if group.place else ""
        return carry_out(replace(job, device=group.device, launch=launch), group)


def launch_of(place: Launch, options: Mapping[str, Any]) -> str:
    """Return the name of a job of ``torchrun`` and a hash of what it was asked to do.

    The name alone may return, as a fixed ``--rdzv-id`` does, with other options.
    """
    plain = (str, int, float, bool, PathLike, dict, list, tuple, Recipe, type(None))
    asked = [
        f"{name}={value if isinstance(value, plain) else type(value).__name__!r}"
        for name, value in sorted(options.items())
        if name not in ("resume", "overwrite")
    ]
    return f"{place.job} {zlib.crc32(repr(asked).encode('utf-8', 'backslashreplace')):08x}"


def goes_on(
    output: str | PathLike[str] | None, place: Launch | None, options: Mapping[str, Any]
) -> bool:
    """Return True if ``torchrun`` started this job again, and its run is to be continued.

    A run that was finished before another process failed is measured again, from its checkpoint.
    The run of another job is left alone, whatever was restarted.

    Raises:
        RunError: a restart could not find its run folder.
    """
    if place is None:
        return False
    if output is None:
        if place.may_restart:
            raise RunError(
                "torchrun may start this training again, which then needs the name of its run "
                f"folder; give {argument('output')}"
            )
        return False
    folder = RunFolder(Path(output))
    if not folder.start.is_file():
        return False
    same = folder.read_start().launch == launch_of(place, options)
    if place.restarts and (same or options["resume"]):
        folder.summary.unlink(missing_ok=True)
        return True
    return same and not folder.summary.is_file()


def carry_out(job: Job, group: Group = ALONE) -> Run:
    """Carry out a job and return its finished run.

    Args:
        job: the job, the same in all processes but for the device.
        group: processes that train together. Default: this one alone.

    Raises:
        MobileNetV2Error: the job or its data is invalid; nothing was written.
        Stopped: Ctrl-C; ``resume`` continues.
    """
    with out_of_memory_guard("training"), ExitStack() as stack:
        started = time.monotonic()
        # Listing photos may take long, so the disk is tried first.
        group.first(lambda: _try_folder(job))
        steps = check_job(job)
        check_group(job, group)
        if job.deterministic:
            stack.enter_context(one_thread())
        dataset = open_dataset(job.data, job.ignore, job.zip_encoding)
        check_classes(dataset)
        place = group.first(lambda: stack.enter_context(_opened(job)).path)
        run = prepare(job, RunFolder(place), dataset, steps, started, group)
        if run.fits_head:
            fit_head(run)
        if job.find_rate and not job.resume:
            find_rate(run)
        if not job.resume:
            run.begin()
        with kept(run):
            if run.recipe.trained != "head":
                fit(run)
            finalise(run)
    return run


def _try_folder(job: Job) -> None:
    # The folder is given back, because it may lie among the photos, where it would look like a
    # class.
    if job.output:
        with open_run(job.output, job.resume, job.overwrite):
            pass


def _opened(job: Job) -> AbstractContextManager[RunFolder]:
    return open_run(job.output, job.resume, job.overwrite) if job.output else new_run(job.data)


@contextmanager
def kept(run: Run) -> Iterator[None]:
    """Add to the error of a photo that is gone or damaged that the run can be continued."""
    try:
        yield
    except ImageError as error:
        raise ImageError(
            f"{error}; the run is kept: restore the photo as it was, and continue with "
            f"{argument('output', str(run.folder))} and {argument('resume', True)}"
        ) from None


class Prepared(NamedTuple):
    """Results of the first process's work before the first step, for all processes."""

    job: Job
    recipe: Recipe
    config: ModelConfig
    arrays: Arrays
    parts: tuple[tuple[str, tuple[Photo, ...]], ...]
    """Name and photos of the training, validation and test split."""
    saved: Checkpoint | None


def prepare(
    job: Job, folder: RunFolder, dataset: Dataset, steps: TrainerModule, started: float,
    group: Group = ALONE,
) -> Run:  # fmt: skip
    """Return the run of a job, after reading and checking photos and weights.

    Nothing is written.

    Args:
        job: the job.
        folder: the run folder.
        dataset: the photos, as this process sees them.
        steps: the training steps of the job's edition.
        started: time of the start, in seconds of a monotonic clock.
        group: processes that train together. Default: this one alone.

    Raises:
        MobileNetV2Error: the job or its data is invalid.
    """
    found = group.first(lambda: _prepared(job, folder, dataset))
    recipe, config, device = found.recipe, found.config, job.device
    splits = seen_here(dataset, found.parts)
    teacher = None
    if recipe.distillation.teacher:
        channels = config.spec.input_channels
        teacher = open_teacher(
            recipe.distillation.teacher, dataset.classes, channels, 1 if job.deterministic else None
        )
        recipe = recipe if job.resume else found_again(recipe)
    trainer = steps.make_trainer(config, found.arrays, recipe, device)
    check_parts(recipe, len(splits.train), group)
    if len(kinds := {*group.gather(trainer.precision)}) > 1:
        raise RecipeError(
            f"the processes would compute in {' and '.join(sorted(kinds))}; set "
            "computation.precision=float32"
        )
    trainer.join(group)
    run = Run(
        replace(found.job, device=device), folder, recipe, config, splits, trainer, teacher,
        found.saved, started=started, group=group,
    )  # fmt: skip
    if not job.resume:
        resolve_recipe(run)
    return run


def seen_here(dataset: Dataset, parts: Iterable[tuple[str, tuple[Photo, ...]]]) -> Splits:
    """Return the splits of a run on this process's own copy of the data.

    Args:
        dataset: the data, as this process sees it.
        parts: name and photos of each split, as the first process has checked them.

    Raises:
        DataError: a photo is missing here.
    """
    some = next(iter(dataset.splits.values()))
    made = [some.with_photos(photos, name) for name, photos in parts]
    have = {photo.name for split in dataset.splits.values() for photo in split.photos}
    lacking = [photo.name for split in made for photo in split.photos if photo.name not in have]
    if lacking:
        raise DataError(
            f"{dataset.place}: lacks {counted(len(lacking), 'photo')} that the first process has "
            f"(first: {lacking[0]}); all machines need the same data"
        )
    return Splits(*made)


def check_parts(recipe: Recipe, photos: int, group: Group) -> None:
    """Raise RecipeError if a batch has too few photos for the processes."""
    batch = min(recipe.batch_size, photos)
    if group.size > 1 and batch < 2 * group.size and recipe.trained != "head":
        raise RecipeError(
            f"{group.size} processes share each batch of {batch} photos and need two each; set "
            f"batch_size to {2 * group.size} or more, or start fewer processes"
        )


def _prepared(job: Job, folder: RunFolder, dataset: Dataset) -> Prepared:
    """Read and check photos and weights."""
    recipe = job.recipe
    saved = folder.read_checkpoint(recipe, dataset.classes) if job.resume else None
    if saved:
        config, arrays = saved.config, untrained(saved.config.spec, recipe)
    else:
        job = replace(job, weights=locate_weights(job))
        config, arrays = initial_model(_folder_of(job), recipe, dataset.classes)
    least = least_for_training(recipe, config.preprocessing)
    readable = check_dataset(dataset, recipe.data.most_unreadable, least)
    for note in readable.notes:
        say(note)
    splits = divide(readable, recipe)
    say(
        f"{len(dataset.classes)} classes, {len(splits.train)} photos to train on (training split), "
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
    if recipe.data.shuffle != "whole":
        epoch_photos(splits.train, np.zeros(0), recipe, 0)  # raises where the photos have no runs
    if not saved:
        name = "" if job.private else Path(absolute_place(job.data)).name
        origin = trained_origin(config, _folder_of(job), len(splits.train), name)
        config = replace(config, origin=origin)
        if origin.needs_own_photos:
            config, arrays = rebased(config, arrays, splits.train)
    parts = tuple((split.name, split.photos) for split in splits.parts)
    return Prepared(job, recipe, config, arrays, parts, saved)


def _folder_of(job: Job) -> Path | None:
    return None if job.weights is None else Path(job.weights)


def found_again(recipe: Recipe) -> Recipe:
    """Return the recipe with the teacher's absolute path, for a resumed run.

    Links are not followed: an exported file needs the suffix and the neighbours of the link.
    """
    teacher = Path(recipe.distillation.teacher).absolute()
    return recipe.changed({"distillation.teacher": str(teacher)})


def resolve_recipe(run: Run) -> None:
    """Replace precision 'auto' and ``minutes`` by values for this machine; print the expected
    time."""
    recipe, precision = run.recipe, run.trainer.precision
    if recipe.trained != "head" and recipe.computation.precision == "auto":
        run.recipe = recipe.changed({"computation.precision": precision})
        if precision == "bfloat16":
            say("precision bfloat16: this hardware supports it")
    times = measure_times(run)
    if run.job.minutes is not None:
        run.recipe = run.recipe.changed({"epochs": times.epochs(run.job.minutes)})
    say(describe_time(times, run.recipe))


def check_job(job: Job) -> TrainerModule:
    """Return the training steps of a job's edition, after checking the job without its photos.

    Raises:
        MobileNetV2Error: the recipe, edition or device is impossible.
    """
    check_start(job.recipe, job.weights is not None)
    if job.minutes is not None and not 0 < job.minutes < math.inf:
        raise RecipeError(f"minutes {job.minutes:g} must be a number above 0")
    if job.find_rate and job.recipe.trained == "head":
        raise RecipeError(
            f"{argument('find_rate', True)} needs training steps, and trained = 'head' has "
            "none; leave it out"
        )
    if job.deterministic:
        check_deterministic(job.edition, job.device, job.minutes)
    if job.recipe.tensorboard:
        require_tensorboard()
    steps = find_steps(job.edition)
    check_edition(job.recipe, job.edition)
    steps.check_device(job.device)
    return steps
