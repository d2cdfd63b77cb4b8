"""Keras layers followed as a chain of convolutions, on the smallest models that show it."""

from typing import Any

import pytest

from mobilenetv2.checkpoints.graphs import keras_layers
from mobilenetv2.checkpoints.graphs.keras_chain import Structure, follow
from mobilenetv2.errors import DialectError

Row = tuple[str, dict[str, Any]]
PICTURE: Row = ("InputLayer", {"batch_shape": [None, 32, 33, 3]})
NORM: Row = ("BatchNormalization", {"epsilon": 1e-3, "momentum": 0.9})
STEM: Row = ("Conv2D", {"filters": 8, "kernel_size": [3, 3], "strides": 2, "padding": "same"})
DEPTHWISE: Row = ("DepthwiseConv2D", {"kernel_size": 3, "padding": "same"})
PROJECT: Row = ("Conv2D", {"filters": 8, "kernel_size": 1, "padding": "same"})
RELU6: Row = ("ReLU", {"max_value": 6.0})
POOL: Row = ("GlobalAveragePooling2D", {})
DENSE: Row = ("Dense", {"units": 5, "activation": "softmax"})


def run(*rows: Row) -> Structure:
    """A Sequential model of these layers behind the input, named by their place."""
    layers = [
        {"class_name": kind, "config": {"name": f"l{place}", **settings}}
        for place, (kind, settings) in enumerate((PICTURE, *rows))
    ]
    return follow(keras_layers.read({"config": {"layers": layers}}))


def test_everything_there_is() -> None:
    found = run(STEM, NORM, RELU6, DEPTHWISE, NORM, RELU6, PROJECT, NORM, POOL,
                ("Dropout", {"rate": 0.2}), DENSE)  # fmt: skip
    assert [(step.weight.shape, step.stride, step.padding) for step in found.steps] == [
        ((8, 3, 3, 3), 2, "same"), ((8, 1, 3, 3), 1, ""), ((8, 8, 1, 1), 1, ""),
    ]  # fmt: skip
    assert [step.activation for step in found.steps] == ["relu6", "relu6", ""]
    assert all(step.batch_norm and step.batch_norm.momentum == 0.9 for step in found.steps)
    assert (found.size, found.dropout, found.unbiased, found.same) == ((32, 33), 0.2, False, True)
    assert found.rescaling is None and found.names == tuple(f"l{place}" for place in range(12))


@pytest.mark.parametrize(
    ("rows", "padding"),
    [
        ([("ZeroPadding2D", {"padding": [[0, 1], [1, 1]]})], "same"),
        ([("ZeroPadding2D", {"padding": 1})], "symmetric"),
        ([("ZeroPadding2D", {"padding": [[0, 1], [0, 1]]})], None),  # the width is odd
        ([("ZeroPadding2D", {"padding": 2})], None),
        ([], None),
    ],
)
def test_zeros_in_front_of_stride_2(rows: list[Row], padding: str | None) -> None:
    """At 32 x 33 pixels, without any padding of the convolution's own."""
    stem: Row = ("Conv2D", {**STEM[1], "padding": "valid"})
    if padding is None:
        with pytest.raises(DialectError, match=r"layer l\d \(Conv2D\): a 3 x 3 convolution of"):
            run(*rows, stem, NORM, RELU6)
    else:
        assert run(*rows, stem, NORM, RELU6).steps[0].padding == padding


def test_an_activation_layer_is_a_relu() -> None:
    for name, activation in (("relu6", "relu6"), ("relu", "relu"), ("linear", "")):
        found = run(STEM, NORM, ("Activation", {"activation": name}))
        assert found.steps[0].activation == activation
    assert run(STEM, NORM, ("ReLU", {})).steps[0].activation == "relu"
    assert run(STEM, ("ReLU", {"max_value": 3})).steps[0].activation == "bounds 0 to 3"
    run(STEM, NORM, POOL, ("Dense", {"units": 5}), ("Activation", {"activation": "softmax"}))


def test_rescalings_behind_the_input_are_one() -> None:
    found = run(("Rescaling", {"scale": 0.5}), ("Rescaling", {"scale": 2, "offset": [1, 2, 3]}),
                STEM)  # fmt: skip
    assert found.rescaling == ((1.0, 1.0, 1.0), (1.0, 2.0, 3.0))
    found = run(("Rescaling", {"scale": 0.5, "offset": 4}), ("Rescaling", {"scale": 2}), STEM)
    assert found.rescaling == ((1.0,) * 3, (8.0,) * 3)


PAD: Row = ("ZeroPadding2D", {})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([STEM, ("Rescaling", {"scale": 2})], r"l2 \(Rescaling\): stands not directly behind"),
        ([NORM], r"l1 \(BatchNormalization\): .*before the first convolution"),
        ([STEM, RELU6, NORM], r"l3 \(BatchNormalization\): .*behind an activation"),
        ([STEM, PAD, NORM], r"l3 \(BatchNormalization\): a padding in front of something else"),
        ([STEM, PAD], "it ends in a padding"),
        ([STEM, POOL, STEM], r"l3 \(Conv2D\): .*behind the pooling"),
        ([STEM, POOL, POOL], r"l3 \(GlobalAveragePooling2D\): .*behind the pooling"),
        ([STEM, POOL, DENSE, DENSE], r"l4 \(Dense\): belongs behind the pooling alone"),
        ([STEM, DENSE], r"l2 \(Dense\): belongs behind the pooling alone"),
        ([STEM, ("Dropout", {"rate": 0.1})], r"l2 \(Dropout\): belongs behind the pooling"),
        ([STEM, POOL, *[("Dropout", {"rate": 0.1})] * 2], r"l4 \(Dropout\): a second dropout"),
        ([STEM, ("Activation", {"activation": "softmax"})], "softmax does not belong behind the m"),
        ([STEM, POOL, ("Activation", {"activation": "relu"})], "relu does not belong behind the p"),
        ([STEM, ("Add", {})], r"l2 \(Add\): takes 1 inputs"),
        ([STEM, ("GlobalMaxPooling2D", {})], r"l2 \(GlobalMaxPooling2D\): MobileNetV2 has no"),
        ([("Conv2D", {**STEM[1], "padding": "causal"})], r"l1 \(Conv2D\): padding 'causal'"),
        ([("Conv2D", {**STEM[1], "strides": [1, 2]})], r"l1 \(Conv2D\) has strides \[1, 2\]"),
        ([], "no convolutions"),
    ],
)
def test_layers_in_other_places(rows: list[Row], message: str) -> None:
    with pytest.raises(DialectError, match=message):
        run(*rows)
