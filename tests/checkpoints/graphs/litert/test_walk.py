"""A LiteRT graph before the pooling, operator by operator; networks: test_litert."""

from typing import Any

import numpy as np
import pytest
from litert_graphs import BIAS, MAP, STEM, WEIGHT, Builder

from mobilenetv2.checkpoints.graphs.litert.walk import walk
from mobilenetv2.errors import DialectError

PICTURE = (1, 14, 14, 3)
MEAN = np.array([123.675, 116.28, 103.53], np.float32)


class Scaled(Builder):
    """A graph that begins with operators on the picture."""

    def __init__(self, *operators: tuple[str, Any]) -> None:
        self.tensors, self.operators = [], []
        self.start = self.end = self.tensor(PICTURE)
        for kind, values in operators:
            self.then(kind, PICTURE, *([] if values is None else [values]))
        self.then(
            "CONV_2D", MAP, STEM, np.zeros(8, np.float32), stride=(2, 2), padding="SAME",
            activation="RELU6",
        )  # fmt: skip


@pytest.mark.parametrize(
    "operators",
    [
        [("MUL", np.float32(1 / 127.5)), ("ADD", np.float32(-1))],
        [("SUB", np.float32(127.5)), ("DIV", np.array([127.5], "f4"))],
        [("QUANTIZE", None), ("DIV", np.full((1, 1, 1, 3), 127.5, "f4")), ("SUB", np.float32(1))],
        [("CAST", None), ("ADD", np.full(3, -127.5, "f4")), ("MUL", np.float32(1 / 127.5))],
    ],
)  # fmt: skip
def test_arithmetic_on_the_picture_is_its_scaling(operators: list[tuple[str, Any]]) -> None:
    found = walk(Scaled(*operators).pooled().classified().graph).scaling
    values = np.array([[0.0], [255]]) * found.factor + found.offset
    np.testing.assert_allclose(values, [[-1] * 3, [1] * 3], atol=1e-6)
    assert set(found.operators) == {kind for kind, x in operators if x is not None}


def test_each_channel_has_its_own() -> None:
    graph = Scaled(("SUB", MEAN), ("DIV", np.float32(58))).pooled().classified().graph
    found = walk(graph).scaling
    np.testing.assert_allclose(-found.offset / found.factor, MEAN, rtol=1e-6)


def test_what_varies_over_the_picture_or_divides_by_nothing_is_refused() -> None:
    for kind, values in (("SUB", np.ones((14, 14, 1))), ("DIV", np.zeros(3)), ("MUL", np.ones(14))):
        with pytest.raises(DialectError):
            walk(Scaled((kind, values)).pooled().classified().graph)


def test_without_arithmetic_there_is_no_scaling() -> None:
    found = walk(Builder().pooled().classified().graph).scaling
    assert not found.operators and found.factor.tolist() == [1.0] * 3


def test_shapes_that_are_computed_for_any_batch_are_passed_over() -> None:
    """Flatten, as converters write it for an open batch."""
    builder = Builder().pooled()
    pooled = builder.end
    builder.then("SHAPE", (4,)).then("STRIDED_SLICE", (), [0], [1], [1]).then("PACK", (2,), 8)
    shape, builder.end = builder.end, pooled
    builder.then("RESHAPE", (1, 8))
    reshape = builder.operators[-1]
    builder.operators[-1] = type(reshape)("RESHAPE", (pooled, shape), reshape.outputs)
    [linear] = walk(builder.classified().graph).head.linears
    np.testing.assert_array_equal(linear.weight, WEIGHT)


@pytest.mark.parametrize("kind", ["SOFTMAX", "TANH", "MUL"])
def test_before_the_pooling_other_operators_are_refused(kind: str) -> None:
    with pytest.raises(DialectError, match=f"unexpected operator {kind} before the pooling"):
        walk(Builder().then(kind, MAP).pooled().classified().graph)


def test_a_branch_of_the_chain_is_refused() -> None:
    beside = Builder()
    mapped = beside.end
    beside.pooled().end = mapped
    with pytest.raises(DialectError, match="two classifiers"):
        walk(beside.then("CONV_2D", MAP, WEIGHT[:, None, None], BIAS).graph)
