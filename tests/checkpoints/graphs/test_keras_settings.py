"""Settings of Keras layers: read, or refused with the layer's name."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.checkpoints.graphs import keras_settings
from mobilenetv2.checkpoints.graphs.keras_layers import Layer
from mobilenetv2.errors import DialectError


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
    keras_settings.check(layer(kind))
    with pytest.raises(DialectError, match=rf"layer x \({kind}\) has {setting} .*MobileNetV2 has"):
        keras_settings.check(layer(kind, **{setting: value}))


@pytest.mark.parametrize("kind", ["GlobalMaxPooling2D", "Normalization", "LeakyReLU", "Lambda"])
def test_classes_that_mobilenetv2_does_not_have(kind: str) -> None:
    with pytest.raises(DialectError, match=rf"layer x \({kind}\): MobileNetV2 has no layer of"):
        keras_settings.check(layer(kind))


def test_what_older_files_write() -> None:
    keras_settings.check(layer("BatchNormalization", axis=[3], scale=True, center=True))
    keras_settings.check(layer("ReLU", negative_slope={"type": "ndarray", "value": 0.0}))
    boxed = layer("ReLU", max_value={"type": "ndarray", "value": 6.0})
    assert keras_settings.number(boxed, "max_value", 0) == 6.0


def test_numbers() -> None:
    found = layer(a=3, b=0.5, c=None, d=[1, 2.5, 3], e=[4])
    assert keras_settings.number(found, "a", 0) == 3.0 and keras_settings.number(found, "c", 7) == 7
    assert keras_settings.per_channel(found, "d", 0, 3) == (1.0, 2.5, 3.0)
    assert keras_settings.per_channel(found, "e", 0, 3) == (4.0,) * 3
    assert keras_settings.per_channel(found, "b", 0, 2) == (0.5, 0.5)
    assert keras_settings.count(found, "a") == 3
    wrong: list[Any] = [True, "1", [1, 2], [], 10**400, {}, [True]]
    for value in wrong:
        with pytest.raises(DialectError, match=r"layer x \(Conv2D\) has a .*not a number"):
            keras_settings.per_channel(layer(a=value), "a", 0, 3)
    wrong = [True, 0, 1.0, 10**8, None]
    for value in wrong:
        with pytest.raises(DialectError, match=r"layer x \(Conv2D\) has a "):
            keras_settings.count(layer(a=value), "a")


def test_sides() -> None:
    assert keras_settings.side(layer(strides=2), "strides", 2) == 2
    assert keras_settings.side(layer(strides=[2, 2]), "strides", 2) == 2
    assert keras_settings.side(layer(), "strides", 2) == 1
    for value in ([1, 2], 3, 0, "1", [2], None):
        with pytest.raises(DialectError, match=r"layer x \(Conv2D\) has strides"):
            keras_settings.side(layer(strides=value), "strides", 2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, ((1, 1), (1, 1))), ([1, 2], ((1, 1), (2, 2))),
        ([[0, 1], [0, 1]], ((0, 1), (0, 1))), ([[0, 1], [1, 1]], ((0, 1), (1, 1))),
    ],
)  # fmt: skip
def test_zeros_around(value: Any, expected: Any) -> None:
    assert keras_settings.zeros(layer(padding=value)) == expected


@pytest.mark.parametrize("value", [[1], [[1, 2, 3], [1, 2]], -1, 99, "1", [[None, 1], [1, 1]]])
def test_zeros_that_are_none(value: Any) -> None:
    with pytest.raises(DialectError, match=r"layer x \(Conv2D\) has padding"):
        keras_settings.zeros(layer(padding=value))


def test_pictures() -> None:
    picture = keras_settings.picture
    assert picture(layer(batch_shape=[None, 96, 64, 3])) == ((96, 64), 3)
    assert picture(layer(batch_input_shape=[None, 96, 64, 1])) == ((96, 64), 1)
    assert picture(layer(batch_shape=[None, None, None, 3])) == (None, 3)
    assert picture(layer(batch_shape=[None, None, 64, 3])) == ((64, 64), 3)
    for shape in (None, [None, 8], [None, 8, 8, None], [None, 0, 8, 3], [None, "8", 8, 3], 3):
        with pytest.raises(DialectError, match="not pictures"):
            picture(layer(batch_shape=shape))


@given(
    st.sampled_from(["picture", "zeros", "side", "number", "count", "check"]),
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
        getattr(keras_settings, name)(found, *more)
    except DialectError as error:
        assert str(error)
