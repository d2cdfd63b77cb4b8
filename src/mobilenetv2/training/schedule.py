"""Schedules over a run and over the layers: learning rates, image sizes, which layers train.

A layer's depth is how far it is from the classifier. Early layers know edges and colours, which any
photo needs; late ones know the classes that they were trained for. So the early ones may move less
(layer-wise learning-rate decay) or later (gradual unfreezing): Howard & Ruder, arXiv 1801.06146.
"""

import math
from collections.abc import Sequence

from mobilenetv2.errors import RecipeError
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.training.recipe import Recipe


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the learning rate of a step of the run: linear to the peak, then by the schedule.

    Args:
        step: from the run's first, 0.
        steps: of an epoch.
    """
    whole, peak, schedule = recipe.epochs * steps, recipe.optimizer.learning_rate, recipe.schedule
    warmup = min(round(schedule.warmup_epochs * steps), whole)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if schedule.name == "cosine":
        return cosine(step - warmup, whole - warmup, peak)
    factor = schedule.epoch_factor if schedule.name == "exponential" else 1.0
    return float(peak * factor ** (step // max(1, steps)))  # by whole epochs, as the paper has it


def cosine(step: int, steps: int, peak: float) -> float:
    """Return the rate of a step from 0 to ``steps - 1``: half a cosine from ``peak`` to 0."""
    return peak * 0.5 * (1 + math.cos(math.pi * min(step / max(1, steps), 1.0)))


def phase(epoch: int, epochs: int, phases: Sequence[float]) -> float:
    """Return the value of an epoch where ``phases`` divide a run into equal parts; else 1.

    For progressive resizing (Howard et al., fast.ai): small pictures first, which are cheap, and
    the full size at the end.
    """
    if not phases:
        return 1.0
    return phases[min(len(phases) - 1, epoch * len(phases) // max(1, epochs))]


def depth(name: str, spec: NetworkSpec) -> int:
    """Return 0 for the classifier, 1 for the head, then count the blocks from the last to the stem.

    ``name`` is a parameter's or module's, canonical: 'blocks.3.expand.conv.weight'.
    """
    part, _, rest = name.partition(".")
    blocks = sum(stage.repeats for stage in spec.stages)
    if part == "blocks":
        return 1 + blocks - int(rest.partition(".")[0])
    return {"classifier": 0, "hidden": 0, "head": 1, "stem": 2 + blocks}[part]


def trained_depth(frozen_blocks: int, spec: NetworkSpec) -> int:
    """Return the greatest depth that ever trains where so many blocks and the stem never do.

    With 0 of them all trains, the stem too. Raise RecipeError if the network has
    fewer blocks.
    """
    blocks = sum(stage.repeats for stage in spec.stages)
    if frozen_blocks > blocks:
        raise RecipeError(f"freezing.blocks {frozen_blocks}: the network has {blocks} blocks")
    return depth(f"blocks.{frozen_blocks}", spec) if frozen_blocks else depth("stem", spec)


def thawed_depth(epoch: float, recipe: Recipe, spec: NetworkSpec) -> int:
    """Return the greatest depth that trains after some epochs: the classifier first, then all."""
    limit, unfreezing = trained_depth(recipe.freezing.blocks, spec), recipe.freezing.unfreeze_epochs
    if epoch >= unfreezing:
        return limit
    return min(limit, int(epoch / unfreezing * (depth("stem", spec) + 1)))
