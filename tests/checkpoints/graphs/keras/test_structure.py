"""A Keras model's layers as a chain of convolutions, with what stands before and behind it."""

from typing import Any

import numpy as np
import pytest

from mobilenetv2.checkpoints.graphs.keras.structure import Find, Structure, follow
from mobilenetv2.errors import DialectError

Named = tuple[str, dict[str, Any]]
INPUT: Named = ("InputLayer", {"batch_shape": [None, 32, 33, 3]})
NORM: Named = ("BatchNormalization", {"epsilon": 1e-3, "momentum": 0.9})
STEM: Named = ("Conv2D", {"filters": 8, "kernel_size": [3, 3], "strides": 2, "padding": "same"})
DEPTHWISE: Named = ("DepthwiseConv2D", {"kernel_size": 3, "padding": "same"})
PROJECT: Named = ("Conv2D", {"filters": 8, "kernel_size": 1, "padding": "same"})
RELU6: Named = ("ReLU", {"max_value": 6.0})
POOL: Named = ("GlobalAveragePooling2D", {})
DENSE: Named = ("Dense", {"units": 5, "activation": "softmax"})


def run(*rows: Named, body: bool = False) -> Structure:
    """A Sequential model of these layers behind the input, named by their place."""
    layers = [
        {"class_name": kind, "config": {"name": f"l{place}", **settings}}
        for place, (kind, settings) in enumerate((INPUT, *rows))
    ]
    return follow({"config": {"layers": layers}}, body=body)


def always(variables: dict[str, Any]) -> Find:
    """A file in which every layer has these variables."""
    return lambda _: variables


def test_everything_there_is() -> None:
    found = run(STEM, NORM, RELU6, DEPTHWISE, NORM, RELU6, PROJECT, NORM, POOL,
                ("Dropout", {"rate": 0.2}), DENSE)  # fmt: skip
    assert [(step.weight.shape, step.stride, step.padding) for step in found.steps] == [
        ((8, 3, 3, 3), 2, "same"), ((8, 1, 3, 3), 1, ""), ((8, 8, 1, 1), 1, ""),
    ]  # fmt: skip
    assert [step.activation for step in found.steps] == ["relu6", "relu6", ""]
    assert all(step.batch_norm and step.batch_norm.momentum == 0.9 for step in found.steps)
    assert (found.size, found.unbiased, found.same) == ((32, 33), False, True)
    assert (found.head.dropout, found.head.classes) == (0.2, 5)
    assert found.front is not None and found.front.normalisation() is None
    assert found.names == tuple(f"l{place}" for place in range(12))


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
def test_zeros_in_front_of_stride_2(rows: list[Named], padding: str | None) -> None:
    """At 32 x 33 pixels, without any padding of the convolution's own."""
    stem: Named = ("Conv2D", {**STEM[1], "padding": "valid"})
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


PAD: Named = ("ZeroPadding2D", {})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([STEM, ("Rescaling", {"scale": 2})], r"l2 \(Rescaling\): MobileNetV2 has no layer"),
        ([NORM], r"l1 \(BatchNormalization\): .*before the first convolution"),
        ([STEM, RELU6, NORM], r"l3 \(BatchNormalization\): .*after an activation"),
        ([STEM, PAD, NORM], r"l3 \(BatchNormalization\): a padding before a layer that is not"),
        ([STEM, PAD], "it ends in a padding"),
        ([STEM, POOL, STEM], r"l3 \(Conv2D\).*3 x 3 behind the body.*body=True"),
        ([STEM, POOL, DENSE, DENSE], r"l4 \(Dense\): .*behind the softmax.*body=True"),
        ([STEM, DENSE], r"l2 \(Dense\): .*at every position.*body=True"),
        ([STEM, ("Activation", {"activation": "softmax"})], r"l2 \(Activation\) has activation"),
        ([STEM, POOL, ("LeakyReLU", {})], r"l3 \(LeakyReLU\) is not known.*body=True"),
        ([STEM, POOL, ("Add", {})], r"l3 \(Add\)"),
        ([STEM, ("Add", {})], r"l2 \(Add\): takes 1 inputs"),
        ([STEM, ("LeakyReLU", {})], r"l2 \(LeakyReLU\): MobileNetV2 has no layer"),
        ([("Conv2D", {**STEM[1], "padding": "causal"})], r"l1 \(Conv2D\): padding 'causal'"),
        ([("Conv2D", {**STEM[1], "strides": [1, 2]})], r"l1 \(Conv2D\) has strides \[1, 2\]"),
        ([], "no convolutions"),
    ],
)
def test_layers_in_other_places(rows: list[Named], message: str) -> None:
    with pytest.raises(DialectError, match=message):
        run(*rows)


HEAD: tuple[Named, ...] = (
    STEM, NORM, RELU6, DEPTHWISE, NORM, RELU6, PROJECT, NORM,
    ("Conv2D", {"filters": 12, "kernel_size": 1}), NORM, RELU6,
)  # fmt: skip
"""A body, from the stem to the activated 1 x 1 convolution that ends it."""


def test_a_head_that_cannot_be_described_may_be_left_out() -> None:
    tail: tuple[Named, ...] = (
        ("Conv2D", {"filters": 4, "kernel_size": 3, "activation": "relu"}), ("LeakyReLU", {}),
        ("Flatten", {}), ("Dense", {"units": 7, "activation": "softmax"}),
    )  # fmt: skip
    with pytest.raises(DialectError, match=r"3 x 3 behind the body.*body=True"):
        run(*HEAD, *tail)
    found = run(*HEAD, *tail, body=True)
    assert len(found.steps) == 4 and not found.head.linears and found.head.outputs == 7
    whole = run(*HEAD, POOL, DENSE, body=True)
    assert not whole.head.linears and whole.head.outputs == 5
    assert not run(*HEAD).head.linears and not run(*HEAD, POOL).head.linears


def test_layers_behind_the_body_are_its_head() -> None:
    found = run(
        *HEAD, ("AveragePooling2D", {"pool_size": [16, 17]}), ("Flatten", {}), NORM,
        ("Dense", {"units": 9, "activation": "relu"}), ("Dropout", {"rate": 0.5}),
        ("Dense", {"units": 1, "activation": "sigmoid", "use_bias": False}),
    ).head  # fmt: skip
    assert [(x.weight.shape, x.activation) for x in found.linears] == [
        ((9, 12), "relu"),
        ((1, 9), ""),
    ]
    assert (found.classifier.outputs, found.classifier.bias, found.classes) == ("logit", False, 2)


def test_grey_pictures_repeated_are_one_channel_of_the_stem() -> None:
    stem = np.arange(3 * 3 * 3 * 8, dtype=np.float32).reshape(3, 3, 3, 8)
    rows = [
        {"class_name": "InputLayer", "config": {"name": "in", "batch_shape": [None, 32, 32, 1]}},
        {"class_name": "Concatenate", "config": {"name": "three"},
         "inbound_nodes": [[["in", 0, 0, {}]] * 3]},
        {"class_name": "Conv2D", "config": {"name": "stem", **STEM[1], "use_bias": False},
         "inbound_nodes": [[["three", 0, 0, {}]]]},
    ]  # fmt: skip
    found = follow({"config": {"layers": rows}}, always({"kernel": stem}))
    np.testing.assert_array_equal(found.steps[0].weight[:, 0], stem.sum(2).transpose(2, 0, 1))
    assert found.channels == 1


def test_arrays_that_do_not_fit_the_config_are_refused() -> None:
    rows = [{"class_name": kind, "config": {"name": f"l{n}", **settings}}
            for n, (kind, settings) in enumerate((INPUT, STEM))]  # fmt: skip
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "its kernel is not in the file"),
        ({"kernel": np.zeros((3, 3, 3, 9))}, r"\[3, 3, 3, 9\] in the file"),
    ]
    for variables, said in wrong:
        with pytest.raises(DialectError, match=rf"l1 \(Conv2D\).*{said}"):
            follow({"config": {"layers": rows}}, always(variables))
