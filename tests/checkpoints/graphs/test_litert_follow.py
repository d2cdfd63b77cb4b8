"""What a graph may have from the pooling on, operator by operator; networks: test_litert.py."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.litert import Graph, Operator, Tensor
from mobilenetv2.checkpoints.graphs.chain import PLAIN_HEAD
from mobilenetv2.checkpoints.graphs.litert import follow
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec

random = np.random.default_rng(0)
STEM = random.normal(size=(8, 3, 3, 3)).astype(np.float32)
WEIGHT = random.normal(size=(5, 8)).astype(np.float32)
BIAS = random.normal(size=5).astype(np.float32)
MAP, VECTOR = (1, 7, 7, 8), (1, 1, 1, 8)


class Builder:
    """A stem on a picture of 14 x 14, and whatever a test puts behind it."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.start = self.end = self.tensor((1, 14, 14, 3))
        self.then(
            "CONV_2D", MAP, STEM, np.zeros(8, np.float32), stride=(2, 2), padding="SAME",
            activation="RELU6",
        )  # fmt: skip

    def tensor(self, shape: tuple[int, ...], values: NDArray | None = None) -> int:
        self.tensors.append(Tensor("", shape, values, None, None))
        return len(self.tensors) - 1

    def then(self, kind: str, shape: tuple[int, ...], *constants: Any, **options: Any) -> "Builder":
        inputs = [self.tensor(np.shape(values), np.asarray(values)) for values in constants]
        source, self.end = self.end, self.tensor(shape)
        self.operators.append(Operator(kind, (source, *inputs), (self.end,), **options))
        return self

    def pooled(self) -> "Builder":
        return self.then("MEAN", VECTOR, [1, 2])

    def classified(self) -> "Builder":
        return self.then("FULLY_CONNECTED", (1, 5), WEIGHT, BIAS)

    @property
    def graph(self) -> Graph:
        return Graph(tuple(self.tensors), tuple(self.operators), (self.start,), (self.end,))


def accepted(builder: Builder) -> None:
    steps, [linear] = follow(builder.graph)
    assert [step.weight.shape for step in steps] == [(8, 3, 3, 3)]
    np.testing.assert_array_equal(linear.weight, WEIGHT, strict=True)
    np.testing.assert_array_equal(linear.bias, BIAS, strict=True)


def refused(builder: Builder, words: str, head: ClassifierSpec = PLAIN_HEAD) -> None:
    with pytest.raises(DialectError, match=words) as caught:
        follow(builder.graph, head)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("axes", [[1, 2], [2, 1], [-3, -2], [1, -2]])
@pytest.mark.parametrize("shape", [VECTOR, (1, 8)])
def test_a_mean_over_height_and_width_in_any_spelling(
    axes: list[int], shape: tuple[int, ...]
) -> None:
    accepted(Builder().then("MEAN", shape, np.array(axes, np.int32)).classified())


@pytest.mark.parametrize("axes", [[1], [2], [3], [1, 3], [0, 1, 2], [1, 2, 3], [], [6, 5], [0.5]])
def test_a_mean_over_other_axes_is_refused(axes: list[float]) -> None:
    refused(Builder().then("MEAN", VECTOR, np.array(axes)).classified(), "MEAN over the axes")


def test_a_mean_whose_axes_are_computed_or_missing_is_refused() -> None:
    refused(Builder().then("MEAN", VECTOR).classified(), "MEAN over the axes None")
    builder = Builder().then("MEAN", VECTOR).classified()
    pooling = builder.operators[1]
    for other in (-1, builder.start):
        inputs = (pooling.inputs[0], other)
        builder.operators[1] = dataclasses.replace(pooling, inputs=inputs)
        refused(builder, "MEAN over the axes None")


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (7, 7)])
def test_a_pooling_window_of_the_whole_map(stride: tuple[int, int]) -> None:
    options: dict[str, Any] = {"stride": stride, "padding": "VALID", "window": (7, 7)}
    accepted(Builder().then("AVERAGE_POOL_2D", VECTOR, **options).classified())


@pytest.mark.parametrize(
    ("left", "options", "words"),
    [
        (
            (1, 5, 5, 8),
            {"window": (3, 3)},
            r"of \[3, 3\] on a map of \[7, 7\] gives \[5, 5\]; .* whole map",
        ),
        (VECTOR, {"window": (6, 6), "stride": (2, 2)}, r"\[6, 6\] on a map of \[7, 7\]"),
        (VECTOR, {"window": (7, 6), "stride": (7, 7)}, r"\[7, 6\] on a map of"),
        (MAP, {"window": (7, 7), "padding": "SAME"}, r"gives \[7, 7\]"),
        (VECTOR, {"window": (7, 7), "activation": "RELU6"}, "with activation RELU6; .* plain"),
    ],
)
def test_a_pooling_of_less_than_the_map_is_refused(
    left: tuple[int, ...], options: dict[str, Any], words: str
) -> None:
    options = {"padding": "VALID"} | options
    refused(Builder().then("AVERAGE_POOL_2D", left, **options).classified(), words)


@pytest.mark.parametrize("activation", ["RELU", "RELU6", "RELU_N1_TO_1", "TANH", "unknown"])
def test_an_activation_fused_into_the_classifier_is_refused(activation: str) -> None:
    words = f"with activation {activation} as the classifier"
    for kind, weight in (("FULLY_CONNECTED", WEIGHT), ("CONV_2D", WEIGHT[:, None, None])):
        builder = Builder().pooled().then(kind, (1, 5), weight, BIAS, activation=activation)
        refused(builder, f"{kind} {words}")
        builder.operators[-1] = dataclasses.replace(builder.operators[-1], activation="NONE")
        accepted(builder)


def test_a_classifier_of_another_form_is_refused() -> None:
    for kind, weight in (
        ("CONV_2D", np.ones((5, 3, 3, 8), np.float32)), ("CONV_2D", WEIGHT),
        ("FULLY_CONNECTED", WEIGHT[:, None, None]),
    ):  # fmt: skip
        refused(Builder().pooled().then(kind, (1, 5), weight, BIAS), f"a classifier, {kind}, with")


def test_a_head_of_hidden_layers_is_followed_in_order() -> None:
    head = ClassifierSpec("max", (HiddenSpec(8),))
    square, axes = np.ones((8, 8), np.float32), np.array([1, 2])

    def built(*layers: str) -> Builder:
        builder = Builder().then("REDUCE_MAX", VECTOR, axes)
        for activation in layers:
            builder.then("FULLY_CONNECTED", (1, 8), square, np.ones(8, "f4"), activation=activation)
        return builder

    _, linears = follow(built("RELU", "NONE").graph, head)
    assert [linear.activation for linear in linears] == ["relu", ""]
    refused(built("RELU", "NONE"), "unexpected operator REDUCE_MAX before the pooling")
    for builder, words in (
        (built("TANH", "NONE"), "with activation TANH as a hidden layer"),
        (built("RELU", "RELU"), "with activation RELU as the classifier"),
        (built("RELU", "NONE", "NONE"), "unexpected operator FULLY_CONNECTED after the logits"),
        (built("RELU"), "no classifier after the pooling"),
    ):
        refused(builder, words, head)
    beside = built("RELU")
    beside.end = beside.operators[-1].inputs[0]  # both take the features
    beside.then("FULLY_CONNECTED", (1, 8), square, np.ones(8, "f4"))
    refused(beside, "two classifiers", head)


@pytest.mark.parametrize("kind", ["RESHAPE", "SQUEEZE", "SOFTMAX"])
def test_before_the_pooling_nothing_is_reshaped(kind: str) -> None:
    words = f"unexpected operator {kind} before the pooling"
    refused(Builder().then(kind, MAP).pooled().classified(), words)


def test_behind_the_pooling_vectors_are_reshaped_and_requantised() -> None:
    builder = Builder().then("QUANTIZE", MAP).pooled().then("RESHAPE", (1, 8), [1, 8])
    builder.then("DEQUANTIZE", (1, 8)).then("SQUEEZE", (1, 8)).classified()
    builder.then("RESHAPE", (1, 5), [1, 5])
    accepted(builder)
    accepted(builder.then("SOFTMAX", (1, 5)).then("QUANTIZE", (1, 5)).then("RESHAPE", (5,), [5]))


def test_a_softmax_stands_behind_the_classifier_and_once() -> None:
    softened = Builder().pooled().then("SOFTMAX", VECTOR)
    refused(softened.classified(), "unexpected operator SOFTMAX after the features")
    twice = Builder().pooled().classified().then("SOFTMAX", (1, 5)).then("SOFTMAX", (1, 5))
    refused(twice, "unexpected operator SOFTMAX after the probabilities")


@pytest.mark.parametrize("kind", ["RELU6", "LOGISTIC", "MEAN", "PAD", "FULLY_CONNECTED"])
def test_nothing_else_stands_behind_the_classifier(kind: str) -> None:
    refused(
        Builder().pooled().classified().then(kind, (1, 5), WEIGHT, BIAS),
        f"unexpected operator {kind} after the logits",
    )


def test_the_classifier_takes_what_was_pooled_and_gives_what_comes_out() -> None:
    beside = Builder()
    mapped = beside.end
    beside.pooled().end = mapped
    refused(beside.then("CONV_2D", MAP, WEIGHT[:, None, None], BIAS), "CONV_2D leaves the chain")
    unused = Builder().pooled()
    pooled = unused.end
    unused.classified().end = pooled
    refused(unused.then("RESHAPE", (1, 8), [1, 8]), "no classifier after the pooling")
    unused.classified().end = pooled
    refused(unused.classified(), "two classifiers")
    refused(Builder(), "no classifier after the pooling")
    refused(Builder().pooled(), "no classifier after the pooling")
