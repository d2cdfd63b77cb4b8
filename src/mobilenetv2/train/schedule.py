"""The learning rate over a run."""

import math


def cosine(step: int, steps: int, warmup: int, peak: float, floor: float = 0.0) -> float:
    """Linear from near zero to ``peak`` over ``warmup`` steps, then half a cosine to ``floor``.

    Args:
        step: from 0 to ``steps - 1``; the rate of that step is returned.
        steps: of the whole run.
        warmup: steps before the peak; at most ``steps``.
    """
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, steps - warmup)
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
