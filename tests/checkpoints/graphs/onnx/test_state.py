"""Tensors on their way through an ONNX graph, and where its head begins."""

import numpy as np
import pytest

from mobilenetv2.checkpoints.containers.onnx import Graph, Node
from mobilenetv2.checkpoints.graphs.chain import PICTURE, Step
from mobilenetv2.checkpoints.graphs.onnx.state import State, Tensor, closed, transpose
from mobilenetv2.errors import DialectError

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


def mapped(side: int) -> tuple[State, Tensor]:
    """A convolution of two channels whose map has a side of some pixels."""
    found = state()
    place = found.chain.convolve(Step(PICTURE, False, np.ones((2, 3, 1, 1), "f4"), None, 1, ""))
    return found, Tensor(place, (1, 2, side, side), "NCHW")


def test_the_head_begins_at_a_map_and_has_one_latest_tensor() -> None:
    found, tensor = mapped(1)
    head, first = found.headed(tensor)
    assert len(found.steps) == 1 and head.channels == 2 and head.pooled
    head.linear(np.ones((5, 2)), np.ones(5))
    second = found.through(first, shape=(1, 5))
    assert found.finished(second).classes == 5
    for late in (first, tensor):
        with pytest.raises(DialectError, match="two classifiers"):
            found.headed(late)


def test_a_graph_that_ends_in_a_map_has_no_classifier() -> None:
    found, tensor = mapped(3)
    assert found.finished(tensor).classes is None
    with pytest.raises(DialectError, match="is no map"):
        state().begin(state().picture)


def test_axes_are_followed_through_transposes() -> None:
    node = Node("Transpose", "", ("x",), ("y",), {"perm": [0, 2, 3, 1]})
    picture = state().picture.normalised(np.array([1.0, 2, 3]).reshape(3, 1, 1), np.array(0.0))
    turned = transpose(state(), node, picture)
    assert (turned.shape, turned.axes) == ((1, 8, 9, 3), "0231")
    assert np.shape(turned.factor) == (1, 1, 1, 3)
    with pytest.raises(DialectError, match="a Transpose"):
        transpose(state(), Node("Transpose", "", ("x",), ("y",), {"perm": [0, 1]}), picture)
