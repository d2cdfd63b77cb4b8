"""Specs resolved to convolutions and blocks."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.blocks import padding, resolve
from mobilenetv2.spec.network import NetworkSpec, Numerics, StageSpec
from mobilenetv2.spec.published import KERAS, published, small

SIDES = st.integers(32, 300)


def test_the_paper_has_17_blocks_and_52_convolutions() -> None:
    network = resolve(NetworkSpec())
    assert len(network.blocks) == 17
    assert len(list(network.convolutions)) == 52
    assert network.output_stride == 32
    assert network.blocks[-1].out_size == (7, 7)
    assert network.linears[-1].weight_shape == (1000, 1280)


def test_identity_shortcuts_stand_where_stride_is_1_and_channels_are_equal() -> None:
    residual = [block.index for block in resolve(NetworkSpec()).blocks if block.residual]
    assert residual == [2, 4, 5, 7, 8, 9, 11, 12, 14, 15]


def test_projection_shortcuts_stand_at_every_stride_1_block() -> None:
    for block in resolve(NetworkSpec(shortcut="projection")).blocks:
        assert (block.shortcut is not None) == block.residual == (block.stride == 1)
        if block.shortcut:
            shape = (block.out_channels, block.in_channels, 1, 1)
            assert block.shortcut.weight_shape == shape
            assert block.shortcut.linear


@pytest.mark.parametrize("projection", ["relu", "relu6"])
def test_an_activation_after_the_projections_is_no_other_layers(projection: Any) -> None:
    spec = NetworkSpec(projection=projection, shortcut="projection", numerics=KERAS)
    for convolution in resolve(spec).convolutions:
        expected = {"project": projection, "shortcut": None}.get(convolution.role, "relu6")
        assert convolution.activation == expected
    assert {c.activation for c in resolve(published("mobilenet-v1")).convolutions} == {"relu6"}
    classic = resolve(published("resnet-bottleneck", projection=projection))
    assert all(block.steps[-1].linear for block in classic.blocks)


def test_a_wide_block_lies_between_expanded_tensors() -> None:
    spec = NetworkSpec(size=(64, 64), stages=(StageSpec(6, 16, 2, 2, "wide"),))
    first, second = resolve(spec).blocks
    sides = [
        [(step.role, step.in_channels, step.out_channels, step.stride) for step in block.steps]
        for block in (first, second)
    ]
    assert sides == [
        [("project", 32, 16, 1), ("expand", 16, 96, 1), ("depthwise", 96, 96, 2)],
        [("project", 96, 16, 1), ("expand", 16, 96, 1), ("depthwise", 96, 96, 1)],
    ]
    assert [step.linear for step in second.steps] == [True, False, False]
    assert (first.residual, second.residual, second.shortcut) == (False, True, None)
    assert (second.in_channels, second.inner_channels, second.out_channels) == (96, 96, 96)
    assert resolve(spec).head is not None
    assert resolve(spec).head.in_channels == 96  # type: ignore[union-attr]
    assert not any(block.residual for block in resolve(spec.replace(shortcut="none")).blocks)
    projected = resolve(spec.replace(shortcut="projection")).blocks
    assert [block.shortcut is not None for block in projected] == [False, True]


def test_a_wide_block_without_expansion_has_two_convolutions() -> None:
    spec = NetworkSpec(stages=(StageSpec(1, 32, 2, 1, "wide"),))
    blocks = resolve(spec).blocks
    assert [[step.role for step in block.steps] for block in blocks] == [
        ["project", "depthwise"]
    ] * 2
    assert [block.residual for block in blocks] == [True, True]  # the stem has 32 channels, too
    assert all(block.expand for block in resolve(spec.replace(expand="always")).blocks)


def test_no_shortcuts_where_none_are_wanted() -> None:
    assert not any(block.residual for block in resolve(NetworkSpec(shortcut="none")).blocks)


def test_the_expansion_of_the_first_block_is_there_only_when_always_wanted() -> None:
    assert resolve(NetworkSpec()).blocks[0].expand is None
    first = resolve(NetworkSpec(expand="always")).blocks[0].expand
    assert first is not None
    assert first.weight_shape == (32, 32, 1, 1)


def test_projections_are_linear_and_depthwise_convolutions_have_a_group_for_each_channel() -> None:
    for convolution in resolve(NetworkSpec()).convolutions:
        assert convolution.linear == (convolution.role == "project")
        depthwise = convolution.role == "depthwise"
        assert convolution.groups == (convolution.in_channels if depthwise else 1)


@settings(deadline=None, max_examples=60)
@given(st.tuples(SIDES, SIDES), st.sampled_from(["same", "symmetric"]))
def test_every_size_follows_from_the_one_before(size: tuple[int, int], rule: str) -> None:
    spec = NetworkSpec(size=size, numerics=Numerics(padding=rule))  # type: ignore[arg-type]
    network = resolve(spec)
    at = size
    for convolution in network.convolutions:
        if convolution.role == "shortcut":
            continue
        assert convolution.in_size == at
        at = convolution.out_size
        assert at == tuple(-(-side // convolution.stride) for side in convolution.in_size)
    assert at == tuple(-(-side // 32) for side in size)


@pytest.mark.parametrize("side", range(5, 20))
@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_is_what_tensorflow_defines(side: int, stride: int) -> None:
    before, after = padding("same", side, 3, stride)
    outputs = -(-side // stride)
    # The last window ends exactly at the end of the padded side, and what is odd comes after.
    assert (outputs - 1) * stride + 3 == side + before + after
    assert after - before in (0, 1)


def test_the_two_rules_differ_only_on_even_sizes_at_stride_2() -> None:
    differ = {
        (side, stride)
        for side in range(5, 20)
        for stride in (1, 2)
        if padding("same", side, 3, stride) != padding("symmetric", side, 3, stride)
    }
    assert differ == {(side, 2) for side in range(6, 20, 2)}


def test_small_pictures_keep_four_pixels_or_more() -> None:
    for side in range(32, 200):
        assert resolve(small(side)).blocks[-1].out_size[0] >= 4
    assert resolve(small(32)).output_stride == 8
    assert resolve(small(64)).output_stride == 16
    assert resolve(small(128)).output_stride == 32


def test_too_many_strides_for_the_picture_are_an_error() -> None:
    stages = tuple(StageSpec(1, 8, 1, 2) for _ in range(6))
    with pytest.raises(SpecError, match="multiply to 128, more than the input's 64 x 64"):
        resolve(NetworkSpec(size=64, stages=stages))  # type: ignore[arg-type]


def test_resolving_is_a_function_of_the_spec() -> None:
    assert resolve(NetworkSpec()) is resolve(NetworkSpec())
    shapes = [c.weight_shape for c in resolve(NetworkSpec(width=0.5)).convolutions]
    assert np.sum([np.prod(shape) for shape in shapes]) < 1_000_000


def brute_force_same(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """The fewest zeros with which every stride-th pixel has its window; an odd one goes after."""
    outputs = len(range(0, side, stride))
    zeros = 0
    while len(range(0, side + zeros - kernel + 1, stride)) < outputs:
        zeros += 1
    return zeros // 2, (zeros + 1) // 2


@settings(deadline=None, max_examples=60)
@given(st.integers(5, 400), st.sampled_from([1, 3, 5]), st.sampled_from([1, 2, 3]))
def test_same_padding_is_the_fewest_zeros_that_keep_every_window(
    side: int, kernel: int, stride: int
) -> None:
    assert padding("same", side, kernel, stride) == brute_force_same(side, kernel, stride)
    assert padding("symmetric", side, kernel, stride) == (kernel // 2, kernel // 2)


def test_rows_and_columns_are_padded_each_by_its_own_side() -> None:
    spec = NetworkSpec(size=(224, 225), numerics=Numerics(padding="same"))
    assert resolve(spec).stem.padding == ((0, 1), (1, 1))
    assert resolve(spec).stem.out_size == (112, 113)
    assert resolve(NetworkSpec(size=(224, 225))).stem.padding == ((1, 1), (1, 1))
