"""Networks made from another: the same layers in other blocks, and the width of a given cost."""

import functools
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenetv2.errors import SpecError
from mobilenetv2.spec import count
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import PAPER_STAGES, NetworkSpec, StageSpec
from mobilenetv2.spec.published import published, small
from mobilenetv2.spec.variants import (
    for_small_pictures,
    width_for,
    with_classic_blocks,
    with_wide_blocks,
)

Layers = Counter[tuple[Any, ...]]


def layers(spec: NetworkSpec) -> Layers:
    """Every convolution but projection shortcuts, by what it computes and where."""
    return Counter(
        (one.role, one.in_channels, one.out_channels, one.stride, one.in_size, one.activation)
        for one in resolve(spec).convolutions
        if one.role != "shortcut"
    )


@pytest.mark.parametrize(
    "spec",
    [
        NetworkSpec(), NetworkSpec(width=0.35, projection="relu6"), small(32, width=0.5),
        published("timm-110d"), published("keras", width=0.35, size=96),
    ],
)  # fmt: skip
def test_wide_blocks_have_the_layers_of_the_inverted_ones_but_for_one_depthwise(
    spec: NetworkSpec,
) -> None:
    ours, theirs = layers(with_wide_blocks(spec)), layers(spec)
    stem, last = resolve(spec).stem, resolve(spec).blocks[-1]
    (lost,), (added,) = (theirs - ours).elements(), (ours - theirs).elements()
    activation = spec.numerics.activation
    channels, inner = stem.out_channels, last.inner_channels
    assert lost == ("depthwise", channels, channels, 1, stem.out_size, activation)
    assert added == ("depthwise", inner, inner, 1, last.out_size, activation)


def test_shortcuts_between_expansions_are_those_of_one_resolution() -> None:
    blocks = resolve(with_wide_blocks(NetworkSpec())).blocks
    assert [block.kind for block in blocks] == ["wide"] * 16 + ["inverted"]
    assert [block.index for block in blocks if block.residual] == [4, 7, 8, 9, 11, 14, 15]
    for block in blocks:
        if block.residual:
            assert block.in_channels == block.out_channels == block.inner_channels
    assert [stage.repeats for stage in with_wide_blocks(NetworkSpec()).stages] == [
        1, 1, 1, 2, 1, 4, 2, 1, 3, 1,
    ]  # fmt: skip


def test_classic_blocks_are_the_published_ones() -> None:
    assert with_classic_blocks(NetworkSpec()) == published("resnet-bottleneck")
    assert with_classic_blocks(small(32)).stages[2] == StageSpec(4, 128, 3, 1, "bottleneck")


def test_networks_that_have_no_such_variant_are_named() -> None:
    for make in (with_wide_blocks, with_classic_blocks):
        with pytest.raises(SpecError, match="has separable blocks; give one of inverted"):
            make(published("mobilenet-v1"))
    for stages in (PAPER_STAGES[1:], PAPER_STAGES[:1], (StageSpec(1, 16, 2, 1), PAPER_STAGES[1])):
        with pytest.raises(SpecError, match="first stage is one block of expansion 1"):
            with_wide_blocks(NetworkSpec(stages=stages))


@pytest.mark.parametrize("name", ["paper", "mobilenet-v1", "resnet-bottleneck"])
@pytest.mark.parametrize(("size", "stride"), [(32, 8), (63, 8), (64, 16), (127, 16), (128, 32)])
def test_small_pictures_have_fewer_strides_in_every_network(
    name: str, size: int, stride: int
) -> None:
    spec = for_small_pictures(published(name), size)
    assert resolve(spec).output_stride == stride
    assert spec.size == (size, size)
    assert resolve(spec).blocks[-1].out_size == (-(-size // stride),) * 2
    assert count.parameters(spec) == count.parameters(published(name))


def test_small_pictures_keep_the_strides_of_a_network_that_has_few() -> None:
    spec = NetworkSpec(stages=(StageSpec(1, 16, 1, 2), StageSpec(6, 24, 1, 1)), stem_stride=1)
    assert for_small_pictures(spec, (40, 32)) == spec.replace(size=(40, 32))


@pytest.mark.parametrize("width", [0.35, 0.5, 0.75, 1.0, 1.3, 1.4])
def test_the_published_widths_are_found_from_their_multiply_adds(width: float) -> None:
    wanted = count.multiply_adds(NetworkSpec(width=width))
    fitted = width_for(NetworkSpec(width=0.9), wanted)
    assert (fitted.multiply_adds, fitted.wanted, fitted.deviation) == (wanted, wanted, 0)
    assert resolve(fitted.spec).blocks == resolve(NetworkSpec(width=width)).blocks
    assert fitted.spec.width == round(fitted.spec.width, 2)
    assert width_for(NetworkSpec(width=width), wanted).spec.width == width


@functools.cache
def costs(spec: NetworkSpec) -> list[int]:
    """Multiply-adds at all widths up to 0.4, one after the other."""
    return [count.multiply_adds(spec.at(width=step / 1000)) for step in range(1, 401)]


SMALL: dict[str, Any] = {"size": (32, 32), "classes": 3, "head_channels": 16}
NETWORKS = [
    NetworkSpec(stages=PAPER_STAGES[:3], **SMALL),
    NetworkSpec(stages=PAPER_STAGES[:3], divisor=1, head="scaled", **SMALL),
    NetworkSpec(stages=PAPER_STAGES[:2], rounding="truncate", shortcut="projection", **SMALL),
    with_classic_blocks(NetworkSpec(stages=PAPER_STAGES[:2], rounding="up", **SMALL)),
    with_wide_blocks(NetworkSpec(stages=PAPER_STAGES[:3], rounding="round-nearest", **SMALL)),
]


@settings(max_examples=3)
@pytest.mark.parametrize("spec", NETWORKS)
@given(share=st.floats(-0.1, 1.0))
def test_no_other_width_comes_closer(spec: NetworkSpec, share: float) -> None:
    least, *_, most = costs(spec)
    wanted = max(1, round(least + share * (most - least)))
    fitted = width_for(spec, wanted)
    assert fitted.multiply_adds == count.multiply_adds(fitted.spec)
    assert abs(fitted.multiply_adds - wanted) == min(abs(cost - wanted) for cost in costs(spec))
    assert fitted.deviation == pytest.approx(fitted.multiply_adds / wanted - 1)
    assert fitted.spec == spec.at(width=fitted.spec.width)


def test_numbers_out_of_reach_give_the_narrowest_and_the_widest() -> None:
    spec = NetworkSpec(stages=PAPER_STAGES[:2], **SMALL)
    least = width_for(spec, 1)
    assert least.multiply_adds == count.multiply_adds(spec.at(width=0.001))
    assert least.deviation > 1
    most = width_for(spec, 10**14)
    assert most.multiply_adds == count.multiply_adds(spec.at(width=16))
    assert -1 < most.deviation < -0.9
    with pytest.raises(SpecError, match="multiply-adds 0 must be at least 1"):
        width_for(spec, 0)


def test_variants_of_the_small_network_come_within_a_hundredth_of_its_cost() -> None:
    base = small(32, width=0.5)
    wanted = count.multiply_adds(base)
    variants = [
        with_wide_blocks(base), with_classic_blocks(base), base.replace(shortcut="projection"),
        for_small_pictures(published("mobilenet-v1", classes=10)),
    ]  # fmt: skip
    for spec in variants:
        assert abs(width_for(spec, wanted).deviation) < 0.01
