"""Constants of single LiteRT operators."""

from typing import Any

import numpy as np
import pytest

from mobilenetv2.checkpoints.containers.litert import Graph, Operator, Tensor
from mobilenetv2.checkpoints.graphs.litert.operators import affine, constant, weights
from mobilenetv2.errors import DialectError


def one(kind: str, *inputs: Any) -> tuple[Graph, Operator]:
    """An operator whose inputs are arrays, or None for what is computed."""
    tensors = tuple(
        Tensor("", () if x is None else np.shape(x), None if x is None else np.asarray(x), None,
               None)
        for x in inputs
    )  # fmt: skip
    operator = Operator(kind, tuple(range(len(inputs))), (0,))
    return Graph(tensors, (operator,), (0,), (0,)), operator


@pytest.mark.parametrize(
    ("kind", "inputs", "expected"),
    [
        ("MUL", (None, 3.0), 6), ("MUL", (3.0, None), 6), ("ADD", (None, 3.0), 5),
        ("ADD", (3.0, None), 5), ("SUB", (None, 3.0), -1), ("SUB", (3.0, None), 1),
        ("DIV", (None, 4.0), 0.5),
    ],
)  # fmt: skip
def test_arithmetic_is_a_factor_and_an_offset(kind: str, inputs: Any, expected: float) -> None:
    found = affine(*one(kind, *inputs))
    assert found is not None and float((2 * found[0] + found[1]).item()) == expected


def test_what_is_none_is_told_apart() -> None:
    assert affine(*one("ADD", None, None)) is None and affine(*one("ADD", None)) is None
    for inputs in ((4.0, None), (None, 0.0)):
        with pytest.raises(DialectError, match="DIV"):
            affine(*one("DIV", *inputs))


def test_weights_without_bias_and_with_one_that_does_not_fit() -> None:
    weight = np.ones((5, 8), np.float32)
    found, bias = weights(*one("FULLY_CONNECTED", None, weight))
    assert found.shape == (5, 8) and bias is None
    _, bias = weights(*one("FULLY_CONNECTED", None, weight, np.ones(5)))
    assert bias is not None and bias.dtype == np.float32
    for inputs in ((None,), (None, None), (None, np.ones(3)), (None, weight, np.ones(3))):
        with pytest.raises(DialectError, match="FULLY_CONNECTED"):
            weights(*one("FULLY_CONNECTED", *inputs))


def test_an_input_that_is_absent_is_no_constant() -> None:
    graph, operator = one("MEAN", None, [1, 2])
    assert constant(graph, operator, 1) is not None
    assert constant(graph, operator, 0) is None and constant(graph, operator, 2) is None
