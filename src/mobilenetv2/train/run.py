"""A whole training run: data, network, head, loop, the final figure, the summary."""

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mobilenetv2.data.check import check, check_classes
from mobilenetv2.data.dataset import Split, open_dataset
from mobilenetv2.errors import RecipeError, RunError
from mobilenetv2.evaluate.accuracy import run as run_predictor
from mobilenetv2.progress import say
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train import head, record, report, tensorboard
from mobilenetv2.train.checkpoint import Checkpoint
from mobilenetv2.train.choice import choose, choose_size
from mobilenetv2.train.epochs import Row
from mobilenetv2.train.figures import take_figures
from mobilenetv2.train.finder import Trial, find_rate
from mobilenetv2.train.loop import fit
from mobilenetv2.train.memory import guarded
from mobilenetv2.train.recipe import Cache, Recipe, replace
from mobilenetv2.train.record import RunFolder
from mobilenetv2.train.splits import Splits, check_same_photos, divide
from mobilenetv2.train.start import rebased, starting_point
from mobilenetv2.train.summary import Summary, summarise
from mobilenetv2.train.targets import Teacher, open_teacher
from mobilenetv2.train.trainer import Trainer, find
from mobilenetv2.train.views import PhotoViews
from mobilenetv2.weights import store
from mobilenetv2.weights.initialisation import initialise


@dataclass(frozen=True, slots=True)
class Job:
    """What to train, on what, and where to."""

    data: str
    output: Path
    weights: Path | None
    """A model folder to start from; None starts from scratch."""
    recipe: Recipe
    edition: str = "torch"
    """The framework that trains: 'torch', 'keras' or 'jax'."""
    device: str = "cpu"
    resume: bool = False
    overwrite: bool = False
    kept: frozenset[str] | None = None
    """Keys of the recipe that a person set; the others may be chosen by the data and the machine.
    None: nothing is chosen."""
    find_rate: bool = False
    """Take the learning rate from a trial."""


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
    recipe = job.recipe
    if job.resume and run.summary.is_file():
        raise RunError(f"{job.output}: this run is finished; its model is {run.best}")
    if recipe.trained != "all" and job.weights is None:
        raise RecipeError(
            f"trained = {recipe.trained!r} builds on the features of given weights; give "
            "--weights, or train from scratch with trained = 'all'"
        )
    if recipe.tensorboard:
        tensorboard.check()
    framework = find(job.edition)
    framework.check(recipe, job.device)
    dataset = open_dataset(job.data)
    check_classes(dataset)
    saved = Checkpoint.of_run(run, recipe) if job.resume else None
    if saved:
        config = saved.config
        arrays = initialise(parameter_shapes(config.spec), recipe.initialisation, recipe.seed)
    else:
        config, arrays = starting_point(job.weights, recipe, dataset.classes)
    checked = check(dataset, recipe.most_unreadable)
    for note in checked.notes:
        say(note)
    splits = divide(checked, recipe)
    say(
        f"{len(splits.train)} photos of {len(dataset.classes)} classes to train on, "
        f"{len(splits.selection)} to choose by, {len(splits.held_out)} held out to the end "
        f"({splits.held_out.name})"
    )

    parts = (splits.train, splits.selection, splits.held_out)
    if job.resume:
        check_same_photos(run, parts, job.data)
    if job.kept is not None and not job.resume:
        choice = choose_size(splits.train, recipe, job.kept, config)
        if choice.reasons:
            say(choice.reasons[0])
            recipe = choice.recipe
            config, arrays = starting_point(job.weights, recipe, dataset.classes)
    if not saved and config.origin and config.origin.folded:
        config, arrays = rebased(config, arrays, splits.train)
    teacher = None
    if recipe.distillation.teacher:
        channels = config.spec.input_channels
        teacher = open_teacher(recipe.distillation.teacher, dataset.classes, channels)

    def make(recipe: Recipe) -> Trainer:
        return framework.make(config, arrays, recipe, job.device)

    if job.kept is not None and not job.resume and recipe.trained == "all":
        choice = choose(splits.train, recipe, job.kept, config, make)
        recipe = choice.recipe
        for reason in choice.reasons:
            say(reason)
    trainer = make(recipe)
    headed = bool(job.weights and (recipe.trained == "head" or recipe.head_first))
    trial = None
    if job.find_rate and not job.resume and recipe.trained != "head":
        if headed:  # the run begins with a fitted classifier, and so does the trial
            fit_head(trainer, config, splits)
            arrays, headed = trainer.dump(), False
        trial = tried(trainer, config, splits.train, recipe, teacher)
        recipe = replace(recipe, learning_rate=trial.suggestion)
        trainer = make(recipe)
    if not job.resume:  # last of all: whatever can refuse has not
        record.start(run, job.data, job.weights, recipe, parts, job.edition)
        if trial:
            run.write_trial(trial.rates, trial.losses, trial.suggestion)
    rows: list[Row] = saved.rows if saved else []
    if headed and not saved:
        fit_head(trainer, config, splits)
    if recipe.trained != "head" and not (saved and saved.finished(recipe)):
        if saved:  # cached maps are what these weights make of the photos
            trainer.restore(saved.trainer)
        views = trainer.views(PhotoViews(splits.train, config.preprocessing, recipe), run.maps)
        rows = fit(
            trainer, config, splits.train, splits.selection, views, recipe, run, saved, teacher
        )
    run.maps.unlink(missing_ok=True)
    if not rows:
        store.save(run.best, config, trainer.dump())
        store.save(run.last, config, trainer.dump())

    result, figures = take_figures(trainer, splits, recipe, run, job.data)
    seconds = time.monotonic() - started
    report.show(run, result, seconds)
    return summarise(
        run, job.data, recipe, result.config, figures, splits.held_out.name, rows, seconds
    )


def tried(
    trainer: Trainer, config: ModelConfig, train: Split, recipe: Recipe, teacher: Teacher | None
) -> Trial:
    """A trial of learning rates; said."""
    # A trial sees each photo hardly once: one view of it is enough where maps are cached.
    once = replace(recipe, cache=Cache(recipe.cache.blocks, 1))
    with TemporaryDirectory() as folder:
        views = trainer.views(
            PhotoViews(train, config.preprocessing, once), Path(folder) / "maps.npy"
        )
        trial = find_rate(trainer, train, views, recipe, teacher)
    say(f"learning_rate {trial.suggestion:g}: a third of where the loss was lowest in a trial")
    return trial


def fit_head(trainer: Trainer, config: ModelConfig, splits: Splits) -> None:
    """Fit the classifier on features that are computed once."""
    features, seen = trainer.predictor("features"), config.preprocessing
    train = run_predictor(features, splits.train, seen, "features of train")
    selection = run_predictor(features, splits.selection, seen, "features of selection")
    fitted = head.fit(train, selection, splits.train.classes)
    classifier = {"classifier.weight": fitted.weight, "classifier.bias": fitted.bias}
    trainer.load(trainer.dump() | classifier)
    say(
        f"head on cached features: train top-1 {fitted.train.top1:.1%}, "
        f"selection {fitted.selection.top1:.1%} (C = {fitted.inverse_penalty:g})"
    )


__all__ = ["Job", "RunFolder", "Summary", "train"]
