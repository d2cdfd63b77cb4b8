"""A Keras model's config: its layers, their settings, and the chain that they are."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.checkpoints.graphs.keras import Layer, Structure, follow, layers_of
from mobilenetv2.errors import DialectError

Row = dict[str, Any]


def tensor(name: str) -> Row:
    """As Keras 3 writes what a layer takes."""
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}


def row(kind: str, name: str, *inputs: str, age: int = 3, **settings: Any) -> Row:
    found: Row = {"class_name": kind, "config": {"name": name, **settings}}
    if inputs and age == 3:
        args = [tensor(inputs[0])] if len(inputs) == 1 else [[tensor(one) for one in inputs]]
        found["inbound_nodes"] = [{"args": args, "kwargs": {"mask": None}}]
    elif inputs:
        found["inbound_nodes"] = [[[one, 0, 0, {"training": False}] for one in inputs]]
    return found


def model(*rows: Row, kind: str = "Functional", **more: Any) -> Row:
    return {"class_name": kind, "config": {"layers": [*rows], **more}}


PICTURE = row("InputLayer", "picture", batch_shape=[None, 8, 8, 3])


@pytest.mark.parametrize("age", [2, 3])
def test_layers_with_what_they_take(age: int) -> None:
    found = layers_of(model(
        PICTURE, row("Conv2D", "a", "picture", age=age), row("Conv2D", "b", "a", age=age),
        row("Add", "c", "a", "b", age=age), output_layers=[["c", 0, 0]],
    ))  # fmt: skip
    assert [layer.inputs for layer in found.values()] == [(), ("picture",), ("a",), ("a", "b")]
    assert str(found["c"]) == "layer c (Add)" and found["picture"].settings == PICTURE["config"]


@pytest.mark.parametrize("age", [2, 3])
def test_a_model_inside_a_model(age: int) -> None:
    inner = model(
        row("InputLayer", "inside"), row("Conv2D", "a", "inside", age=age),
        row("ReLU", "b", "a", age=age), output_layers=["b", 0, 0],
    )  # fmt: skip
    base = inner | row("Functional", "base", "picture", age=age)
    base["config"] = {**inner["config"], "name": "base"}
    found = layers_of(model(PICTURE, base, row("Dense", "c", "base", age=age)))
    assert {name: layer.inputs for name, layer in found.items()} == {
        "picture": (), "a": ("picture",), "b": ("a",), "c": ("b",),
    }  # fmt: skip


def test_a_sequential_model_is_a_row() -> None:
    inner = model(row("InputLayer", "inside"), row("Conv2D", "a", "inside"), name="base")
    for first in ((PICTURE,), ()):
        found = layers_of(model(*first, inner, row("Dense", "c"), kind="Sequential"))
        start = "picture" if first else "inside"
        assert {name: layer.inputs for name, layer in found.items()} == {
            start: (), "a": (start,), "c": ("a",),
        }  # fmt: skip
    # The oldest: no input layer, and a bare list.
    oldest = row("Conv2D", "a", batch_input_shape=[None, 8, 8, 3])
    found = layers_of({"config": [oldest, row("BatchNormalizationV1", "b")]})
    assert [(layer.kind, layer.inputs) for layer in found.values()] == [
        ("InputLayer", ()), ("Conv2D", ("a_input",)), ("BatchNormalization", ("a",)),
    ]  # fmt: skip


A = row("Conv2D", "a", "picture")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "not that of a functional Keras model"),
        ({"config": {}}, "not that of a functional Keras model"),
        ({"config": {"layers": [3]}}, "not that of a functional Keras model"),
        (model(), "not that of a functional Keras model"),
        (model(PICTURE, row("Conv2D", "a", "x")), "a takes the output of x, which does not exist"),
        (model(PICTURE, A, A), "two layers are named 'a'"),
        (model(PICTURE, row("InputLayer", "other")), "more than one image"),
        (model(PICTURE, A, row("Conv2D", "b", "picture")), "outputs of a, b are not used"),
        (model(PICTURE, A, output_layers=[["a", 0, 0], ["picture", 0, 0]]), "it has 2 outputs"),
        (model(PICTURE, A, output_layers=[["picture", 0, 0]]), "outputs of a are not used"),
        (
            model(PICTURE, A | {"inbound_nodes": [*A["inbound_nodes"]] * 2}),
            r"layer a \(Conv2D\) is used 2 times",
        ),
    ],
)
def test_what_is_no_single_path(config: Row, message: str) -> None:
    with pytest.raises(DialectError, match=message):
        layers_of(config)


def test_models_too_deep_inside_one_another() -> None:
    config = model(PICTURE)
    for _ in range(20):
        config = model(config, name="x")
    with pytest.raises(DialectError, match="models more than 8 deep"):
        layers_of(config)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just("picture"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["config", "layers", "class_name", "name", "keras_history"]), inner
        )
    ),
    max_leaves=12,
)


@given(ANYTHING, st.sampled_from(["inbound_nodes", "config", "class_name", "output_layers"]))
def test_any_config_is_read_or_refused(value: Any, key: str) -> None:
    changed = model(PICTURE, {**A, key: value}, row("ReLU", "b", "a"), **{key: value})
    for config in (changed, {"config": value}):
        try:
            assert layers_of(config)
        except DialectError as error:
            assert str(error)


# ---------------------------------------------------------------- settings


def layer(kind: str = "Conv2D", **settings: Any) -> Layer:
    return Layer("x", kind, settings, ())


@pytest.mark.parametrize(
    ("kind", "setting", "value"),
    [
        ("Conv2D", "dilation_rate", [2, 2]), ("Conv2D", "groups", 2),
        ("Conv2D", "data_format", "channels_first"), ("Conv2D", "activation", "relu"),
        ("DepthwiseConv2D", "depth_multiplier", 2), ("DepthwiseConv2D", "dilation_rate", 2),
        ("BatchNormalization", "axis", 1), ("BatchNormalization", "scale", False),
        ("UnbiasedBatchNormalization", "center", False), ("ReLU", "negative_slope", 0.1),
        ("ReLU", "threshold", 1.0), ("Activation", "activation", "swish"),
        ("GlobalAveragePooling2D", "keepdims", True), ("Dense", "use_bias", False),
        ("Dense", "activation", "sigmoid"), ("ZeroPadding2D", "data_format", "channels_first"),
    ],
)  # fmt: skip
def test_settings_that_mobilenetv2_does_not_have(kind: str, setting: str, value: Any) -> None:
    layer(kind).require_allowed()
    with pytest.raises(DialectError, match=rf"layer x \({kind}\) has {setting} .*MobileNetV2 has"):
        layer(kind, **{setting: value}).require_allowed()


@pytest.mark.parametrize("kind", ["GlobalMaxPooling2D", "Normalization", "LeakyReLU", "Lambda"])
def test_classes_that_mobilenetv2_does_not_have(kind: str) -> None:
    with pytest.raises(DialectError, match=rf"layer x \({kind}\): MobileNetV2 has no layer of"):
        layer(kind).require_allowed()


def test_what_older_files_write() -> None:
    layer("BatchNormalization", axis=[3], scale=True, center=True).require_allowed()
    layer("ReLU", negative_slope={"type": "ndarray", "value": 0.0}).require_allowed()
    boxed = layer("ReLU", max_value={"type": "ndarray", "value": 6.0})
    assert boxed.number("max_value", 0) == 6.0


def test_numbers() -> None:
    found = layer(a=3, b=0.5, c=None, d=[1, 2.5, 3], e=[4])
    assert found.number("a", 0) == 3.0 and found.number("c", 7) == 7
    assert found.per_channel("d", 0, 3) == (1.0, 2.5, 3.0)
    assert found.per_channel("e", 0, 3) == (4.0,) * 3
    assert found.per_channel("b", 0, 2) == (0.5, 0.5)
    assert found.count("a") == 3
    wrong: list[Any] = [True, "1", [1, 2], [], 10**400, {}, [True]]
    for value in wrong:
        with pytest.raises(DialectError, match=r"layer x \(Conv2D\) has a .*not a number"):
            layer(a=value).per_channel("a", 0, 3)
    wrong = [True, 0, 1.0, 10**8, None]
    for value in wrong:
        with pytest.raises(DialectError, match=r"layer x \(Conv2D\) has a "):
            layer(a=value).count("a")


def test_sides() -> None:
    assert layer(strides=2).side("strides", 2) == 2
    assert layer(strides=[2, 2]).side("strides", 2) == 2
    assert layer().side("strides", 2) == 1
    for value in ([1, 2], 3, 0, "1", [2], None):
        with pytest.raises(DialectError, match=r"layer x \(Conv2D\) has strides"):
            layer(strides=value).side("strides", 2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, ((1, 1), (1, 1))), ([1, 2], ((1, 1), (2, 2))),
        ([[0, 1], [0, 1]], ((0, 1), (0, 1))), ([[0, 1], [1, 1]], ((0, 1), (1, 1))),
    ],
)  # fmt: skip
def test_zeros_around(value: Any, expected: Any) -> None:
    assert layer(padding=value).zeros() == expected


@pytest.mark.parametrize("value", [[1], [[1, 2, 3], [1, 2]], -1, 99, "1", [[None, 1], [1, 1]]])
def test_zeros_that_are_none(value: Any) -> None:
    with pytest.raises(DialectError, match=r"layer x \(Conv2D\) has padding"):
        layer(padding=value).zeros()


def test_pictures() -> None:
    assert layer(batch_shape=[None, 96, 64, 3]).picture() == ((96, 64), 3)
    assert layer(batch_input_shape=[None, 96, 64, 1]).picture() == ((96, 64), 1)
    assert layer(batch_shape=[None, None, None, 3]).picture() == (None, 3)
    assert layer(batch_shape=[None, None, 64, 3]).picture() == ((64, 64), 3)
    for shape in (None, [None, 8], [None, 8, 8, None], [None, 0, 8, 3], [None, "8", 8, 3], 3):
        with pytest.raises(DialectError, match="not images"):
            layer(batch_shape=shape).picture()


@given(
    st.sampled_from(["picture", "zeros", "side", "number", "count", "require_allowed"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["type", "value"]), inner | st.just("ndarray"))
        ),
        max_leaves=8,
    ),
)
def test_any_value_is_read_or_refused(name: str, value: Any) -> None:
    settings = {"padding": value, "batch_shape": value, "a": value, "axis": value, "scale": value}
    found = layer("BatchNormalization", **settings)
    more = {"side": ("a", 2), "number": ("a", 1.0), "count": ("a",)}.get(name, ())
    try:
        getattr(found, name)(*more)
    except DialectError as error:
        assert str(error)


# ---------------------------------------------------------------- the chain

Named = tuple[str, dict[str, Any]]
INPUT: Named = ("InputLayer", {"batch_shape": [None, 32, 33, 3]})
NORM: Named = ("BatchNormalization", {"epsilon": 1e-3, "momentum": 0.9})
STEM: Named = ("Conv2D", {"filters": 8, "kernel_size": [3, 3], "strides": 2, "padding": "same"})
DEPTHWISE: Named = ("DepthwiseConv2D", {"kernel_size": 3, "padding": "same"})
PROJECT: Named = ("Conv2D", {"filters": 8, "kernel_size": 1, "padding": "same"})
RELU6: Named = ("ReLU", {"max_value": 6.0})
POOL: Named = ("GlobalAveragePooling2D", {})
DENSE: Named = ("Dense", {"units": 5, "activation": "softmax"})


def run(*rows: Named) -> Structure:
    """A Sequential model of these layers behind the input, named by their place."""
    layers = [
        {"class_name": kind, "config": {"name": f"l{place}", **settings}}
        for place, (kind, settings) in enumerate((INPUT, *rows))
    ]
    return follow({"config": {"layers": layers}})


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


def test_rescalings_behind_the_input_are_one() -> None:
    found = run(("Rescaling", {"scale": 0.5}), ("Rescaling", {"scale": 2, "offset": [1, 2, 3]}),
                STEM)  # fmt: skip
    assert found.rescaling == ((1.0, 1.0, 1.0), (1.0, 2.0, 3.0))
    found = run(("Rescaling", {"scale": 0.5, "offset": 4}), ("Rescaling", {"scale": 2}), STEM)
    assert found.rescaling == ((1.0,) * 3, (8.0,) * 3)


PAD: Named = ("ZeroPadding2D", {})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([STEM, ("Rescaling", {"scale": 2})], r"l2 \(Rescaling\): is not directly after"),
        ([NORM], r"l1 \(BatchNormalization\): .*before the first convolution"),
        ([STEM, RELU6, NORM], r"l3 \(BatchNormalization\): .*after an activation"),
        ([STEM, PAD, NORM], r"l3 \(BatchNormalization\): a padding before a layer that is not"),
        ([STEM, PAD], "it ends in a padding"),
        ([STEM, POOL, STEM], r"l3 \(Conv2D\): .*after the pooling"),
        ([STEM, POOL, POOL], r"l3 \(GlobalAveragePooling2D\): .*after the pooling"),
        ([STEM, POOL, DENSE, DENSE], r"l4 \(Dense\): is allowed only after the pooling"),
        ([STEM, DENSE], r"l2 \(Dense\): is allowed only after the pooling"),
        ([STEM, ("Dropout", {"rate": 0.1})], r"l2 \(Dropout\): is allowed only after the pooling"),
        ([STEM, POOL, *[("Dropout", {"rate": 0.1})] * 2], r"l4 \(Dropout\): a second dropout"),
        ([STEM, ("Activation", {"activation": "softmax"})], "softmax does not belong after the m"),
        ([STEM, POOL, ("Activation", {"activation": "relu"})], "relu does not belong after the p"),
        ([STEM, ("Add", {})], r"l2 \(Add\): takes 1 inputs"),
        ([STEM, ("GlobalMaxPooling2D", {})], r"l2 \(GlobalMaxPooling2D\): MobileNetV2 has no"),
        ([("Conv2D", {**STEM[1], "padding": "causal"})], r"l1 \(Conv2D\): padding 'causal'"),
        ([("Conv2D", {**STEM[1], "strides": [1, 2]})], r"l1 \(Conv2D\) has strides \[1, 2\]"),
        ([], "no convolutions"),
    ],
)
def test_layers_in_other_places(rows: list[Named], message: str) -> None:
    with pytest.raises(DialectError, match=message):
        run(*rows)
