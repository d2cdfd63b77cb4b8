"""What a run is going to do: photos, network, recipe. Whatever can refuse does so here."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mobilenetv2.data.dataset import Split, open_dataset
from mobilenetv2.data.scan import check_classes, check_dataset
from mobilenetv2.errors import RecipeError
from mobilenetv2.evaluate.calibration import measure_tempered
from mobilenetv2.evaluate.predictions import Predictions, predict_split
from mobilenetv2.model.initialisation import initialise
from mobilenetv2.progress import say
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train import head, tensorboard
from mobilenetv2.train.checkpoint import Checkpoint
from mobilenetv2.train.choice import Choice, choose, choose_size
from mobilenetv2.train.epochs import Row, fitted_row
from mobilenetv2.train.finder import Trial, find_rate
from mobilenetv2.train.recipe import Cache, Distillation, Recipe, replace
from mobilenetv2.train.record import RunFolder
from mobilenetv2.train.speed import describe_time, measure_times
from mobilenetv2.train.splits import Splits, check_same_photos, divide
from mobilenetv2.train.start import rebased, starting_point
from mobilenetv2.train.targets import Teacher, open_teacher
from mobilenetv2.train.trainer import Trainer, TrainerModule, find
from mobilenetv2.train.views import PhotoViews


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
    minutes: float | None = None
    """As many epochs as fit into so many minutes on this machine, instead of the recipe's."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run begins with."""

    recipe: Recipe
    """As the data and the machine changed it."""
    config: ModelConfig
    trainer: Trainer
    splits: Splits
    teacher: Teacher | None
    head_first: bool
    """The classifier is still to be fitted on features of the network as it is."""
    first: Row | None
    """The figures of a classifier that is already fitted."""
    trial: Trial | None
    """Of learning rates, where one was asked for."""
    saved: Checkpoint | None
    """Where an interrupted run goes on."""


def make_plan(job: Job, run: RunFolder) -> Plan:
    """Look at everything; write nothing.

    Raises:
        MobileNetV2Error: anything that is the input's fault.
    """
    recipe, framework = job.recipe, checked(job)
    dataset = open_dataset(job.data)
    check_classes(dataset)
    saved = Checkpoint.of_run(run, recipe) if job.resume else None
    if saved:
        config = saved.config
        arrays = initialise(parameter_shapes(config.spec), recipe.initialisation, recipe.seed)
    else:
        config, arrays = starting_point(job.weights, recipe, dataset.classes)
    readable = check_dataset(dataset, recipe.most_unreadable)
    for note in readable.notes:
        say(note)
    splits = divide(readable, recipe)
    say(
        f"{len(splits.train)} photos of {len(dataset.classes)} classes to train on, "
        f"{len(splits.selection)} to choose by, {len(splits.held_out)} held out to the end "
        f"({splits.held_out.name})"
    )
    if job.resume:
        check_same_photos(run, splits.parts, job.data)
    kept = None if job.resume else job.kept
    if kept is not None:
        choice = said(choose_size(splits.train, recipe, kept, config))
        if choice.reasons:
            recipe = choice.recipe
            config, arrays = starting_point(job.weights, recipe, dataset.classes)
    if not saved and config.origin and config.origin.folded:
        config, arrays = rebased(config, arrays, splits.train)
    teacher = None
    if recipe.distillation.teacher:
        channels = config.spec.input_channels
        teacher = open_teacher(recipe.distillation.teacher, dataset.classes, channels)
        if not job.resume:
            recipe = replace(recipe, distillation=found_again(recipe.distillation))

    def make(recipe: Recipe) -> Trainer:
        return framework.make(config, arrays, recipe, job.device)

    if kept is not None and recipe.trained == "all":
        recipe = said(choose(splits.train, recipe, kept)).recipe
    trainer = make(recipe)
    head_first = bool(job.weights and (recipe.trained == "head" or recipe.head_first))
    if not job.resume:
        recipe = fixed_precision(recipe, trainer)
        times = measure_times(trainer, config, splits, recipe, teacher, head_first)
        if job.minutes is not None:
            recipe = replace(recipe, epochs=times.epochs(job.minutes))
            trainer = make(recipe)
        say(describe_time(times, recipe))
    trial, first = None, None
    if job.find_rate and not job.resume:
        if head_first:  # the run begins with a fitted classifier, and so does the trial
            first = fit_head(trainer, config, splits)
            arrays, head_first = trainer.dump(), False
        trial = tried(trainer, config, splits.train, recipe, teacher)
        recipe = replace(recipe, learning_rate=trial.suggestion)
        trainer = make(recipe)
    return Plan(
        recipe, config, trainer, splits, teacher, head_first and not saved, first, trial, saved
    )


def checked(job: Job) -> TrainerModule:
    """The framework that trains; whatever cannot work is refused before photos are looked at."""
    recipe = job.recipe
    if recipe.trained != "all" and job.weights is None:
        raise RecipeError(
            f"trained = {recipe.trained!r} builds on the features of given weights; give "
            "--weights, or train from scratch with trained = 'all'"
        )
    if recipe.frozen_blocks and job.weights is None:
        raise RecipeError(
            f"frozen_blocks = {recipe.frozen_blocks} keeps what given weights know; give "
            "--weights, or --set frozen_blocks=0"
        )
    if recipe.distillation.share and not recipe.distillation.teacher:
        raise RecipeError(
            f"distillation.share = {recipe.distillation.share:g} needs a teacher: --set "
            "distillation.teacher=RUN/best, a model folder or an exported file (or do without "
            "one: --set distillation.share=0)"
        )
    if recipe.distillation.teacher and not recipe.distillation.share:
        raise RecipeError(
            "distillation.teacher needs the share of its answers in the targets: --set "
            "distillation.share=0.7"
        )
    if job.minutes is not None and not 0 < job.minutes < math.inf:
        raise RecipeError(f"--minutes {job.minutes:g} must be a number above 0")
    if job.find_rate and recipe.trained == "head":
        raise RecipeError(
            "--find-rate tries rates of steps, and trained = 'head' takes none; leave it out"
        )
    if recipe.tensorboard:
        tensorboard.check()
    framework = find(job.edition)
    framework.check(recipe, job.device)
    return framework


def fixed_precision(recipe: Recipe, trainer: Trainer) -> Recipe:
    """Return the recipe with what 'auto' means on this processor: a run says what it was."""
    if recipe.trained == "head" or recipe.precision != "auto":
        return recipe
    precision = "bfloat16" if trainer.computes.startswith("bfloat16") else "float32"
    if precision == "bfloat16":
        say("precision bfloat16: this processor computes in it")
    return replace(recipe, precision=precision)


def found_again(distillation: Distillation) -> Distillation:
    """With a teacher that a resumed run finds from anywhere.

    Links are not followed: what lies beside an exported file, and its suffix, are the link's.
    """
    return dataclasses.replace(distillation, teacher=str(Path(distillation.teacher).absolute()))


def said(choice: Choice) -> Choice:
    """The choice, once its reasons are said."""
    for reason in choice.reasons:
        say(reason)
    return choice


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


def fit_head(trainer: Trainer, config: ModelConfig, splits: Splits) -> Row:
    """Fit the classifier on features that are computed once; its figures, as those of epoch 0."""
    features, seen = trainer.predictor("features"), config.preprocessing
    train = predict_split(features, splits.train, seen, "features of train")
    selection = predict_split(features, splits.selection, seen, "features of selection")
    fitted = head.fit(train, selection, splits.train.classes)
    classifier = {"classifier.weight": fitted.weight, "classifier.bias": fitted.bias}
    trainer.load(trainer.dump() | classifier)
    logits = selection[0] @ fitted.weight.T + fitted.bias
    tempered = measure_tempered(Predictions(logits, selection[1], splits.selection.classes))
    say(
        f"head on cached features: train top-1 {fitted.train.top1:.1%} | selection loss "
        f"{tempered.loss:.3f} top-1 {fitted.selection.top1:.1%} (C = {fitted.inverse_penalty:g})"
    )
    return fitted_row(fitted.train, tempered)
