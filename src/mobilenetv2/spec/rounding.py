"""Rules that turn a channel count times the width multiplier into a multiple of a divisor.

Every published implementation scales by ``width`` and then makes the result divisible by
``divisor`` (8, or 4 in d-li14's width 0.1), but they differ in the details. A port with the wrong
rule is another network:

================== ============================================= =========================
rule               what it does with ``channels * width``         who uses it
================== ============================================= =========================
nearest            nearest multiple, never below 90%              paper, TF-slim, torchvision,
                                                                  timm, d-li14
up                 next multiple above                            tonylins
truncate-nearest   projections: ``int()`` first, then nearest     keras.applications
round-nearest      ``int(round())`` first, then nearest           Hugging Face transformers
truncate           projections: ``int()`` and nothing more        the article's Keras version
================== ============================================= =========================
"""

import math
from typing import Literal, get_args

from mobilenetv2.errors import SpecError

Rounding = Literal["nearest", "up", "truncate-nearest", "round-nearest", "truncate"]
Place = Literal["stem", "projection", "head"]


def make_divisible(value: float, divisor: int = 8, minimum: int | None = None) -> int:
    """Return the nearest multiple of ``divisor``: at least ``minimum`` and 90% of ``value``.

    >>> make_divisible(32 * 0.35), make_divisible(24 * 0.75)
    (16, 24)
    """
    rounded = max(minimum or divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def scale(rule: Rounding, channels: int, width: float, divisor: int, place: Place) -> int:
    """Return ``channels`` scaled by ``width`` under a rule, for a place in the network.

    Raises:
        SpecError: there is no such rule.
    """
    scaled, projection = channels * width, place == "projection"
    if rule == "nearest":
        return make_divisible(scaled, divisor)
    if rule == "up":
        return math.ceil(scaled / divisor) * divisor
    if rule == "truncate-nearest":
        return make_divisible(int(scaled) if projection else scaled, divisor)
    if rule == "round-nearest":
        return make_divisible(round(scaled), divisor)
    if rule == "truncate":
        return max(1, int(scaled)) if projection else make_divisible(scaled, divisor)
    raise SpecError(f"rounding {rule!r} is unknown; known are: {', '.join(get_args(Rounding))}")
