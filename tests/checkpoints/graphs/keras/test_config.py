"""A Keras model's config: its layers, what they take, and their settings."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mobilenetv2.checkpoints.graphs.keras.config import Layer, layers_of, snake_case
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


def test_layers_know_their_models_and_where_keras_3_stores_them() -> None:
    inner = model(row("InputLayer", "inside"), row("Conv2D", "a", "inside"),
                  row("Conv2D", "b", "a"), name="base")  # fmt: skip
    head = model(row("Conv2D", "b"), row("ReLU", "c"), kind="Sequential", name="head")
    head["class_name"] = inner["class_name"] = "Sequential"
    found = layers_of(model(PICTURE, inner, head, row("Dense", "d"), kind="Sequential"))
    assert {name: (layer.path, layer.stored) for name, layer in found.items() if layer.path} == {
        "a": (("base", "a"), "layers/sequential/layers/conv2d"),
        "b": (("base", "b"), "layers/sequential/layers/conv2d_1"),
        "head/b": (("head", "b"), "layers/sequential_1/layers/conv2d"),
        "c": (("head", "c"), "layers/sequential_1/layers/re_lu"),
        "d": (("d",), "layers/dense"),
    }
    assert found["d"].inputs == ("c",)


def test_classes_in_snake_case_as_keras_3_writes_them() -> None:
    names = "Conv2D DepthwiseConv2D BatchNormalization ReLU ZeroPadding2D MyRNN2"
    assert [snake_case(name) for name in names.split()] == [
        "conv2d", "depthwise_conv2d", "batch_normalization", "re_lu", "zero_padding2d", "my_rnn2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "nodes",
    [
        [{"args": [tensor("picture"), 127.5], "kwargs": {"dtype": "float32"}}],
        [[["picture", 0, 0, {"y": 127.5, "dtype": "float32"}]]],
        [["picture", 0, 0, {"y": 127.5, "dtype": "float32"}]],
    ],
)
def test_constants_of_an_operation(nodes: Any) -> None:
    divide = row("TrueDivide", "divide") | {"inbound_nodes": nodes}
    layer = layers_of(model(PICTURE, divide, output_layers=["divide", 0, 0]))["divide"]
    assert layer.inputs == ("picture",) and layer.operands[0] == "picture"
    assert 127.5 in (*layer.operands[1:], layer.options.get("y"))


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


@example(["picture", False, None, "picture"], "output_layers")
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
        ("ZeroPadding2D", "data_format", "channels_first"),
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
