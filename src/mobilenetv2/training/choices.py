"""Conversion of the arguments of ``train`` into a job: its recipe and its initial weights."""

import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import get_args

from mobilenetv2.data.dataset import BUILT_IN
from mobilenetv2.errors import (
    MobileNetV2Error,
    RecipeError,
    RunError,
    WeightsError,
    argument,
    recipe_key,
)
from mobilenetv2.hub.catalogue import DEFAULT
from mobilenetv2.hub.models import locate
from mobilenetv2.networks.given_model import Trained, path_or_name
from mobilenetv2.progress import say
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.text import several
from mobilenetv2.training.distributed import Group
from mobilenetv2.training.folder import find_run
from mobilenetv2.training.job import Job
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.recipe_file import Changes, keys_of, read_recipe
from mobilenetv2.training.steps import TrainedEdition

PUBLISHED, SCRATCH = "default", "none"
"""Values of ``weights``: the published weights (default), and none (training from scratch)."""
Place = str | PathLike[str]


def choose_job(
    data: Place, output: Place | None = None, *, weights: Place | Trained | None = PUBLISHED,
    recipe: str | PathLike[str] | Recipe | None = None, changes: Changes = (),
    epochs: int | None = None, minutes: float | None = None, seed: int | None = None,
    find_rate: bool = False, edition: TrainedEdition | None = None, device: str = "cpu",
    resume: bool = False, overwrite: bool = False, private: bool = False,
    ignore: str | Sequence[str] = (), zip_encoding: str | None = None,
    deterministic: bool = False,
) -> Job:  # fmt: skip
    """Return the job for the arguments of :func:`training.run.train`.

    The function reads neither photos nor weights, so that a wrong argument costs no download.

    Raises:
        MobileNetV2Error: an argument is unknown or impossible, or conflicts with another.
    """
    data, output = os.fspath(data), None if output is None else Path(output)
    if edition is not None and edition not in (known := get_args(TrainedEdition)):
        raise MobileNetV2Error(f"edition {edition!r} is unknown; {suggestion(str(edition), known)}")
    if resume:
        if output is None:
            raise RunError(
                f"{argument('resume', True)} needs the run folder to continue; give it as "
                f"{argument('output')}"
            )
        if overwrite:
            raise RunError(
                f"{argument('resume', True)} continues a run and {argument('overwrite', True)} "
                "replaces it; leave one out"
            )
        started = find_run(output, resume=True)
        _refuse_changes(
            weights=weights != PUBLISHED, recipe=recipe is not None, changes=bool(changes),
            epochs=epochs is not None, minutes=minutes is not None, seed=seed is not None,
            find_rate=find_rate, edition=edition is not None, deterministic=deterministic,
        )  # fmt: skip
        begun = started.read_start()
        return Job(
            data, output, begun.weights, read_recipe(started.recipe), begun.edition, device,
            resume=True, private=private or begun.private,
            ignore=tuple(several(ignore)) or begun.ignore,
            zip_encoding=zip_encoding or begun.zip_encoding, deterministic=begun.deterministic,
        )  # fmt: skip
    if overwrite and output is None:
        raise RunError(
            f"{argument('overwrite', True)} needs the run folder to replace; give it as "
            f"{argument('output')}"
        )
    start = _start(data, weights)
    chosen = _recipe(start is not None, data, recipe, changes, epochs, minutes, seed, find_rate)
    # Keys are adapted to the photos only if no recipe was given, and only keys that were not set.
    kept = None if recipe is not None or start is None else keys_of(changes)
    if kept is not None:
        kept |= {"epochs"} if (epochs, minutes) != (None, None) else set()
        kept |= {"optimizer.learning_rate"} if find_rate else set()
    return Job(
        data, output, start, chosen, edition or "torch", device, overwrite=overwrite,
        kept=None if kept is None else frozenset(kept), find_rate=find_rate, minutes=minutes,
        private=private, default_weights=weights == PUBLISHED, ignore=tuple(several(ignore)),
        zip_encoding=zip_encoding, deterministic=deterministic,
    )  # fmt: skip


def _refuse_changes(**given: bool) -> None:
    """Raise RunError if an argument would change the run to continue."""
    if names := [argument(name) for name, is_ in given.items() if is_]:
        raise RunError(
            f"{argument('resume', True)} continues with the run's own recipe, weights and "
            f"edition; leave out {', '.join(names)}"
        )


def _start(data: str, weights: Place | Trained | None) -> str | Path | None:
    """Return the name or folder of the initial weights; None trains from scratch."""
    if weights is None or weights == SCRATCH or (weights == PUBLISHED and data == BUILT_IN):
        return None
    if weights == PUBLISHED:
        return DEFAULT
    place = path_or_name(weights)
    if place is None:
        raise WeightsError(
            f"weights: a {type(weights).__name__} has no model folder; save a network with "
            "mobilenetv2.save(network, FOLDER) and give the folder"
        )
    return place if isinstance(place, str) else Path(place)


def _recipe(
    from_weights: bool, data: str, recipe: str | PathLike[str] | Recipe | None, changes: Changes,
    epochs: int | None, minutes: float | None, seed: int | None, find_rate: bool,
) -> Recipe:  # fmt: skip
    """Return the recipe of the arguments, with its changes."""
    changed = keys_of(changes)
    if epochs is not None and minutes is not None:
        raise RecipeError(
            f"{argument('epochs')} and {argument('minutes')} both set the training time; "
            "leave one out"
        )
    for name, asked, key in (
        ("find_rate", find_rate, "optimizer.learning_rate"),
        ("minutes", minutes is not None, "epochs"),
    ):
        if asked and key in changed:
            raise RecipeError(f"{argument(name)} chooses {key}, which is also set; leave one out")
    scratch = BUILT_IN if data == BUILT_IN else "scratch"
    named = recipe if recipe is not None else "finetune" if from_weights else scratch
    numbers = {"epochs": epochs, "seed": seed}
    found = read_recipe(
        read_recipe(named, changes), {k: v for k, v in numbers.items() if v is not None}
    )
    if found.trained == "head" and (epochs, minutes) != (None, None):
        name = "minutes" if epochs is None else "epochs"
        raise RecipeError(
            f"{argument(name)} needs training steps, and trained = 'head' has none; leave it out, "
            f"or give {recipe_key('trained', 'all')}"
        )
    return found


def check_group(job: Job, group: Group) -> None:
    """Raise RecipeError if a job cannot be divided among several processes."""
    if group.size == 1:
        return
    alone = f"start one process, without {group.launcher.name} (which started {group.size})"
    if job.edition != "torch":
        raise RecipeError(
            f"{argument('edition', job.edition)} trains in one process; {alone}, or leave out "
            f"{argument('edition')}"
        )
    if job.recipe.trained == "later":
        raise RecipeError(
            "trained = 'later' trains on a file of cached feature maps, which one process makes "
            f"and reads; {alone}, or give {recipe_key('trained', 'all')} and freezing.blocks"
        )


def locate_weights(job: Job) -> Path | None:
    """Return the model folder of a job's initial weights, downloaded and imported if needed.

    Raises:
        WeightsError: the weights are not available, or are not a model.
    """
    if job.weights is None:
        return None
    name = os.fspath(job.weights)
    if not job.default_weights:
        return locate(name)
    say(f"starting from {name}, published ImageNet weights ({argument('weights')} chooses others)")
    try:
        return locate(name)
    except WeightsError as error:
        raise WeightsError(
            f"no weights were given, and the default is not available: {error}; import a "
            "published file with 'mobilenetv2 weights import FILE imagenet' and give the folder "
            f"as {argument('weights')}, or start from the small network that is built in with "
            f"{argument('weights', 'embedded')} and {argument('recipe', 'head-only')}, or train "
            f"from scratch with {argument('weights', 'none')}"
        ) from None
