"""What is worked out from constants, against ONNX's own reference evaluator."""

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from mobilenetv2.checkpoints.containers.onnx import Graph, Node
from mobilenetv2.checkpoints.graphs.chain import PICTURE, Place, Step
from mobilenetv2.checkpoints.graphs.onnx_state import (
    COMPUTED,
    Constants,
    State,
    Tensor,
    closed,
    reshape,
    target_shape,
    transpose,
)
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


# ---------------------------------------------------------------- tensors on the way

NODE = Node("Conv", "", ("x",), ("y",), {})


def state(shape: tuple[int | None, ...] = (None, 3, None, None)) -> State:
    return State(Graph((NODE,), {}, {"x": shape}, ("y",), 17), (8, 9))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((None, 3, None, None), (1, 3, 8, 9)), ((4, None, 5, 6), (4, 3, 5, 6)),
        ((None, None, None, 3), (1, 8, 9, 3)), ((None, 1, None, 7), (1, 1, 8, 7)),
    ],
)  # fmt: skip
def test_open_sides_are_filled(shape: tuple[int | None, ...], expected: tuple[int, ...]) -> None:
    assert closed(shape, (8, 9)) == expected == state(shape).picture.shape
    with pytest.raises(DialectError, match="its input has shape"):
        closed(shape[1:], (8, 9))


def test_a_pictures_normalisations_are_one() -> None:
    picture = state().picture.normalised(np.array(2.0), np.array(1.0))
    picture = picture.normalised(np.array([1.0, 2, 3]).reshape(3, 1, 1), np.array(0.5))
    factor, offset = picture.by_channel()
    np.testing.assert_array_equal(factor, [2, 4, 6])
    np.testing.assert_array_equal(offset, [1.5, 2.5, 3.5])
    with pytest.raises(DialectError, match="vary over it"):
        picture.normalised(np.ones((8, 9)), np.array(0.0)).by_channel()


def pooled() -> tuple[State, Tensor]:
    """A convolution of two channels whose map is one pixel."""
    found = state()
    place = found.chain.convolve(Step(PICTURE, False, np.ones((2, 3, 1, 1), "f4"), None, 1, ""))
    return found, found.pooled(Tensor(place, (1, 2, 1, 1), "NCHW"))


def test_the_pooling_ends_the_chain_and_a_linear_layer_follows() -> None:
    found, tensor = pooled()
    assert len(found.steps) == 1 and tensor.stage == "pooled" and found.pooled(tensor) is tensor
    weight = np.ones((5, 2), np.float64)
    with pytest.raises(DialectError, match="5 features are taken"):
        found.classify(tensor, weight.T, None)
    with pytest.raises(DialectError, match="3 biases for 5 outputs"):
        found.classify(tensor, weight, np.ones(3))
    logits = found.classify(tensor, weight, np.ones(1))
    assert (logits.stage, logits.shape) == ("logits", (1, 5, 1, 1))
    [linear] = found.linears
    assert linear.weight.dtype == linear.bias.dtype == np.float32
    np.testing.assert_array_equal(linear.bias, np.ones(5))
    with pytest.raises(DialectError, match="a second linear layer"):
        found.classify(logits, weight, None)
    with pytest.raises(DialectError, match="after the pooling"):
        found.at(logits, PICTURE)


def test_a_map_of_several_pixels_is_not_pooled() -> None:
    found = state()
    with pytest.raises(DialectError, match="is not pooled"):
        found.pooled(Tensor(Place(0, 0), (1, 2, 3, 1), "NCHW"))
    with pytest.raises(DialectError, match="is not pooled"):
        found.pooled(found.picture)


def test_axes_are_followed_through_transposes() -> None:
    node = Node("Transpose", "", ("x",), ("y",), {"perm": [0, 2, 3, 1]})
    picture = state().picture.normalised(np.array([1.0, 2, 3]).reshape(3, 1, 1), np.array(0.0))
    turned = transpose(state(), node, picture)
    assert (turned.shape, turned.axes) == ((1, 8, 9, 3), "0231")
    assert np.shape(turned.factor) == (1, 1, 1, 3)
    with pytest.raises(DialectError, match="a Transpose"):
        transpose(state(), Node("Transpose", "", ("x",), ("y",), {"perm": [0, 1]}), picture)


@pytest.mark.parametrize(
    ("kind", "attributes", "shape"),
    [
        ("Flatten", {}, (1, 2)), ("Flatten", {"axis": 4}, (2, 1)), ("Squeeze", {}, (1, 2)),
        ("Squeeze", {"axes": [2]}, (1, 2, 1)), ("Unsqueeze", {"axes": [4]}, (1, 2, 1, 1, 1)),
        ("Reshape", {"shape": [-1, 2]}, (1, 2)),
    ],
)  # fmt: skip
def test_what_is_pooled_is_reshaped(
    kind: str, attributes: dict[str, Any], shape: tuple[int, ...]
) -> None:
    found, tensor = pooled()
    assert reshape(found, Node(kind, "", ("x",), ("y",), attributes), tensor).shape == shape
    with pytest.raises(DialectError, match="a Squeeze"):
        reshape(found, Node("Squeeze", "", ("x",), ("y",), {"axes": [1]}), tensor)
