"""Schedules over a run and over the layers: learning rates, image sizes, trained layers.

The depth of a layer is its distance from the classifier. Early layers detect edges and colours,
which are useful for all photos; late layers are specific to the classes. So early layers may be
trained with a lower rate (layer-wise learning-rate decay) or start later (gradual unfreezing):
Howard & Ruder, arXiv 1801.06146.
"""

import math
from collections.abc import Sequence

from mobilenetv2.errors import RecipeError
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.training.recipe import Recipe


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the learning rate of a step: linear warm-up to the peak, then the recipe's schedule.

    Args:
        recipe: the recipe, with its schedule and number of epochs.
        step: number of the step in the run, from 0.
        steps: number of steps in an epoch.
    """
    whole, peak, schedule = recipe.epochs * steps, recipe.optimizer.learning_rate, recipe.schedule
    warmup = min(round(schedule.warmup_epochs * steps), whole)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if schedule.name == "cosine":
        return cosine(step - warmup, whole - warmup, peak)
    factor = schedule.epoch_factor if schedule.name == "exponential" else 1.0
    return float(peak * factor ** (step // max(1, steps)))  # by whole epochs, as in the paper


def cosine(step: int, steps: int, peak: float) -> float:
    """Return the learning rate of a step, 0 to ``steps - 1``: half a cosine from ``peak`` to 0."""
    return peak * 0.5 * (1 + math.cos(math.pi * min(step / max(1, steps), 1.0)))


def phase(epoch: int, epochs: int, phases: Sequence[float]) -> float:
    """Return the size factor of an epoch for progressive resizing; 1 without phases.

    Small images at the start are faster; the full size is used at the end (Howard et al., fast.ai).

    Args:
        epoch: number of the epoch, from 0.
        epochs: number of epochs in the run.
        phases: size factors of equal parts of the run.
    """
    if not phases:
        return 1.0
    return phases[min(len(phases) - 1, epoch * len(phases) // max(1, epochs))]


def depth(name: str, spec: NetworkSpec) -> int:
    """Return the depth of a layer: 0 for the classifier, 1 for the head, 2 for the last block ...

    The stem has the greatest depth.

    Args:
        name: canonical name of a parameter or module, such as 'blocks.3.expand.conv.weight'.
        spec: the network.
    """
    part, _, rest = name.partition(".")
    blocks = sum(stage.repeats for stage in spec.stages)
    if part == "blocks":
        return 1 + blocks - int(rest.partition(".")[0])
    return {"classifier": 0, "hidden": 0, "head": 1, "stem": 2 + blocks}[part]


def trained_depth(frozen_blocks: int, spec: NetworkSpec) -> int:
    """Return the greatest depth of a trained layer, with a number of frozen blocks.

    Args:
        frozen_blocks: number of first blocks to freeze together with the stem; 0 freezes nothing.
        spec: the network.

    Raises:
        RecipeError: the network has fewer blocks.
    """
    blocks = sum(stage.repeats for stage in spec.stages)
    if frozen_blocks > blocks:
        raise RecipeError(f"freezing.blocks {frozen_blocks}: the network has {blocks} blocks")
    return depth(f"blocks.{frozen_blocks}", spec) if frozen_blocks else depth("stem", spec)


def thawed_depth(epoch: float, recipe: Recipe, spec: NetworkSpec) -> int:
    """Return the greatest depth of a trained layer at an epoch, with gradual unfreezing."""
    limit, unfreezing = trained_depth(recipe.freezing.blocks, spec), recipe.freezing.unfreeze_epochs
    if epoch >= unfreezing:
        return limit
    return min(limit, int(epoch / unfreezing * (depth("stem", spec) + 1)))
