"""Networks that a file of named tensors may hold: every published family at every width."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import PUBLISHED

PUBLISHED_WIDTHS = (1.0, 1.4, 0.75, 0.5, 0.35, 1.3, 1.1, 1.2, 0.25, 0.1)
WIDTHS = (
    *PUBLISHED_WIDTHS, *(step / 20 for step in range(1, 61)),
    *(step / 100 for step in range(5, 301)),
)  # fmt: skip
"""Widths in the order in which they are tried, since several may round to one network.

People choose multiples of 0.05.
"""
DIVISORS = (4, 16, 2, 1)
"""Divisors that people give to torchvision's ``round_nearest`` instead of 8."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network that a file may contain."""

    spec: NetworkSpec
    family: str
    """Family whose rounding and depth it has."""

    def __str__(self) -> str:
        """Return text for a message: "width 0.75 in tonylins' rounding"."""
        owner = f"{self.family}'" if self.family.endswith("s") else f"{self.family}'s"
        step = f" to multiples of {self.spec.divisor}" if self.spec.divisor != 8 else ""
        return f"width {self.spec.width:g} in {owner} rounding{step}"


def cut(spec: NetworkSpec, blocks: int) -> NetworkSpec:
    """Return a network that ends behind its first blocks, without the last 1x1 convolution."""
    stages = []
    for stage in spec.stages:
        repeats = min(stage.repeats, blocks)
        blocks -= repeats
        if repeats:
            stages.append(dataclasses.replace(stage, repeats=repeats))
    return spec.replace(stages=tuple(stages), head="none")


def same_network(one: NetworkSpec, other: NetworkSpec) -> bool:
    """Return True if two specs have the same layers, whatever their rounding rules."""
    try:
        networks = [
            resolve(spec.replace(size=one.size, numerics=one.numerics)) for spec in (one, other)
        ]
    except SpecError:
        return False
    # The same blocks may be grouped into other stages (t = 6 twice, or once with n = 2).
    first, second = (
        [net.stem, net.head, net.linears[-1].weight_shape, net.spec.classifier,
         *((block.steps, block.shortcut, block.residual) for block in net.blocks)]
        for net in networks
    )  # fmt: skip
    return first == second


def has_width(spec: NetworkSpec, width: float) -> bool:
    """Return True if a network is the same at another width, to which it may round."""
    return same_network(spec, spec.replace(width=width))


def candidates(
    own: Mapping[str, NetworkSpec], target: NetworkSpec, families: Iterable[str],
    widths: Iterable[float] = WIDTHS, divisor: int | None = None,
) -> Iterator[Candidate]:  # fmt: skip
    """Yield the networks of families at widths, the likeliest first.

    Args:
        own: specs to take for some families instead of the published ones.
        target: values that do not follow from shapes: size, classes, numerics, head.
        families: names in :data:`PUBLISHED`.
        widths: width multipliers.
        divisor: another divisor than the families', torchvision's ``round_nearest``.
    """
    widths = dict.fromkeys(widths)
    for family in families:
        base = own.get(family, PUBLISHED[family].spec).replace(
            size=target.size, classes=target.classes, input_channels=target.input_channels,
            numerics=target.numerics, dropout=target.dropout, background=target.background,
            classifier=target.classifier,
        )  # fmt: skip
        if base.head == "none":
            continue
        if target.head == "none":
            base = cut(base, sum(stage.repeats for stage in target.stages))
        # timm's deeper networks exist in one width each.
        for width in [base.width] if base.width != 1.0 else widths:
            spec = base.replace(width=width, divisor=divisor or base.divisor)
            if family == "d-li14" and width == 0.1:
                yield Candidate(spec.replace(divisor=4), family)
            yield Candidate(spec, family)
            if base.head == "published" and width < 1:
                yield Candidate(spec.replace(head="scaled"), family)
