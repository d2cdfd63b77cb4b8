"""A whole training run: data, network, head, loop, the final figure, the summary."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilenetv2.data.check import Checked, check, check_classes
from mobilenetv2.data.dataset import ALL, Split, open_dataset
from mobilenetv2.data.partition import partition
from mobilenetv2.errors import DataError, RecipeError, RunError, require
from mobilenetv2.evaluate.accuracy import run as run_predictor
from mobilenetv2.evaluate.metrics import Metrics, measure
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.progress import say
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Origin, Preprocessing
from mobilenetv2.train import head, record
from mobilenetv2.train.checkpoint import Checkpoint
from mobilenetv2.train.loop import fit
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.record import RunFolder
from mobilenetv2.train.summary import Summary, summarise
from mobilenetv2.train.trainer import Trainer, find
from mobilenetv2.weights import store
from mobilenetv2.weights.canonical import Arrays
from mobilenetv2.weights.classifier import replace_classifier
from mobilenetv2.weights.initialisation import initialise

REBASED_ON = 256
"""Photos whose activations give a folded network its BatchNorm statistics."""
TRAIN_SAMPLE = 1000
"""Training photos on which the final figure is taken too, to show it beside the held-out one."""


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


@dataclass(frozen=True, slots=True)
class Splits:
    """What each photo is for."""

    train: Split
    selection: Split
    """Chooses the best epoch or the best penalty."""
    held_out: Split
    """Looked at once, at the end."""


def train(job: Job) -> Summary:
    """Do the whole job.

    Raises:
        MobileNetV2Error: anything that is the input's fault, before anything is written.
        train.loop.Stopped: Ctrl-C; ``resume`` goes on.
    """
    started = time.monotonic()
    run = record.open_run(job.output, job.resume, job.overwrite)
    recipe = job.recipe
    if job.resume and run.summary.is_file():
        raise RunError(f"{job.output}: this run is finished; its model is {run.best}")
    if recipe.trained == "head" and job.weights is None:
        raise RecipeError(
            "trained = 'head' fits a classifier on the features of given weights; give --weights, "
            "or train from scratch with trained = 'all'"
        )
    framework = find(job.edition)
    framework.check(recipe, job.device)
    dataset = open_dataset(job.data)
    check_classes(dataset)
    resumable = job.resume and run.checkpoint.is_file()
    if resumable:
        config = Checkpoint.read(run.checkpoint).config
        arrays = initialise(parameter_shapes(config.spec), recipe.initialisation, recipe.seed)
    else:
        config, arrays = starting_point(job, recipe, dataset.classes)
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
    if not resumable and config.origin and config.origin.folded:
        config, arrays = rebased(config, arrays, splits.train)
    trainer = framework.make(config, arrays, recipe, job.device)
    if not job.resume:  # last of all: whatever can refuse has not
        record.start(run, job.data, job.weights, recipe, parts, job.edition)
    rows: list[dict[str, float]] = []
    fitted: head.Head | None = None
    if not resumable and job.weights and (recipe.trained == "head" or recipe.head_first):
        fitted = fit_head(trainer, config, splits)
    if recipe.trained == "all":
        rows = fit(trainer, config, splits.train, splits.selection, recipe, run, resumable)
    if not rows:
        store.save(run.best, config, trainer.dump())
        store.save(run.last, config, trainer.dump())

    config, arrays = store.load(run.best)
    trainer.load(arrays)
    if fitted and not rows:  # its figures are known from the cached features
        figures = {"train": fitted.train, "selection": fitted.selection}
    else:
        sample = some(splits.train, TRAIN_SAMPLE, recipe.seed)
        figures = {
            "train": evaluate(trainer, config, sample, "a sample of train"),
            "selection": evaluate(trainer, config, splits.selection, "selection"),
        }
    figures[splits.held_out.name] = evaluate(trainer, config, splits.held_out, "held out")
    measured = {
        f"{part}.{name}": getattr(metrics, name)
        for part, metrics in figures.items()
        for name in ("top1", "top5", "loss", "images")
    }
    config = dataclasses.replace(config, metrics={k: float(v) for k, v in measured.items()})
    store.save(run.best, config, arrays)
    held_out = figures[splits.held_out.name]
    run.write_pictures(
        held_out, f"{splits.held_out.name}: {held_out.top1:.1%} of {len(splits.held_out)}"
    )
    seconds = time.monotonic() - started
    return summarise(run, job.data, config, figures, splits.held_out.name, rows, seconds)


def check_same_photos(run: RunFolder, parts: tuple[Split, ...], data: str) -> None:
    """A resumed run goes on with the photos that it was begun with.

    Raises:
        RunError: some were added, removed or moved.
    """
    before = record.read_split(run.split)
    now = {photo.name: part.name for part in parts for photo in part.photos}
    changed = sorted(
        name for name in before.keys() | now.keys() if before.get(name) != now.get(name)
    )
    if changed:
        raise RunError(
            f"{data}: {len(changed)} photos are not as they were when {run.path} was begun "
            f"(first: {changed[0]}); put them back or begin a new run"
        )


def divide(checked: Checked, recipe: Recipe) -> Splits:
    """Split off what the data does not bring: a final held-out part, and a part to choose by.

    Raises:
        DataError: too few photos of a class to hold any out.
    """
    splits, place = checked.dataset.splits, checked.dataset.place
    if ALL in splits or set(splits) == {"train"}:
        whole = splits.get(ALL) or splits["train"]
        rest, held_out = partition(
            whole, recipe.validation, recipe.seed, ("train", "validation"), checked.digests
        )
    elif "train" in splits:
        rest, held_out = splits["train"], splits.get("validation") or splits["test"]
    else:
        raise DataError(f"{place}: has {' and '.join(splits)} but no train folder to learn from")
    train, selection = partition(
        rest, recipe.selection, recipe.seed + 1, ("train", "selection"), checked.digests
    )
    for split in (train, selection, held_out):
        for name, count in zip(split.classes, split.counts(), strict=True):
            if count == 0:
                raise DataError(
                    f"{place}: class {name!r} has too few different photos to train on, to choose "
                    "by and to hold out; give it at least 3, better 30"
                )
    return Splits(train, selection, held_out)


def starting_point(
    job: Job, recipe: Recipe, classes: tuple[str, ...]
) -> tuple[ModelConfig, Arrays]:
    """Given weights with a new classifier, or a network from scratch: alike in every edition."""
    labels = Labels(classes)
    if job.weights is None:
        changes = {"size": recipe.size} if recipe.size else {}
        spec = published(
            recipe.network, width=recipe.width, classes=len(classes), background=None, **changes
        )
        seen = Preprocessing.default(spec)
        if recipe.view == "largest":
            seen = seen.largest()
        config = ModelConfig(spec, seen, labels, Origin("trained here"))
        shapes = parameter_shapes(spec)
        return config, initialise(shapes, recipe.initialisation, recipe.seed)
    config, arrays = store.load(job.weights)
    size = recipe.size or config.spec.size
    seen = config.preprocessing.at(size)
    config = dataclasses.replace(
        config,
        spec=config.spec.replace(size=size),
        preprocessing=seen.largest() if recipe.view == "largest" else seen,
    )
    return replace_classifier(config, arrays, labels, recipe.initialisation, recipe.seed)


def some(split: Split, count: int, seed: int) -> Split:
    """At most ``count`` photos of a split, chosen reproducibly."""
    if len(split) <= count:
        return split
    chosen = np.random.default_rng([seed, 2]).choice(len(split), count, replace=False)
    return split.with_photos(tuple(split.photos[index] for index in sorted(chosen)))


def rebased(config: ModelConfig, arrays: Arrays, train: Split) -> tuple[ModelConfig, Arrays]:
    """Give a network whose BatchNorm came folded the statistics of some training photos.

    Raises:
        MissingExtra: PyTorch, in which it is done for every edition, is not installed.
    """
    require("torch")
    from mobilenetv2.editions import torch as edition
    from mobilenetv2.editions.torch.inference import normalise
    from mobilenetv2.train.batchnorm import rebase

    sample = some(train, REBASED_ON, 0)
    say(f"BatchNorm came folded: rebasing it on {len(sample)} photos")
    photos = [preprocess(sample.image(p), config.preprocessing) for p in sample.photos]
    network = edition.MobileNetV2(config, seed=0)
    edition.load(network, arrays)
    rebase(
        network,
        (
            normalise(np.stack(photos[i : i + 32]), config.preprocessing)
            for i in range(0, len(photos), 32)
        ),
    )
    assert config.origin is not None
    note = f"{config.origin.note} Rebased on measured activations.".strip()
    origin = dataclasses.replace(config.origin, folded=False, note=note)
    return dataclasses.replace(config, origin=origin), edition.dump(network)


def fit_head(trainer: Trainer, config: ModelConfig, splits: Splits) -> head.Head:
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
    return fitted


def evaluate(trainer: Trainer, config: ModelConfig, split: Split, label: str) -> Metrics:
    """The network in evaluation mode on a split."""
    logits, labels = run_predictor(trainer.predictor(), split, config.preprocessing, label)
    return measure(logits, labels, split.classes)


__all__ = ["Job", "RunFolder", "Summary", "train"]
