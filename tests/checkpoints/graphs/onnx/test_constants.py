"""What is worked out from constants, against ONNX's own reference evaluator."""

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from mobilenetv2.checkpoints.containers.onnx import Graph, Node
from mobilenetv2.checkpoints.graphs.onnx.constants import COMPUTED, Constants, target_shape
from mobilenetv2.errors import DialectError

X = np.random.default_rng(0).uniform(0.5, 3, (2, 3, 4)).astype(np.float32)
Y = np.random.default_rng(1).uniform(0.5, 3, (3, 1)).astype(np.float32)


def i64(values: Any) -> NDArray:
    return np.array(values, np.int64)


LEVELS = np.random.default_rng(2).integers(-128, 128, (2, 3, 4)).astype(np.int8)
TABLE = np.array([0.5, 0.25, 0.125], np.float32)

CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    *((kind, [X, Y], {}) for kind in ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min")),
    ("Max", [X, Y, X - 1], {}),
    ("Min", [X, Y, X - 1], {}),
    ("Div", [i64([7, 9]), i64([2, 3])], {}),
    ("Mod", [i64([7, 9, 225]), i64([2])], {"fmod": 0}),
    *((kind, [X], {}) for kind in ("Neg", "Sqrt", "Reciprocal", "Floor", "Identity", "Shape")),
    ("Shape", [X], {"start": 1, "end": 3}),
    ("Shape", [X], {"start": -2}),
    ("Cast", [X], {"to": TensorProto.INT64}),
    ("Cast", [i64([1, 0])], {"to": TensorProto.FLOAT}),
    ("CastLike", [i64([1, 0]), X], {}),
    ("Gather", [X, i64(1)], {"axis": 1}),
    ("Gather", [X, i64([[0, 1], [1, 0]])], {}),
    ("Slice", [X, i64([1]), i64([2**62]), i64([2])], {}),
    ("Slice", [X, i64([-1]), i64([-(2**63) + 1]), i64([0]), i64([-1])], {}),
    ("Slice", [X, i64([0, 1]), i64([-1, 3]), i64([0, 2]), i64([1, 2])], {}),
    ("Concat", [X, X + 1], {"axis": 1}),
    ("Unsqueeze", [X, i64([0, 2])], {}),
    ("Squeeze", [X[:1, :, :1], i64([0, 2])], {}),
    ("Squeeze", [X[:1, :, :1]], {}),
    ("Reshape", [X, i64([0, -1])], {}),
    ("Reshape", [X, i64([4, 3, 2])], {}),
    ("Transpose", [X], {"perm": [2, 0, 1]}),
    ("Transpose", [X], {}),
    ("ConstantOfShape", [i64([2, 3])], {}),
    ("ConstantOfShape", [i64([4])], {"value": helper.make_tensor("v", 7, [1], [7])}),
    ("Expand", [Y, i64([2, 3, 4])], {}),
    ("DequantizeLinear", [LEVELS, np.float32(0.5), np.int8(3)], {}),
    ("DequantizeLinear", [LEVELS, TABLE, np.array([1, -2, 3], np.int8)], {"axis": 1}),
    ("DequantizeLinear", [LEVELS, np.float32(0.5)], {}),
    ("QuantizeLinear", [X, np.float32(0.013), np.uint8(7)], {}),
    ("QuantizeLinear", [-X, TABLE / 30, np.array([1, -2, 3], np.int8)], {"axis": 1}),
]  # fmt: skip


def computed(kind: str, inputs: list[Any], attributes: dict[str, Any], opset: int = 17) -> NDArray:
    arrays = {f"x{index}": np.asarray(value) for index, value in enumerate(inputs)}
    plain = dict(attributes)
    if "value" in plain:
        plain["value"] = onnx.numpy_helper.to_array(plain["value"])
    node = Node(kind, "", tuple(arrays), ("out",), plain)
    constants = Constants(Graph((node,), arrays, {}, ("out",), opset))
    assert constants.compute(node)
    return constants["out"]


@pytest.mark.parametrize(("kind", "inputs", "attributes"), CASES)
def test_the_result_is_the_reference_s(
    kind: str, inputs: list[Any], attributes: dict[str, Any]
) -> None:
    arrays = {f"x{index}": np.asarray(value) for index, value in enumerate(inputs)}
    node = helper.make_node(kind, list(arrays), ["out"], **attributes)
    evaluator: Any = ReferenceEvaluator(node)
    expected = evaluator.run(None, arrays)[0]
    found = computed(kind, inputs, attributes)
    assert found.shape == expected.shape and found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_every_operator_is_among_the_cases() -> None:
    assert {kind for kind, _, _ in CASES} == COMPUTED


def test_older_operators_have_their_axes_and_places_as_attributes() -> None:
    np.testing.assert_array_equal(computed("Unsqueeze", [X], {"axes": [1]}, 9), X[:, None])
    np.testing.assert_array_equal(computed("Squeeze", [X[:1]], {"axes": [0]}, 9), X[0])
    sliced = computed("Slice", [X], {"starts": [1], "ends": [3], "axes": [2]}, 9)
    np.testing.assert_array_equal(sliced, X[:, :, 1:3])


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("ConstantOfShape", [i64([2**40])]),
        ("Expand", [Y, i64([2**20, 3, 2**20])]),
        ("Mul", [np.ones((10_000, 1), "f4"), np.ones((1, 10_000), "f4")]),
        ("Gather", [np.ones((1, 10_000), "f4"), np.zeros(10_000, np.int64)]),
    ],
)
def test_what_would_take_much_memory_is_refused_before_it_does(
    kind: str, inputs: list[Any]
) -> None:
    with pytest.raises(DialectError, match="much larger than the file"):
        computed(kind, inputs, {})


@pytest.mark.parametrize("to", [8, 15, 17])  # texts, complex numbers, 8-bit floats
def test_a_cast_to_no_numbers_is_refused_before_it_is_made(to: int) -> None:
    with pytest.raises(DialectError, match="to an unsupported type"):
        computed("Cast", [X], {"to": to})


def test_many_small_steps_share_one_budget() -> None:
    arrays = {"x": np.ones(100_000, np.float32)}
    nodes = [Node("Neg", "", (f"x{i}" if i else "x",), (f"x{i + 1}",), {}) for i in range(200)]
    constants = Constants(Graph(tuple(nodes), arrays, {}, ("out",), 17))
    with pytest.raises(DialectError, match="much larger"):
        for node in nodes:
            assert constants.compute(node)


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes"),
    [
        ("Add", [X, np.ones(5)], {}), ("Reshape", [X, i64([5])], {}),
        ("Reshape", [X, i64([-1, -1])], {}), ("ConstantOfShape", [i64([-1])], {}),
        ("Transpose", [X], {"perm": [0, 0, 1]}), ("Concat", [X, Y], {"axis": 0}),
        ("Concat", [X], {}),
        ("Gather", [X, i64([99])], {}), ("Slice", [X, i64([1])], {}), ("Cast", [X], {"to": 8}),
        ("Unsqueeze", [X, i64([7])], {}), ("Squeeze", [X, i64([0])], {}),
        ("DequantizeLinear", [LEVELS, TABLE], {"axis": 0}), ("Expand", [X, i64(range(20))], {}),
        ("QuantizeLinear", [X, TABLE, X], {}),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_is_an_error(
    kind: str, inputs: list[Any], attributes: dict[str, Any]
) -> None:
    with pytest.raises(DialectError):
        computed(kind, inputs, attributes)


def test_what_is_not_constant_is_left_alone() -> None:
    node = Node("Add", "", ("x", "picture"), ("out",), {})
    constants = Constants(Graph((node,), {"x": X}, {}, ("out",), 17))
    assert not constants.compute(node)
    with pytest.raises(DialectError, match="'out' is computed where a constant should be"):
        constants["out"]


def test_a_shape_with_kept_and_free_sides() -> None:
    assert target_shape((2, 3, 4), [0, -1]) == (2, 12)
    assert target_shape((2, 3, 4), [4, 0, 2]) == (4, 3, 2)
