"""Networks made from another: with other blocks, for small pictures, at a given cost."""

from dataclasses import dataclass, replace

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.count import multiply_adds
from mobilenetv2.spec.network import NetworkSpec, Size, StageSpec

REDUCTION = 4
"""Reduction of a classic bottleneck: its output channels divided by those of its convolution."""
STEPS = 1000
"""Steps of the width multiplier from 0 to 1, of which :func:`width_for` tries all."""
WIDEST = 16 * STEPS


def classic_stages(stages: tuple[StageSpec, ...]) -> tuple[StageSpec, ...]:
    """Return stages of ResNet's bottlenecks for stages of inverted residuals.

    They are wide outside, with four times the channels, and narrow inside, with the channels.
    """
    return tuple(
        StageSpec(REDUCTION, REDUCTION * one.channels, one.repeats, one.stride, "bottleneck")
        for one in stages
    )


def with_classic_blocks(spec: NetworkSpec) -> NetworkSpec:
    """Return a network of inverted residuals with ResNet's classic blocks in their place.

    It has no head convolution, since its last feature map is wide already.

    Raises:
        SpecError: the network has another kind of block.
    """
    _require_inverted(spec)
    return spec.replace(stages=classic_stages(spec.stages), head="none")


def with_wide_blocks(spec: NetworkSpec) -> NetworkSpec:
    """Return a network with its shortcuts between expansions, from one of inverted residuals.

    The convolutions stay, in their order, at their resolution; the borders of the blocks move
    behind the depthwise convolutions. A 'wide' block has the projection of one block, and the
    expansion and the depthwise convolution of the next. Shortcuts are where a wide block has stride
    1 and as many channels at its output as at its input: fewer than between bottlenecks, since a
    convolution of stride 2 ends the wide tensors of one resolution.

    Two convolutions differ. The first block's depthwise convolution is left out: the first wide
    block projects the stem's output. The last projection has no wide block, so that it ends an
    inverted block with t = 1, whose depthwise convolution is added.

    Raises:
        SpecError: the network has another kind of block, or does not begin with a single block of
            expansion 1 and stride 1, as all published networks of inverted residuals do.
    """
    _require_inverted(spec)
    first, *others = spec.stages
    if (first.expansion, first.repeats, first.stride) != (1, 1, 1) or not others:
        raise SpecError(
            "wide blocks are made of networks whose first stage is one block of expansion 1 and "
            "stride 1, with a stage behind it"
        )
    stages: list[StageSpec] = []
    channels = first.channels
    for stage in others:
        for repeat in range(stage.repeats):
            stride = 1 if repeat else stage.stride
            made = StageSpec(stage.expansion, channels, 1, stride, "wide")
            if stages and made == replace(stages[-1], repeats=1, stride=1):
                stages[-1] = replace(stages[-1], repeats=stages[-1].repeats + 1)
            else:
                stages.append(made)
            channels = stage.channels
    return spec.replace(stages=(*stages, StageSpec(1, channels, 1, 1)))


def _require_inverted(spec: NetworkSpec) -> None:
    others = sorted({stage.kind for stage in spec.stages} - {"inverted"})
    if others:
        raise SpecError(
            f"the network has {' and '.join(others)} blocks; give one of inverted blocks only"
        )


def for_small_pictures(spec: NetworkSpec, size: int | Size = 32) -> NetworkSpec:
    """Return a network with fewer strides, for small pictures.

    With stride 32 a 32-pixel picture would end as a single pixel. Below 128 pixels the stem has
    stride 1. Below 64 pixels the second stage of stride 2 has stride 1, too: a published network of
    stride 32 then has stride 8, and 32 pixels end as 4. Larger pictures get the network's strides.

    Args:
        spec: a network for large pictures, of any kind of block.
        size: height and width in pixels; one number means a square.

    Raises:
        SpecError: an impossible size.
    """
    side = size if isinstance(size, int) else min(size)
    stages = list(spec.stages)
    strided = [index for index, stage in enumerate(stages) if stage.stride == 2]
    if side < 64 and len(strided) > 1:
        # Stride 1 in the first of them instead makes a step on CIFAR-10 1.6 times as slow.
        stages[strided[1]] = replace(stages[strided[1]], stride=1)
    stem = 1 if side < 128 else spec.stem_stride
    return spec.replace(size=size, stages=tuple(stages), stem_stride=stem)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A network at the width at which it comes closest to a number of multiply-adds."""

    spec: NetworkSpec
    multiply_adds: int
    """Multiply-adds of the network."""
    wanted: int
    """Multiply-adds that it was to have."""

    @property
    def deviation(self) -> float:
        """Difference of the multiply-adds from the wanted ones, as a share of these."""
        return (self.multiply_adds - self.wanted) / self.wanted


def width_for(spec: NetworkSpec, wanted: int) -> Fitted:
    """Return a network at the width at which its multiply-adds are closest to a number.

    Widths are tried in thousandths, from 0.001 to 16. Channels are rounded to multiples of the
    network's divisor, so that the multiply-adds grow in steps; with a smaller divisor the steps are
    smaller. Of the widths of one step, the network's own is preferred, then the one with the fewest
    digits.

    Args:
        spec: the network; its size and its number of classes stay.
        wanted: number of multiply-adds.

    Returns:
        The network, its multiply-adds and the deviation. A number that no width reaches gives the
        narrowest or the widest network, with its deviation.

    Raises:
        SpecError: ``wanted`` is below 1, or the network is impossible at the widths that have to be
            tried.
    """
    if wanted < 1:
        raise SpecError(f"multiply-adds {wanted:,} must be at least 1")

    def cost(step: int) -> int:
        return multiply_adds(spec.at(width=step / STEPS))

    def first(least: int) -> int:
        """Return the first step with ``least`` multiply-adds or more; WIDEST + 1 if none has."""
        low = high = 1
        while high < WIDEST and cost(high) < least:
            low, high = high + 1, min(2 * high, WIDEST)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if cost(middle) >= least else (middle + 1, high)
        return high if cost(high) >= least else WIDEST + 1

    above = first(wanted)
    nearest = (step for step in (above - 1, above) if 1 <= step <= WIDEST)
    found = min((cost(step) for step in nearest), key=lambda made: abs(made - wanted))
    if multiply_adds(spec) == found:
        return Fitted(spec, found, wanted)
    # The multiply-adds never fall as the width grows, so that their widths are one interval.
    alike = range(first(found), first(found + 1))
    roundest = max(alike, key=lambda step: (_zeros(step), -step))
    return Fitted(spec.at(width=roundest / STEPS), found, wanted)


def _zeros(step: int) -> int:
    """Return the number of zeros at the end of a number."""
    return len(str(step)) - len(str(step).rstrip("0"))
