"""A LiteRT graph from the pooling on, operator by operator."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from litert_graphs import BIAS, MAP, VECTOR, WEIGHT, Builder, random

from mobilenetv2.checkpoints.graphs.litert.walk import walk
from mobilenetv2.errors import DialectError


def accepted(builder: Builder) -> None:
    walked = walk(builder.graph)
    steps, [linear] = walked.steps, walked.head.linears
    assert [step.weight.shape for step in steps] == [(8, 3, 3, 3)]
    np.testing.assert_array_equal(linear.weight, WEIGHT, strict=True)
    np.testing.assert_array_equal(linear.bias, BIAS, strict=True)


def refused(builder: Builder, words: str) -> None:
    """Refused for its head; the body alone is offered, and comes."""
    with pytest.raises(DialectError, match=words) as caught:
        walk(builder.graph)
    assert "\n" not in str(caught.value) and "body" in str(caught.value)
    walked = walk(builder.graph, body=True)
    assert len(walked.steps) == 1 and not walked.head.linears


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
        ((1, 5, 5, 8), {"window": (3, 3)}, r"of \[3, 3\] on a map of \[7, 7\] gives \[5, 5\]"),
        (VECTOR, {"window": (6, 6), "stride": (2, 2)}, r"\[6, 6\] on a map of \[7, 7\]"),
        (VECTOR, {"window": (7, 6), "stride": (7, 7)}, r"\[7, 6\] on a map of"),
        (MAP, {"window": (7, 7), "padding": "SAME"}, r"gives \[7, 7\]"),
    ],
)
@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_a_pooling_of_less_than_the_map_is_refused(
    kind: str, left: tuple[int, ...], options: dict[str, Any], words: str
) -> None:
    options = {"padding": "VALID"} | options
    refused(Builder().then(kind, left, **options).classified(), words)


@pytest.mark.parametrize("activation", ["RELU", "RELU6", "RELU_N1_TO_1", "TANH", "unknown"])
def test_an_activation_fused_into_the_classifier_is_refused(activation: str) -> None:
    for kind, weight in (("FULLY_CONNECTED", WEIGHT), ("CONV_2D", WEIGHT[:, None, None])):
        builder = Builder().pooled().then(kind, (1, 5), weight, BIAS, activation=activation)
        refused(builder, f"activation (?i:{activation})")
        builder.operators[-1] = dataclasses.replace(builder.operators[-1], activation="NONE")
        accepted(builder)


def test_a_classifier_of_another_form_is_refused() -> None:
    for kind, weight in (
        ("CONV_2D", np.ones((5, 3, 3, 8), np.float32)), ("CONV_2D", WEIGHT),
        ("FULLY_CONNECTED", WEIGHT[:, None, None]),
    ):  # fmt: skip
        refused(Builder().pooled().then(kind, (1, 5), weight, BIAS), f"a linear layer, {kind}")


def test_hidden_layers_and_the_pooling_are_found() -> None:
    square = random.normal(size=(8, 8)).astype(np.float32)
    for kind, axes in (("REDUCE_MAX", [1, 2]), ("MEAN", [2, 1])):
        builder = Builder().then(kind, VECTOR, axes)
        builder.then("FULLY_CONNECTED", (1, 8), square, activation="RELU")
        builder.then("FULLY_CONNECTED", (1, 8), square, np.ones(8, "f4")).then("RELU6", (1, 8))
        head = walk(builder.classified().graph).head
        assert head.classifier.pooling == {"MEAN": "average", "REDUCE_MAX": "max"}[kind]
        hidden = head.classifier.hidden
        assert [(one.units, one.activation, one.bias) for one in hidden] == [
            (8, "relu", False), (8, "relu6", True),
        ]  # fmt: skip
        np.testing.assert_array_equal(head.linears[0].weight, square)


@pytest.mark.parametrize(
    ("end", "outputs"),
    [
        (None, "softmax"),
        ("SOFTMAX", "softmax"),
        ("LOG_SOFTMAX", "softmax"),
        ("LOGISTIC", "sigmoid"),
    ],
)
def test_the_end_says_what_the_outputs_mean(end: str | None, outputs: str) -> None:
    builder = Builder().pooled().classified()
    found = walk((builder.then(end, (1, 5)) if end else builder).graph).head
    assert (found.classifier.outputs, found.classes) == (outputs, 5)


@pytest.mark.parametrize("end", [None, "LOGISTIC"])
def test_one_output_is_two_classes_and_a_softmax_of_it_nothing(end: str | None) -> None:
    builder = Builder().pooled().then("FULLY_CONNECTED", (1, 1), WEIGHT[:1], BIAS[:1])
    found = walk((builder.then(end, (1, 1)) if end else builder).graph).head
    assert (found.classifier.outputs, found.classes) == ("logit", 2)
    softened = Builder().pooled().then("FULLY_CONNECTED", (1, 1), WEIGHT[:1], BIAS[:1])
    refused(softened.then("SOFTMAX", (1, 1)), "100% for every photo")


def test_arithmetic_on_features_is_folded_into_the_next_layer() -> None:
    """A BatchNorm behind the pooling."""
    factor, offset = random.normal(size=(2, 8)).astype(np.float32)
    builder = Builder().pooled().then("MUL", VECTOR, factor).then("ADD", VECTOR, offset)
    [linear] = walk(builder.classified().graph).head.linears
    np.testing.assert_allclose(linear.weight, WEIGHT * factor, rtol=1e-6)
    np.testing.assert_allclose(linear.bias, BIAS + WEIGHT @ offset, rtol=1e-5)


def test_a_flattened_map_is_refused_and_one_position_is_none() -> None:
    wide = random.normal(size=(3, 7 * 7 * 8)).astype(np.float32)
    flat = Builder().then("RESHAPE", (1, 7 * 7 * 8), [1, -1])
    refused(flat.then("FULLY_CONNECTED", (1, 3), wide), "each of the 7 x 7 positions")
    refused(Builder().then("FULLY_CONNECTED", (1, 7, 7, 5), WEIGHT, BIAS, activation="RELU")
            .then("RESHAPE", (1, 245), [1, -1]), "at every position")  # fmt: skip


def test_behind_the_pooling_vectors_are_reshaped_and_requantised() -> None:
    builder = Builder().then("QUANTIZE", MAP).pooled().then("RESHAPE", (1, 8), [1, 8])
    builder.then("DEQUANTIZE", (1, 8)).then("SQUEEZE", (1, 8)).classified()
    builder.then("RESHAPE", (1, 5), [1, 5])
    accepted(builder)
    accepted(builder.then("SOFTMAX", (1, 5)).then("QUANTIZE", (1, 5)).then("RESHAPE", (5,), [5]))


def test_a_softmax_stands_behind_the_classifier_and_once() -> None:
    refused(Builder().pooled().then("SOFTMAX", VECTOR).classified(), "softmax is not behind")
    twice = Builder().pooled().classified().then("SOFTMAX", (1, 5)).then("SOFTMAX", (1, 5))
    refused(twice, "softmax behind the softmax")


@pytest.mark.parametrize("kind", ["PAD", "TANH", "MEAN"])
def test_nothing_else_stands_behind_the_classifier(kind: str) -> None:
    refused(Builder().pooled().classified().then(kind, (1, 5), WEIGHT, BIAS), kind)


def test_two_classifiers_are_refused() -> None:
    unused = Builder().pooled()
    pooled = unused.end
    unused.classified().end = pooled
    refused(unused.classified(), "two classifiers")


def test_a_graph_that_ends_in_features_has_no_layers() -> None:
    for builder in (Builder(), Builder().pooled(), Builder().pooled().then("RESHAPE", (1, 8), [8])):
        assert not walk(builder.graph).head.linears
