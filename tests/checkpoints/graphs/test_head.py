"""A head is what its layers compute, or an error that offers the body alone."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenetv2.checkpoints.graphs.head import Head, HeadBuilder
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec

RANDOM = np.random.default_rng(7)
FEATURES, SIZE = 6, (3, 2)
ACTIVATIONS: dict[str, Callable[[NDArray], NDArray]] = {
    "": lambda x: x, "relu": lambda x: np.maximum(x, 0), "relu6": lambda x: np.clip(x, 0, 6),
}  # fmt: skip


def draw(*shape: int) -> NDArray:
    return RANDOM.normal(size=shape)


def builder() -> HeadBuilder:
    return HeadBuilder(FEATURES, SIZE)


def logits(head: Head, maps: NDArray) -> NDArray:
    """Return what the head computes of maps (n, height, width, channels)."""
    average = head.classifier.pooling == "average"
    values = maps.mean((1, 2)) if average else maps.max((1, 2))
    for layer in head.linears:
        values = ACTIVATIONS[layer.activation](values @ layer.weight.T + layer.bias)
    return values


MAPS = np.abs(draw(5, *SIZE, FEATURES))
W, B = draw(4, FEATURES), draw(4)
V, C = draw(3, 4), draw(3)
F, Q = draw(FEATURES), draw(FEATURES)
G, P = draw(4), draw(4)


def hidden(head: HeadBuilder) -> NDArray:
    head.pool("average")
    head.dropout(0.5)
    head.linear(W, B)
    head.activate("relu")
    head.dropout(0.25)
    head.linear(V)
    head.activate("softmax")
    return np.maximum(MAPS.mean((1, 2)) @ W.T + B, 0) @ V.T


def norm_behind_the_pooling(head: HeadBuilder) -> NDArray:
    head.pool("max", SIZE)
    head.flatten()
    head.scale(F, Q)
    head.scale(Q, F)
    head.linear(W)
    return ((MAPS.max((1, 2)) * F + Q) * Q + F) @ W.T


def norms_between_linear_layers(head: HeadBuilder) -> NDArray:
    head.pool("average")
    head.linear(W, B)
    head.scale(G, P)
    head.activate("relu6")
    head.scale(P, G)
    head.linear(V, C)
    head.scale(np.full(1, 2.0), np.ones(3))
    return ((np.clip((MAPS.mean((1, 2)) @ W.T + B) * G + P, 0, 6) * P + G) @ V.T + C) * 2 + 1


def linear_before_the_average(head: HeadBuilder) -> NDArray:
    head.scale(F, Q)
    head.linear(W, B)
    head.reshape((-1, 4))
    head.pool("average")
    head.reshape((1, 1, 4))
    head.activate("softmax")
    return ((MAPS * F + Q) @ W.T + B).mean((1, 2))


@pytest.mark.parametrize(
    "add", [hidden, norm_behind_the_pooling, norms_between_linear_layers, linear_before_the_average]
)
def test_a_head_computes_what_its_layers_do(add: Callable[[HeadBuilder], NDArray]) -> None:
    head = builder()
    expected = add(head)
    np.testing.assert_allclose(logits(head.finish(), MAPS), expected, rtol=1e-5, atol=1e-5)


def test_hidden_layers_have_their_units_activation_bias_and_dropout() -> None:
    head = builder()
    hidden(head)
    found = head.finish()
    assert found.classifier == ClassifierSpec(
        hidden=(HiddenSpec(4, "relu", True, 0.25),), bias=False
    )
    assert (found.dropout, found.classes) == (0.5, 3)


def test_layers_without_a_change_keep_every_bit() -> None:
    head = builder()
    head.pool("average")
    weight = W.astype(np.float32)
    head.linear(weight, B.astype(np.float32))
    [layer] = head.finish().linears
    assert (layer.weight == weight).all() and layer.weight.dtype == np.float32


@pytest.mark.parametrize(
    ("outputs", "ending", "meaning", "classes"),
    [
        (1, "", "logit", 2), (1, "sigmoid", "logit", 2), (2, "sigmoid", "sigmoid", 2),
        (3, "sigmoid", "sigmoid", 3), (2, "softmax", "softmax", 2), (3, "", "softmax", 3),
        (3, "log_softmax", "softmax", 3),
    ],
)  # fmt: skip
def test_outputs_mean_what_their_number_and_ending_say(
    outputs: int, ending: str, meaning: str, classes: int
) -> None:
    head = builder()
    head.pool("average")
    head.linear(draw(outputs, FEATURES), draw(outputs))
    head.activate(ending)
    found = head.finish()
    assert (found.classifier.outputs, found.classes) == (meaning, classes)


def test_a_map_of_one_position_needs_no_pooling() -> None:
    head = HeadBuilder(FEATURES, (1, 1))
    head.flatten()
    head.linear(W)
    assert head.finish().classifier.pooling == "average"


def test_without_a_linear_layer_there_is_no_head() -> None:
    head = builder()
    head.pool("max")
    head.dropout(0.1)
    found = head.finish()
    assert not found.linears and found.classes is None and found.classifier.pooling == "max"


def lines(*names: str) -> Callable[[HeadBuilder], object]:
    """Return a function that adds layers by name."""
    layers: dict[str, Callable[[HeadBuilder], object]] = {
        "average": lambda head: head.pool("average"),
        "max": lambda head: head.pool("max"),
        "part": lambda head: head.pool("average", (2, 2)),
        "flatten": lambda head: head.flatten(),
        "merge": lambda head: head.reshape((2, 18)),
        "wrong": lambda head: head.reshape((5,)),
        "linear": lambda head: head.linear(W, B),
        "two": lambda head: head.linear(V, C),
        "one": lambda head: head.linear(draw(1, FEATURES)),
        "misfit": lambda head: head.linear(draw(4, 7)),
        "biases": lambda head: head.linear(W, C),
        "norm": lambda head: head.scale(F, Q),
        "drop": lambda head: head.dropout(1.5),
        "relu": lambda head: head.activate("relu"),
        "tanh": lambda head: head.activate("tanh"),
        "softmax": lambda head: head.activate("softmax"),
    }

    def add(head: HeadBuilder) -> object:
        for name in names:
            layers[name](head)
        return head.finish()

    return add


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (("flatten",), "36 values, each of the 3 x 2 positions"),
        (("merge",), "36 values"),
        (("wrong",), "[5]"),
        (("part",), "2 x 2 of 3 x 2"),
        (("linear", "relu"), "relu at every position"),
        (("linear", "max"), "maximum"),
        (("linear",), "each of 3 x 2 positions"),
        (("average", "one", "softmax"), "softmax over one output"),
        (("average", "linear", "tanh"), "tanh"),
        (("average", "linear", "relu"), "activation relu"),
        (("average", "softmax"), "softmax is not behind a linear layer"),
        (("average", "norm"), "no linear layer behind it"),
        (("average", "linear", "softmax", "two"), "behind the softmax"),
        (("average", "misfit"), "[4, 7]"),
        (("average", "biases"), "3 biases"),
        (("average", "drop"), "dropout of 1.5"),
    ],
)
def test_other_heads_are_refused_with_a_way_out(layers: tuple[str, ...], said: str) -> None:
    with pytest.raises(DialectError, match="body=True") as error:
        lines(*layers)(builder())
    assert said in str(error.value)


def test_seventeen_hidden_layers_are_too_many() -> None:
    head = builder()
    head.pool("average")
    for _ in range(18):
        head.linear(np.eye(FEATURES))
        head.activate("relu")
    head.linear(W)
    with pytest.raises(DialectError, match="16"):
        head.finish()
