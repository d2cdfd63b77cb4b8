"""The chain takes what MobileNetV2 does, and nothing that only resembles it."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from mobilenetv2.checkpoints.graphs.chain import (
    PICTURE,
    BatchNorm,
    Chain,
    Pads,
    Place,
    Step,
    padding_rule,
    size_after,
)
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.blocks import padding


def convolve(chain: Chain, source: Place, channels: int = 4, depthwise: bool = False) -> Place:
    kernel = 3 if depthwise else 1
    weight = np.ones((channels, 1 if depthwise else 4, kernel, kernel), np.float32)
    return chain.convolve(Step(source, depthwise, weight, None, 1, ""))


def relu6(chain: Chain, place: Place) -> Place:
    return chain.bound(place, 0, 6)


def block(chain: Chain, source: Place) -> Place:
    """Three convolutions, the last linear."""
    place = relu6(chain, convolve(chain, source))
    place = relu6(chain, convolve(chain, place, depthwise=True))
    return convolve(chain, place)


ONES = np.ones(4, np.float32)
NORM = BatchNorm(ONES, 2 * ONES, 3 * ONES, 4 * ONES, epsilon=1e-3)


def test_shortcuts_are_found_whichever_side_of_the_addition_they_are_on() -> None:
    for swapped in (False, True):
        chain = Chain()
        stem = relu6(chain, convolve(chain, PICTURE))
        end = block(chain, stem)
        pair = (end, stem) if swapped else (stem, end)
        steps = chain.finish(convolve(chain, chain.add(*pair)))
        assert [step.added for step in steps] == [None, None, None, stem, None]
        assert [step.activation for step in steps] == ["relu6", "relu6", "relu6", "", ""]
        assert all(step.projection is None for step in steps)


@pytest.mark.parametrize("first", [True, False])
def test_a_projection_may_come_before_or_after_the_block(first: bool) -> None:
    chain = Chain()
    stem = relu6(chain, convolve(chain, PICTURE))
    if first:
        shortcut, end = convolve(chain, stem), block(chain, stem)
    else:
        end, shortcut = block(chain, stem), convolve(chain, stem)
    shortcut = chain.normalise(shortcut, NORM)
    steps = chain.finish(convolve(chain, chain.add(end, shortcut)))
    assert len(steps) == 5 and steps[3].projection is not None
    assert steps[3].projection.batch_norm is NORM


def test_relu_and_min_in_any_order_are_relu6() -> None:
    for bounds in ([(0, math.inf), (-math.inf, 6)], [(-math.inf, 6), (0, math.inf)], [(0, 6)]):
        chain = Chain()
        place = convolve(chain, PICTURE)
        for low, high in bounds:
            place = chain.bound(place, low, high)
        assert chain[place].activation == "relu6"
    assert chain[chain.bound(place, -1, 5)].activation == "bounds 0 to 5"


def test_constants_behind_a_convolution_go_into_it() -> None:
    chain, scale = Chain(), np.arange(1.0, 5)
    place = convolve(chain, PICTURE)
    place = chain.affine(place, scale.reshape(4, 1, 1), np.zeros(()))
    place = chain.affine(place, np.ones(()), np.full((1, 4, 1, 1), 0.5))
    place = chain.affine(place, np.full((), 2.0), np.zeros(()))
    step = chain[place]
    np.testing.assert_array_equal(step.weight[:, 0, 0, 0], 2 * scale)
    np.testing.assert_array_equal(step.bias, np.ones(4))


def mistakes() -> dict[str, Callable[[Chain, Place], object]]:
    def twice_used(chain: Chain, stem: Place) -> object:
        raw = convolve(chain, stem)
        inner = relu6(chain, raw)
        return chain.finish(convolve(chain, convolve(chain, raw)) if inner else raw)

    def branch(chain: Chain, stem: Place) -> object:
        convolve(chain, stem)
        return chain.finish(convolve(chain, stem))

    def far(chain: Chain, stem: Place) -> object:
        end = block(chain, block(chain, stem))
        return chain.add(stem, end)

    return {
        "a tensor inside a block is used twice": twice_used,
        "convolutions beside the chain": branch,
        "a tensor outside the block": far,
        "a second convolution takes the image": lambda chain, _: convolve(chain, PICTURE),
        "an activation before the first convolution": lambda chain, _: relu6(chain, PICTURE),
        "a BatchNorm after an activation": lambda chain, stem: chain.normalise(stem, NORM),
        "two BatchNorms after one": lambda chain, stem: chain.normalise(
            chain.normalise(convolve(chain, stem), NORM), NORM
        ),
        "a constant is applied after a BatchNorm": lambda chain, stem: chain.affine(
            chain.normalise(convolve(chain, stem), NORM), np.ones(4), np.ones(4)
        ),
        "another size than the 4 channels": lambda chain, stem: chain.affine(
            convolve(chain, stem), np.ones(3), np.ones(4)
        ),
        "an activation after a shortcut's addition": lambda chain, stem: relu6(
            chain, chain.add(stem, block(chain, stem))
        ),
        "an addition after an activation": lambda chain, stem: chain.add(
            stem, relu6(chain, block(chain, stem))
        ),
    }


@pytest.mark.parametrize("message", mistakes())
def test_what_mobilenetv2_does_not_do_is_refused(message: str) -> None:
    chain = Chain()
    stem = relu6(chain, convolve(chain, PICTURE))
    with pytest.raises(DialectError, match=message):
        mistakes()[message](chain, stem)


@pytest.mark.parametrize("height", range(7, 17))
@pytest.mark.parametrize("width", [8, 9])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_rule_is_the_one_that_the_spec_pads_by(
    height: int, width: int, kernel: int, stride: int
) -> None:
    by_rule = {
        rule: (padding(rule, height, kernel, stride), padding(rule, width, kernel, stride))
        for rule in ("same", "symmetric")
    }
    alike = by_rule["same"] == by_rule["symmetric"]
    for rule, pads in by_rule.items():
        expected = "" if stride == 1 else "either" if alike else rule
        assert padding_rule(kernel, stride, pads, (height, width)) == expected


@pytest.mark.parametrize(
    ("kernel", "stride", "pads"),
    [(3, 1, ((0, 0), (0, 0))), (3, 2, ((1, 0), (1, 0))), (3, 2, ((0, 0), (0, 0))),
     (3, 3, ((1, 1), (1, 1))), (1, 1, ((1, 1), (1, 1))), (5, 2, ((1, 2), (1, 2))),
     (3, 2, ((1, 1), (0, 1)))],
)  # fmt: skip
def test_other_paddings_are_refused(
    kernel: int, stride: int, pads: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    with pytest.raises(DialectError, match=r"convolution of stride .* padded .* at 8 x 8 pixels"):
        padding_rule(kernel, stride, pads, (8, 8))


@pytest.mark.parametrize(
    ("kernel", "stride", "pads", "size", "left"),
    [
        (3, 2, ((0, 1), (1, 1)), (8, 9), (4, 5)), (3, 1, ((1, 1), (1, 1)), (7, 1), (7, 1)),
        (1, 1, ((0, 0), (0, 0)), (5, 6), (5, 6)), (3, 2, ((0, 0), (0, 0)), (3, 4), (1, 1)),
    ],
)  # fmt: skip
def test_what_a_convolution_leaves(
    kernel: int, stride: int, pads: Pads, size: tuple[int, int], left: tuple[int, int]
) -> None:
    assert size_after(kernel, stride, pads, size) == left
    with pytest.raises(DialectError, match="a convolution that leaves 0 x"):
        size_after(3, 1, ((0, 0), (1, 1)), (2, 2))


def test_a_body_ends_behind_an_activated_pointwise_convolution() -> None:
    chain = Chain()
    assert not chain.ends_body(PICTURE)
    stem = relu6(chain, convolve(chain, PICTURE, depthwise=True))
    end = block(chain, stem)
    head = convolve(chain, end)
    assert not any(chain.ends_body(place) for place in (stem, end, head))
    assert chain.ends_body(relu6(chain, head))
