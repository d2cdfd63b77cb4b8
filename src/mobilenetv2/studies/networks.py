"""Networks of the studies that train: the paper's blocks in a table for pictures of 32 pixels.

The networks have the order of the paper's Table 2 with fewer strides and repeats, so that one
thread trains hundreds of photos a second. Channels are not rounded to multiples of 8: then
networks of different kinds have nearly the same multiply-adds at some width.
"""

from functools import lru_cache

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.network import NetworkSpec, StageSpec
from mobilenetv2.spec.variants import width_for

STAGES = (
    StageSpec(1, 16, 1, 1),
    StageSpec(6, 24, 2, 1),
    StageSpec(6, 32, 2, 2),
    StageSpec(6, 64, 3, 2),
    StageSpec(6, 96, 2, 1),
)
"""Ten blocks; with a stem of stride 2, 32 pixels end as 4."""
SEPARABLE_STAGES = tuple(
    StageSpec(1, channels, repeats, stride, "separable")
    for channels, repeats, stride in ((64, 1, 1), (128, 2, 1), (256, 2, 2), (512, 4, 2))
)
"""MobileNetV1's blocks at the same three resolutions. V1 doubles its channels at each of them."""
BASE = NetworkSpec(
    size=(32, 32), classes=10, stages=STAGES, head="scaled", head_channels=384, divisor=1,
    dropout=0.0,
)  # fmt: skip
"""The paper's network at 32 pixels. As in the paper, its head has four times the channels of the
last stage; it shrinks with the width, since a head of 1,280 would be most of a small network."""
CLOSE = 0.03
"""Largest deviation of multiply-adds that are called equal, as a share of them."""


@lru_cache(maxsize=256)  # it tries many widths
def at_cost(spec: NetworkSpec, multiply_adds: int) -> NetworkSpec:
    """Return a network at the width at which it has a number of multiply-adds.

    Raises:
        SpecError: no width comes within :data:`CLOSE` of the number.
    """
    found = width_for(spec, multiply_adds)
    if abs(found.deviation) > CLOSE:
        raise SpecError(
            f"the closest width {found.spec.width:g} has {found.multiply_adds:,} multiply-adds, "
            f"{found.deviation:+.1%} off {multiply_adds:,}; use a smaller divisor than "
            f"{spec.divisor}"
        )
    return found.spec
