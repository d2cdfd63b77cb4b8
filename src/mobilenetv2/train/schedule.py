"""What changes over a run: the learning rate and the side of the pictures."""

import math
from collections.abc import Sequence


def cosine(step: int, steps: int, warmup: int, peak: float, floor: float = 0.0) -> float:
    """Linear from near zero to ``peak`` over ``warmup`` steps, then half a cosine to ``floor``.

    Args:
        step: from 0 to ``steps - 1``; the rate of that step is returned.
        steps: of the whole run.
        warmup: steps before the peak; at most ``steps``.
    """
    if step < warmup:
        return warm(step, warmup, peak)
    progress = (step - warmup) / max(1, steps - warmup)
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def exponential(step: int, steps_an_epoch: int, warmup: int, peak: float, factor: float) -> float:
    """``peak`` times ``factor`` for every whole epoch, as the paper has it, after a warm-up."""
    if step < warmup:
        return warm(step, warmup, peak)
    return float(peak * factor ** (step // max(1, steps_an_epoch)))


def warm(step: int, warmup: int, peak: float) -> float:
    """The rate of a step of the warm-up."""
    return peak * (step + 1) / (warmup + 1)


def phase(epoch: int, epochs: int, phases: Sequence[float]) -> float:
    """The value of an epoch where ``phases`` divide a run into equal parts; 1 where there are none.

    For progressive resizing (Howard et al., fast.ai): small pictures first, which are cheap, and
    the full size at the end.
    """
    if not phases:
        return 1.0
    return phases[min(len(phases) - 1, epoch * len(phases) // max(1, epochs))]
